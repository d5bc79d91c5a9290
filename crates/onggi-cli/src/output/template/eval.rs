//! Nodes and a value to text.

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::parse::{Command, Node, Operand, Pipeline};

/// What a field that is not there means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    IsAnError,
    IsEmpty,
}

/// How a body ended.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Scope<'v> {
    root: &'v Value,
    variables: Vec<(String, Value)>,
    missing: Missing,
    out: String,
}

pub(super) fn render(nodes: &[Node], value: &Value, missing: Missing) -> Result<String, TemplateError> {
    let mut scope = Scope { root: value, variables: Vec::new(), missing, out: String::new() };
    scope.body(nodes, value)?;
    Ok(scope.out)
}

pub(super) fn fault<T>(message: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError::Value(message.into()))
}

impl Scope<'_> {
    fn body(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        let variables = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(variables);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.assign.is_none() {
                    self.out.push_str(&functions::text(&value));
                }
            }
            Node::If { cases, otherwise } => return self.conditional(cases, otherwise, dot),
            Node::With { value, body, otherwise } => {
                let value = self.pipeline(value, dot)?;
                return if functions::truth(&value) { self.body(body, &value) } else { self.body(otherwise, dot) };
            }
            Node::Range { key, element, value, body, otherwise } => {
                let value = self.pipeline(value, dot)?;
                return self.range((key.as_deref(), element.as_deref()), &value, body, (otherwise, dot));
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn conditional(
        &mut self,
        cases: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        for (condition, body) in cases {
            let value = self.pipeline(condition, dot)?;
            if functions::truth(&value) {
                return self.body(body, dot);
            }
        }
        self.body(otherwise, dot)
    }

    fn range(
        &mut self,
        (key, element): (Option<&str>, Option<&str>),
        value: &Value,
        body: &[Node],
        (otherwise, dot): (&[Node], &Value),
    ) -> Result<Flow, TemplateError> {
        let pairs = pairs(value)?;
        if pairs.is_empty() {
            return self.body(otherwise, dot);
        }
        for (index, item) in pairs {
            let variables = self.variables.len();
            if let Some(key) = key {
                self.variables.push((key.to_owned(), index));
            }
            if let Some(element) = element {
                self.variables.push((element.to_owned(), item.clone()));
            }
            let flow = self.body(body, &item)?;
            self.variables.truncate(variables);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(match command {
                Command::Value(operand) => self.operand(operand, dot)?,
                Command::Call { function, arguments } => {
                    let mut values = Vec::with_capacity(arguments.len() + 1);
                    for argument in arguments {
                        values.push(self.operand(argument, dot)?);
                    }
                    values.extend(last.take());
                    functions::call(function, &values)?
                }
            });
        }
        let value = last.unwrap_or(Value::Null);
        if let Some(name) = &pipeline.assign {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some((_, slot)) => *slot = value.clone(),
                None => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Dot(fields) => self.fields(dot, fields),
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Group(inner, fields) => {
                let value = self.pipeline(inner, dot)?;
                self.fields(&value, fields)
            }
            Operand::Variable(name, fields) if name.is_empty() => self.fields(self.root, fields),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => self.fields(value, fields),
                    None => fault(format!("undefined variable \"${name}\"")),
                }
            }
        }
    }

    fn fields(&self, value: &Value, fields: &[String]) -> Result<Value, TemplateError> {
        let mut current = value;
        for field in fields {
            current = match current.get(field) {
                Some(inner) => inner,
                None if self.missing == Missing::IsEmpty => return Ok(Value::String(String::new())),
                None => return fault(format!("there is no field \"{field}\" in .{}", fields.join("."))),
            };
        }
        Ok(current.clone())
    }
}

fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, TemplateError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Ok(items.iter().enumerate().map(|(at, item)| (at.into(), item.clone())).collect()),
        Value::Object(map) => Ok(map.iter().map(|(key, item)| (key.clone().into(), item.clone())).collect()),
        Value::Number(number) if number.is_u64() => {
            Ok((0..number.as_u64().unwrap_or(0).min(1 << 20)).map(|at| (at.into(), at.into())).collect())
        }
        other => fault(format!("range cannot go over {other}")),
    }
}
