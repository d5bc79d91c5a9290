//! Text to nodes.

use serde_json::{Number, Value};

use super::TemplateError;
use super::functions;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If { cases: Vec<(Pipeline, Vec<Node>)>, otherwise: Vec<Node> },
    With { value: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Range { key: Option<String>, element: Option<String>, value: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// Commands, each of which gets the result of the one before as its last argument; with a variable to keep it in.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) assign: Option<String>,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) enum Command {
    Call { function: String, arguments: Vec<Operand> },
    Value(Operand),
}

#[derive(Debug)]
pub(super) enum Operand {
    Literal(Value),
    /// `.A.B`
    Dot(Vec<String>),
    /// `$x.A`; the empty name is `$`.
    Variable(String, Vec<String>),
    /// `(...).A`
    Group(Box<Pipeline>, Vec<String>),
    /// A function without arguments as an argument.
    Function(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Literal(Value),
    /// `.A.B`, the fields; empty for `.`.
    Fields(Vec<String>),
    Variable(String),
    Pipe,
    Comma,
    Declare,
    Open,
    Close,
}

fn syntax<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Syntax(message.into()))
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter() };
    match parser.body()? {
        (nodes, None) => Ok(nodes),
        (_, Some(end)) => syntax(format!("unexpected {{{{{}}}}}", end.word)),
    }
}

/// Cuts the text into literal parts and actions, with white space trimmed where the markers say so.
fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let open = rest.find("{{").unwrap_or(rest.len());
        let (mut literal, action) = rest.split_at(open);
        if trim_next {
            literal = literal.trim_start();
        }
        let body = action.strip_prefix("{{");
        let trims_before = body.is_some_and(|body| body.starts_with("- ") || body.starts_with("-\n"));
        if trims_before {
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.to_owned()));
        }
        let Some(body) = body else { return Ok(pieces) };
        let body = if trims_before { &body[1..] } else { body };
        let length = action_length(body)?;
        let mut inner = &body[..length];
        trim_next = inner.ends_with(" -") || inner.ends_with("\n-");
        if trim_next {
            inner = &inner[..inner.len() - 1];
        }
        rest = &body[length + 2..];
        let inner = inner.trim();
        if !(inner.starts_with("/*") && inner.ends_with("*/")) {
            pieces.push(Piece::Action(tokens(inner)?));
        }
    }
}

/// Where the action ends: the first `}}` outside of quotes and comments.
fn action_length(body: &str) -> Result<usize, TemplateError> {
    if let Some(end) = body.trim_start().strip_prefix("/*").and_then(|_| body.find("*/")) {
        return match body[end..].find("}}") {
            Some(close) => Ok(end + close),
            None => syntax("a comment is not closed"),
        };
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if body[at..].starts_with("}}") => return Ok(at),
            None => {}
        }
    }
    syntax("an action is not closed by }}")
}

fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Declare, 1),
            '"' => quoted(rest)?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Token::Literal(rest[1..=end].into()), end + 2),
                None => return syntax("a raw string is not closed"),
            },
            '.' => {
                let length = word_length(rest, true);
                let fields = rest[1..length].split('.').filter(|field| !field.is_empty()).map(str::to_owned).collect();
                (Token::Fields(fields), length)
            }
            '$' => {
                let length = 1 + word_length(&rest[1..], false);
                (Token::Variable(rest[1..length].to_owned()), length)
            }
            c if c.is_ascii_digit() || c == '-' || c == '+' => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let length = word_length(rest, false);
                (word(&rest[..length]), length)
            }
            c => return syntax(format!("unexpected `{c}` in {{{{{action}}}}}")),
        };
        tokens.push(token);
        rest = rest[length..].trim_start_matches(|c: char| c.is_whitespace());
    }
    Ok(tokens)
}

fn word_length(text: &str, dots: bool) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_' || (dots && c == '.'))).unwrap_or(text.len())
}

