//! One line of a log file.

use serde::Deserialize;

/// Which of a process' streams something was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Its name in a log file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a log, as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was written, with its newline if it had one. Bytes that are not UTF-8 have become U+FFFD.
    pub log: String,
    /// Where it was written.
    pub stream: Stream,
    /// When, RFC 3339.
    pub time: String,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    log: String,
    stream: Stream,
    time: String,
}

impl Entry {
    /// Reads a line of a log file; `None` if it is none (a disk that was full, a file that somebody edited).
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let Line { log, stream, time } = serde_json::from_slice(line).ok()?;
        Some(Self { log, stream, time })
    }

    /// When it was written, as a number that can be compared.
    pub fn timestamp(&self) -> Option<jiff::Timestamp> {
        self.time.parse().ok()
    }
}

/// Appends the line that says that `text` (and then a newline, if `newline`) was written to `stream` at `time`.
pub(super) fn encode(out: &mut Vec<u8>, stream: Stream, time: &str, text: &[u8], newline: bool) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            // As Docker does: one for each byte that is not part of a character.
            chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
        }
    }
    if newline {
        out.extend_from_slice(b"\\n");
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// The inside of a JSON string, escaped as Docker's writer escapes: `<`, `>`, `&`, U+2028 and U+2029 too.
fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let separator = byte == 0xe2 && bytes[at + 1] == 0x80 && matches!(bytes[at + 2], 0xa8 | 0xa9);
        if !separator && (byte >= 0x80 || (byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&'))) {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0xe2 => {
                out.extend_from_slice(if bytes[at + 2] == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                at += 2;
            }
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        at += 1;
        plain = at;
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> String {
        let mut out = Vec::new();
        encode(&mut out, Stream::Stderr, "2026-01-02T03:04:05.678Z", text, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn is_what_docker_writes() {
        assert_eq!(encoded(b"hi"), "{\"log\":\"hi\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.678Z\"}\n");
        for (text, expected) in [
            (&b"a\tb\r"[..], "a\\u0009b\\r"),
            (b"\"\\", "\\\"\\\\"),
            (b"<a&b>", "\\u003ca\\u0026b\\u003e"),
            (b"\x1b[0m\x7f", "\\u001b[0m\x7f"),
            ("grün ✓".as_bytes(), "grün ✓"),
            ("\u{2028}x\u{2029}\u{20a8}".as_bytes(), "\\u2028x\\u2029\u{20a8}"),
            (b"\xff\xe2\x80", "\\ufffd\\ufffd\\ufffd"),
        ] {
            let line = encoded(text);
            assert!(line.starts_with(&format!("{{\"log\":\"{expected}\\n\"")), "{line}");
        }
    }

    #[test]
    fn comes_back() {
        let line = encoded("tab\t\"<quote>\" \u{2029} \u{7}".as_bytes());
        let entry = Entry::parse(line.trim_end().as_bytes()).unwrap();
        assert_eq!(entry.log, "tab\t\"<quote>\" \u{2029} \u{7}\n");
        assert_eq!(entry.stream, Stream::Stderr);
        assert!(entry.timestamp().is_some());
        assert_eq!(Entry::parse(b"{\"log\":\"x"), None);
    }
}
