//! Digests that are safe to use as names.

use std::fmt;
use std::str::FromStr;

use onggi_diag::{Diagnose, Kind};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A hash function that content may be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: what everybody uses.
    Sha256,
    /// SHA-512: registered by the image specification, rare.
    Sha512,
}

impl Algorithm {
    /// All of them, for a walk over `blobs/`.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// As it stands before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The name of content: an algorithm and the hash in lower-case hexadecimal.
///
/// There is no way to make one with anything else in it, so it can stand in a path or a URL as it is.
/// Two digests are the same content only if they are equal; the same content has one per [`Algorithm`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    text: Box<str>,
}

impl Digest {
    /// The SHA-256 of `content`.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(content);
        hasher.finish()
    }

    /// Reads `algorithm:hex` (image-spec, descriptor.md, "Digests").
    ///
    /// # Errors
    /// [`DigestError::Unsupported`] for a well-formed digest by another algorithm, [`DigestError::Malformed`] else.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed { text: excerpt(text) };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name) else {
            return Err(if is_algorithm(name) {
                DigestError::Unsupported { algorithm: excerpt(name) }
            } else {
                malformed()
            });
        };
        let is_hex = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() == algorithm.hex_length() && is_hex { Ok(Self { text: text.into() }) } else { Err(malformed()) }
    }

    /// A digest from the hexadecimal part alone, as it stands in a file's name.
    ///
    /// # Errors
    /// As [`Digest::parse`].
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        Self::parse(&format!("{}:{hex}", algorithm.name()))
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        if self.text.starts_with("sha256:") { Algorithm::Sha256 } else { Algorithm::Sha512 }
    }

    /// The hash, in lower-case hexadecimal.
    pub fn hex(&self) -> &str {
        &self.text["sha256:".len()..]
    }

    /// The first twelve digits of the hash, as Docker shows an ID.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    /// The whole, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text.into()
    }
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not of the form `sha256:` and 64 lower-case hexadecimal digits (or `sha512:` and 128).
    #[error("`{text}` is not a digest")]
    Malformed {
        /// What was given, shortened.
        text: String,
    },
    /// By a hash function that is not supported.
    #[error("digests by `{algorithm}` are not supported")]
    Unsupported {
        /// The name before the colon.
        algorithm: String,
    },
}

impl Diagnose for DigestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed { .. } => Kind::Invalid,
            Self::Unsupported { .. } => Kind::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Malformed { .. } => "a digest is `sha256:` followed by 64 hexadecimal digits in lower case".into(),
            Self::Unsupported { .. } => "sha256 and sha512 are".into(),
        })
    }
}

/// A digest in the making.
#[derive(Debug, Clone)]
pub struct Hasher {
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Sha256(Box<sha2::Sha256>),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// Begins with nothing read.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Box::default()),
            Algorithm::Sha512 => State::Sha512(Box::default()),
        };
        Self { state }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self.state {
            State::Sha256(state) => (Algorithm::Sha256, hex(&state.finalize())),
            State::Sha512(state) => (Algorithm::Sha512, hex(&state.finalize())),
        };
        Digest { text: format!("{}:{hex}", algorithm.name()).into() }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|&byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

fn is_algorithm(name: &str) -> bool {
    name.split(['+', '.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

/// The beginning of a text from outside, fit for a message.
pub(crate) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if short.len() < text.len() && text.chars().nth(200).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn of_known_content() {
        assert_eq!(Digest::of(b"").as_str(), EMPTY);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        let digest = hasher.finish();
        assert!(digest.hex().starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(digest.algorithm(), Algorithm::Sha512);
        assert_eq!(Digest::parse(digest.as_str()), Ok(digest));
    }

    #[test]
    fn what_could_name_something_else_does_not_exist() {
        let upper = EMPTY.to_uppercase();
        let padded = format!(" {EMPTY}");
        let long = format!("{EMPTY}0");
        for text in ["", ":", "sha256:", "sha256:../../x", &EMPTY[..70], &upper, &padded, &long, "e3b0c44298fc"] {
            assert!(matches!(Digest::parse(text), Err(DigestError::Malformed { .. })), "{text}");
        }
        for text in ["md5:00", "blake3:../..", "sha256+b64:x"] {
            assert!(matches!(Digest::parse(text), Err(DigestError::Unsupported { .. })), "{text}");
        }
        assert!(serde_json::from_str::<Digest>("\"sha256:../../x\"").is_err());
    }

    proptest! {
        #[test]
        fn survives_its_own_text(content: Vec<u8>) {
            let digest = Digest::of(&content);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }

        #[test]
        fn never_holds_more_than_hex(text in "\\PC*") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert!(digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
        }
    }
}
