//! The keys that let go of a container's terminal.

use onggi_diag::{Diagnose, Kind};

/// A sequence of keys; by default Ctrl-P and then Ctrl-Q.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// Why a text names no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key: a character, or `ctrl-` and one of a-z, @, [, \\, ], ^, _")]
pub struct KeysError(String);

impl Diagnose for KeysError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Default for DetachKeys {
    fn default() -> Self {
        const CTRL_P: u8 = 16;
        Self(vec![CTRL_P, CTRL_P + 1])
    }
}

impl DetachKeys {
    /// No keys: the terminal cannot be let go of.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Parses `ctrl-p,ctrl-q` or `a,b`, as Docker's `--detach-keys`; the empty text is no keys.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        if text.is_empty() {
            return Ok(Self::none());
        }
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn scanner(&self) -> Scanner {
        Scanner { keys: self.0.clone(), seen: 0 }
    }
}

fn key(text: &str) -> Result<u8, KeysError> {
    let wrong = || KeysError(text.escape_debug().to_string());
    let (control, name) = match text.strip_prefix("ctrl-") {
        Some(name) => (true, name),
        None => (false, text),
    };
    match (control, name.as_bytes()) {
        (false, [key]) if key.is_ascii() => Ok(*key),
        (true, [key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(key & 0x1f),
        _ => Err(wrong()),
    }
}

/// Looks for the keys in what is typed, across reads.
pub(crate) struct Scanner {
    keys: Vec<u8>,
    /// How many of them have been typed, one after the other; they are held back.
    seen: usize,
}

impl Scanner {
    /// What of `typed` is for the process, and whether the keys were among it.
    pub(crate) fn scan(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut data = Vec::with_capacity(typed.len());
        for &byte in typed {
            if self.keys.get(self.seen) == Some(&byte) {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return (data, true);
                }
                continue;
            }
            data.extend_from_slice(&self.keys[..self.seen]);
            self.seen = 0;
            if self.keys.first() == Some(&byte) {
                self.seen = 1;
            } else {
                data.push(byte);
            }
        }
        (data, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_docker_names_them() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q"), Ok(DetachKeys::default()));
        assert_eq!(DetachKeys::parse("a,ctrl-@"), Ok(DetachKeys(vec![b'a', 0])));
        for wrong in ["ctrl-", "ctrl-1", "ab", "a,,b", "é"] {
            assert!(DetachKeys::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_whole_sequence_leaves() {
        let mut scanner = DetachKeys::default().scanner();
        assert_eq!(scanner.scan(b"a\x10b"), (b"a\x10b".to_vec(), false));
        assert_eq!(scanner.scan(b"\x10"), (vec![], false));
        assert_eq!(scanner.scan(b"\x10x"), (b"\x10\x10x".to_vec(), false));
        assert_eq!(scanner.scan(b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(scanner.scan(b"\x11lost"), (vec![], true));
        assert_eq!(DetachKeys::none().scanner().scan(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
