//! The functions of Go's templates and Docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::eval::fault;

const KNOWN: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "slice", "len", "print", "printf", "println",
    "json", "join", "split", "lower", "upper", "title", "pad", "truncate",
];

pub(super) fn known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Go's truth: not zero, not empty, not nothing.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Go's `%v`.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, item)| format!("{key}:{}", text(item))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    match (name, arguments) {
        ("and", [_, ..]) => {
            Ok(arguments.iter().find(|value| !truth(value)).unwrap_or(&arguments[arguments.len() - 1]).clone())
        }
        ("or", [_, ..]) => {
            Ok(arguments.iter().find(|value| truth(value)).unwrap_or(&arguments[arguments.len() - 1]).clone())
        }
        ("not", [value]) => Ok((!truth(value)).into()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => Ok(rest.iter().any(|value| equal(first, value)).into()),
        ("ne", [a, b]) => Ok((!equal(a, b)).into()),
        ("lt", [a, b]) => Ok((compare(a, b)? == Ordering::Less).into()),
        ("le", [a, b]) => Ok((compare(a, b)? != Ordering::Greater).into()),
        ("gt", [a, b]) => Ok((compare(a, b)? == Ordering::Greater).into()),
        ("ge", [a, b]) => Ok((compare(a, b)? != Ordering::Less).into()),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [Value::String(text), bounds @ ..]) if bounds.len() <= 2 => slice(text, bounds),
        ("len", [value]) => length(value),
        ("print", values) => Ok(values.iter().map(text).collect::<String>().into()),
        ("println", values) => Ok((values.iter().map(text).collect::<Vec<_>>().join(" ") + "\n").into()),
        ("printf", [Value::String(format), values @ ..]) => printf(format, values),
        ("json", [value]) => Ok(value.to_string().into()),
        ("join", [Value::Array(items), Value::String(separator)]) => {
            Ok(items.iter().map(text).collect::<Vec<_>>().join(separator).into())
        }
        ("split", [Value::String(text), Value::String(separator)]) => {
            Ok(text.split(separator.as_str()).map(Value::from).collect::<Vec<_>>().into())
        }
        ("lower", [Value::String(text)]) => Ok(text.to_lowercase().into()),
        ("upper", [Value::String(text)]) => Ok(text.to_uppercase().into()),
        ("title", [Value::String(text)]) => Ok(title(text).into()),
        ("pad", [Value::String(text), before, after]) => {
            Ok(format!("{}{text}{}", " ".repeat(count(before)?), " ".repeat(count(after)?)).into())
        }
        ("truncate", [Value::String(text), length]) => Ok(text.chars().take(count(length)?).collect::<String>().into()),
        _ => fault(format!("wrong arguments for {name}")),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b) == Ordering::Equal,
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, TemplateError> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => {
            Ok(a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN)))
        }
        _ => fault(format!("{a} and {b} cannot be compared")),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        (Value::Array(items), Value::Number(_)) => match items.get(count(key)?) {
            Some(item) => Ok(item.clone()),
            None => fault(format!("index {key} is out of range, there are {}", items.len())),
        },
        // Go gives the zero value of a map's element for a key that is not there.
        (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_else(|| "".into())),
        _ => fault(format!("{key} cannot index {}", text(value))),
    }
}

fn slice(text: &str, bounds: &[Value]) -> Result<Value, TemplateError> {
    let from = bounds.first().map_or(Ok(0), count)?;
    let to = bounds.get(1).map_or(Ok(text.len()), count)?;
    match text.get(from..to) {
        Some(part) => Ok(part.into()),
        None => fault(format!("{from}..{to} is out of range")),
    }
}

fn length(value: &Value) -> Result<Value, TemplateError> {
    match value {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => fault(format!("len of {}", text(other))),
    }
}

fn count(value: &Value) -> Result<usize, TemplateError> {
    match value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|&number| number <= 1 << 20) {
        Some(number) => Ok(number),
        None => fault(format!("{value} is not a count")),
    }
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// The verbs `%s %v %d %q %t %x %%` with width, `-` and `0`.
fn printf(format: &str, values: &[Value]) -> Result<Value, TemplateError> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let length = rest.find(|c: char| !"-+0123456789.".contains(c)).unwrap_or(rest.len());
        let (flags, after) = rest.split_at(length);
        let Some(verb) = after.chars().next() else { return fault("printf: the format ends in %") };
        rest = &after[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else { return fault(format!("printf: no value for %{verb}")) };
        let shown = match verb {
            's' | 'v' | 'd' | 't' => text(value),
            'q' => Value::String(text(value)).to_string(),
            'x' => value
                .as_u64()
                .map_or_else(|| text(value).bytes().map(|byte| format!("{byte:02x}")).collect(), |n| format!("{n:x}")),
            other => return fault(format!("printf: unknown verb %{other}")),
        };
        out.push_str(&aligned(&shown, flags)?);
    }
    out.push_str(rest);
    Ok(out.into())
}

fn aligned(shown: &str, flags: &str) -> Result<String, TemplateError> {
    let width = flags.trim_start_matches(['-', '+']);
    if width.is_empty() {
        return Ok(shown.to_owned());
    }
    let width: usize = match width.split('.').next().unwrap_or("").parse() {
        Ok(number) if number <= 4096 => number,
        _ => return fault(format!("printf: bad width {flags}")),
    };
    let fill = width.saturating_sub(shown.chars().count());
    Ok(match () {
        () if flags.starts_with('-') => format!("{shown}{}", " ".repeat(fill)),
        () if flags.starts_with('0') => format!("{}{shown}", "0".repeat(fill)),
        () => format!("{}{shown}", " ".repeat(fill)),
    })
}