fn word(text: &str) -> Token {
    match text {
        "true" => Token::Literal(true.into()),
        "false" => Token::Literal(false.into()),
        "nil" => Token::Literal(Value::Null),
        other => Token::Word(other.to_owned()),
    }
}

fn number(text: &str) -> Result<(Token, usize), TemplateError> {
    let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(text.len());
    let word = &text[..length];
    let value = word.parse::<i64>().map(Number::from).ok().or_else(|| word.parse().ok().and_then(Number::from_f64));
    match value {
        Some(value) => Ok((Token::Literal(Value::Number(value)), length)),
        None => syntax(format!("`{word}` is not a number")),
    }
}

fn quoted(text: &str) -> Result<(Token, usize), TemplateError> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Literal(value.into()), at + 1)),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(c @ ('\\' | '"' | '\'')) => value.push(c),
                other => return syntax(format!("unknown escape \\{}", other.unwrap_or(' '))),
            },
            c => value.push(c),
        }
    }
    syntax("a string is not closed")
}

/// `{{end}}` or `{{else ...}}`, which close a body.
struct End {
    word: String,
    rest: Vec<Token>,
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
}

impl Parser {
    /// Nodes up to the action that closes them, or to the end of the text.
    fn body(&mut self) -> Result<(Vec<Node>, Option<End>), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(tokens) => match tokens.split_first() {
                    Some((Token::Word(word), rest)) if word == "end" || word == "else" => {
                        return Ok((nodes, Some(End { word: word.clone(), rest: rest.to_vec() })));
                    }
                    Some((Token::Word(word), rest)) if ["if", "with", "range"].contains(&word.as_str()) => {
                        nodes.push(self.block(word, rest)?);
                    }
                    Some((Token::Word(word), [])) if word == "break" => nodes.push(Node::Break),
                    Some((Token::Word(word), [])) if word == "continue" => nodes.push(Node::Continue),
                    Some(_) => nodes.push(Node::Print(pipeline(&tokens)?)),
                    None => return syntax("an action is empty"),
                },
            }
        }
        Ok((nodes, None))
    }

    fn block(&mut self, word: &str, head: &[Token]) -> Result<Node, TemplateError> {
        match word {
            "if" => self.conditional(head),
            "with" => {
                let value = pipeline(head)?;
                let (body, otherwise) = self.body_and_else(word)?;
                Ok(Node::With { value, body, otherwise })
            }
            _ => {
                let (key, element, value) = range_head(head)?;
                let (body, otherwise) = self.body_and_else(word)?;
                Ok(Node::Range { key, element, value, body, otherwise })
            }
        }
    }

    fn conditional(&mut self, head: &[Token]) -> Result<Node, TemplateError> {
        let mut cases = Vec::new();
        let mut condition = pipeline(head)?;
        loop {
            let (body, end) = self.body()?;
            cases.push((condition, body));
            let Some(end) = end else { return syntax("an {{if}} has no {{end}}") };
            match end.rest.split_first() {
                None if end.word == "end" => return Ok(Node::If { cases, otherwise: Vec::new() }),
                None => {
                    let otherwise = self.until_end("if")?;
                    return Ok(Node::If { cases, otherwise });
                }
                Some((Token::Word(word), rest)) if end.word == "else" && word == "if" => condition = pipeline(rest)?,
                Some(_) => return syntax(format!("unexpected words after {{{{{}}}}}", end.word)),
            }
        }
    }

    fn body_and_else(&mut self, word: &str) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
        let (body, end) = self.body()?;
        match end {
            Some(end) if !end.rest.is_empty() => syntax(format!("unexpected words after {{{{{}}}}}", end.word)),
            Some(end) if end.word == "else" => Ok((body, self.until_end(word)?)),
            Some(_) => Ok((body, Vec::new())),
            None => syntax(format!("a {{{{{word}}}}} has no {{{{end}}}}")),
        }
    }

    fn until_end(&mut self, word: &str) -> Result<Vec<Node>, TemplateError> {
        match self.body()? {
            (body, Some(end)) if end.word == "end" && end.rest.is_empty() => Ok(body),
            _ => syntax(format!("a {{{{{word}}}}} has no {{{{end}}}}")),
        }
    }
}

