//! What a container is called: its id and its name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A container's id: 64 lower-case hexadecimal digits, chosen at random, never used twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// A fresh id from the kernel's random source.
    pub fn random() -> onggi_sys::Result<Self> {
        let bytes = onggi_sys::random::bytes::<32>()?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits: what tables show and what a container's host name is by default.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// Why a string is no id or no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 64 lower-case hexadecimal digits.
    #[error("`{}` is not a container id", shown(.0))]
    Id(String),
    /// Outside the grammar of names.
    #[error("invalid container name `{}`: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, 2 to 255 of them", shown(.0))]
    Name(String),
}

/// User input in a message: escaped, so that it cannot move the cursor, and not longer than a line.
fn shown(input: &str) -> String {
    let short: String = input.chars().take(64).collect();
    let dots = if short.len() < input.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}

impl TryFrom<String> for ContainerId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hex) { Ok(Self(text)) } else { Err(NameError::Id(text)) }
    }
}

impl FromStr for ContainerId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of a container or a volume: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, so it is one path component and never hidden.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A name is a file name in the directory of reservations; file systems end at 255 bytes.
const LONGEST_NAME: usize = 255;

impl Name {
    /// The name as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if first && rest && (2..=LONGEST_NAME).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(NameError::Name(text))
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Docker writes names with a slash before them in its API; both forms are taken.
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.strip_prefix('/').unwrap_or(text).to_owned())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_hex() {
        let (one, two) = (ContainerId::random().unwrap(), ContainerId::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse::<ContainerId>().unwrap(), one);
        assert_eq!(one.short().len(), 12);
    }

    #[test]
    fn names_keep_to_their_grammar() {
        for good in ["ab", "keen-plum", "a.b_c-9", "/slashed", &"x".repeat(255)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "a", "../x", "a/b", "a\nb", ".hidden", "-x1", "{{.}}", "a b", "é1", &"x".repeat(300)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_never_carries_raw_control_characters() {
        let error = "a\x1b[2Jb\n".parse::<Name>().unwrap_err().to_string();
        assert!(!error.contains('\x1b') && !error.contains('\n'), "{error:?}");
    }
}
