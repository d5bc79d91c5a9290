//! Flags as Go's programs take them: `--flag value`, `--flag=value`, `-f value`, one dash or two.

use crate::{Error, Result};

/// A flag that a command knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Its long name and its short one, or the long one again.
    pub(crate) names: (&'static str, &'static str),
    pub(crate) takes_value: bool,
}

/// A flag with a value.
pub(crate) const fn value(long: &'static str, short: &'static str) -> Flag {
    Flag { names: (long, short), takes_value: true }
}

/// A flag that is there or not.
pub(crate) const fn switch(long: &'static str, short: &'static str) -> Flag {
    Flag { names: (long, short), takes_value: false }
}

/// What was given: flags in their order, and the rest from the first word that is none.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    flags: Vec<(&'static str, String)>,
    pub(crate) rest: Vec<String>,
}

impl Parsed {
    /// Reads `args` until the first word that is not a flag, which begins `rest`; `--` ends the flags too.
    ///
    /// With `interleaved`, flags may stand after that word as well (`kill ID --all`), up to `--`.
    pub(crate) fn parse(args: &[String], known: &[Flag], interleaved: bool) -> Result<Self> {
        let mut parsed = Self::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.rest.extend(words.cloned());
                break;
            }
            let Some(name) = word.strip_prefix("--").or(word.strip_prefix('-')).filter(|name| !name.is_empty()) else {
                parsed.rest.push(word.clone());
                if interleaved {
                    continue;
                }
                parsed.rest.extend(words.cloned());
                break;
            };
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let flag = known.iter().find(|flag| flag.names.0 == name || flag.names.1 == name);
            let flag = flag.ok_or_else(|| Error::invalid(word.as_str(), "is no flag of this command"))?;
            let value = match (flag.takes_value, given) {
                (true, Some(value)) => value,
                (true, None) => words.next().cloned().ok_or_else(|| Error::invalid(word.as_str(), "needs a value"))?,
                (false, given) => given.unwrap_or_else(|| "true".into()),
            };
            parsed.flags.push((flag.names.0, value));
        }
        Ok(parsed)
    }

    /// The value of a flag; the last one counts.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a flag that may be repeated.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> Result<bool> {
        match self.value(name) {
            None | Some("false" | "0" | "f") => Ok(false),
            Some("true" | "1" | "t") => Ok(true),
            Some(other) => {
                Err(Error::invalid(format!("--{name}"), format!("`{}` is not true or false", other.escape_debug())))
            }
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>> {
        let parse = |text: &str| {
            text.parse()
                .map_err(|_| Error::invalid(format!("--{name}"), format!("`{}` is no number", text.escape_debug())))
        };
        self.value(name).map(parse).transpose()
    }

    /// The one container id that the command takes.
    pub(crate) fn only_id(&self) -> Result<&str> {
        match self.rest.as_slice() {
            [id] => Ok(id),
            [] => Err(Error::invalid("container id", "is missing")),
            [_, extra, ..] => Err(Error::invalid("arguments", format!("`{}` is one too many", extra.escape_debug()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Flag; 3] = [value("bundle", "b"), switch("detach", "d"), value("env", "e")];

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn all_spellings() {
        let parsed = Parsed::parse(&words("-b /x --detach -e A=1 --env=B=2 id sh -c -d"), &KNOWN, false).unwrap();
        assert_eq!(parsed.value("bundle"), Some("/x"));
        assert!(parsed.is_on("detach").unwrap());
        assert_eq!(parsed.values("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert_eq!(parsed.rest, ["id", "sh", "-c", "-d"]);
        let parsed = Parsed::parse(&words("id --detach=false"), &KNOWN, true).unwrap();
        assert!(!parsed.is_on("detach").unwrap());
        assert_eq!(parsed.only_id().unwrap(), "id");
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_named() {
        for text in ["--nope", "-b"] {
            assert!(Parsed::parse(&words(text), &KNOWN, false).unwrap_err().to_string().contains(text), "{text}");
        }
        assert!(Parsed::parse(&words("a b"), &KNOWN, false).unwrap().only_id().is_err());
    }
}