type RangeHead = (Option<String>, Option<String>, Pipeline);

fn range_head(head: &[Token]) -> Result<RangeHead, TemplateError> {
    match head {
        [Token::Variable(key), Token::Comma, Token::Variable(element), Token::Declare, rest @ ..] => {
            Ok((Some(key.clone()), Some(element.clone()), pipeline(rest)?))
        }
        [Token::Variable(element), Token::Declare, rest @ ..] => Ok((None, Some(element.clone()), pipeline(rest)?)),
        rest => Ok((None, None, pipeline(rest)?)),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut rest = tokens;
    let (pipeline, closed) = commands(&mut rest)?;
    if closed { syntax("a `)` without its `(`") } else { Ok(pipeline) }
}

/// Reads commands up to the end or a `)`, which is taken; says whether it was.
fn commands(rest: &mut &[Token]) -> Result<(Pipeline, bool), TemplateError> {
    let mut assign = None;
    if let [Token::Variable(name), Token::Declare, after @ ..] = *rest {
        assign = Some(name.clone());
        *rest = after;
    }
    let mut commands = Vec::new();
    let mut operands = Vec::new();
    loop {
        match rest.split_first() {
            None | Some((Token::Pipe | Token::Close, _)) => {
                commands.push(command(std::mem::take(&mut operands), commands.is_empty())?);
                let Some((token, after)) = rest.split_first() else {
                    return Ok((Pipeline { assign, commands }, false));
                };
                *rest = after;
                if *token == Token::Close {
                    return Ok((Pipeline { assign, commands }, true));
                }
            }
            Some(_) => operands.push(operand(rest)?),
        }
    }
}

fn command(operands: Vec<Operand>, first: bool) -> Result<Command, TemplateError> {
    let mut operands = operands.into_iter();
    match operands.next() {
        None => syntax("a value is missing"),
        Some(Operand::Function(function)) => {
            if !functions::known(&function) {
                return syntax(format!("function \"{function}\" not defined"));
            }
            Ok(Command::Call { function, arguments: operands.collect() })
        }
        Some(value) if first && operands.len() == 0 => Ok(Command::Value(value)),
        Some(_) => syntax("only a function takes arguments"),
    }
}

fn operand(rest: &mut &[Token]) -> Result<Operand, TemplateError> {
    let Some((token, after)) = rest.split_first() else { return syntax("a value is missing") };
    *rest = after;
    match token.clone() {
        Token::Literal(value) => Ok(Operand::Literal(value)),
        Token::Fields(fields) => Ok(Operand::Dot(fields)),
        Token::Variable(name) => Ok(Operand::Variable(name, trailing_fields(rest))),
        Token::Word(name) if functions::known(&name) => Ok(Operand::Function(name)),
        Token::Word(name) => syntax(format!("function \"{name}\" not defined")),
        Token::Open => match commands(rest)? {
            (inner, true) => Ok(Operand::Group(Box::new(inner), trailing_fields(rest))),
            (_, false) => syntax("a `(` is not closed"),
        },
        Token::Comma | Token::Declare | Token::Pipe | Token::Close => syntax("a value is missing"),
    }
}

/// `.A` right behind `$x` or `)`. The tokens do not tell `$x .A` apart, which nobody writes.
fn trailing_fields(rest: &mut &[Token]) -> Vec<String> {
    match rest.split_first() {
        Some((Token::Fields(fields), after)) if !fields.is_empty() => {
            let fields = fields.clone();
            *rest = after;
            fields
        }
        _ => Vec::new(),
    }
}
