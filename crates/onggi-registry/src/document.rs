//! The error document of a registry: its own words, bounded and made safe to print.

use serde::Deserialize;

/// At most this many bytes of an error's body are read.
pub(crate) const LIMIT: usize = 64 * 1024;

/// At most this many characters of it are shown.
const SHOWN: usize = 400;

/// What a registry says about a failure.
///
/// Implements `ErrorCodes` of the distribution specification; a body that is not such a document is kept as a line of
/// text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    lines: Vec<String>,
    codes: Vec<String>,
}

impl Document {
    /// Reads the body of an answer.
    pub fn parse(body: &[u8]) -> Self {
        if let Ok(wire) = serde_json::from_slice::<Wire>(body) {
            let codes =
                wire.errors.iter().filter_map(|error| error.code.clone()).map(|code| printable(&code)).collect();
            let lines = wire.errors.iter().take(5).map(Entry::line).filter(|line| !line.is_empty()).collect::<Vec<_>>();
            if !lines.is_empty() {
                return Self { lines, codes };
            }
            if let Some(text) = wire.error_description.or(wire.details).or(wire.message).or(wire.error) {
                return Self { lines: vec![printable(&text)], codes: Vec::new() };
            }
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let markup = text.starts_with('<');
        let lines = if text.is_empty() || markup { Vec::new() } else { vec![printable(text)] };
        Self { lines, codes: Vec::new() }
    }

    /// Whether the registry named `code`, such as `MANIFEST_UNKNOWN`.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|this| this == code)
    }

    /// As the end of a message: empty, or beginning with `: `.
    pub(crate) fn in_message(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| {
            let joint = if text.is_empty() { ": " } else { "; " };
            text + joint + line
        })
    }
}

/// The distribution specification's document, and the two fields of OAuth2's.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    errors: Vec<Entry>,
    error: Option<String>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    code: Option<String>,
    message: Option<String>,
}

impl Entry {
    fn line(&self) -> String {
        let parts = [self.code.as_deref(), self.message.as_deref()];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).map(printable).collect::<Vec<_>>().join(": ")
    }
}

/// `text` in one bounded line without control characters: it comes from a stranger and goes to a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() || is_bidi(c) { ' ' } else { c })
        .take(SHOWN)
        .collect::<String>()
        .trim()
        .to_owned();
    if text.chars().count() > SHOWN {
        line.push('…');
    }
    line
}

/// The characters that reorder a line on a terminal.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(Document::parse(body.as_bytes()).in_message(), expected);
    }

    #[test]
    fn the_registrys_words_end_up_in_one_line() {
        check(r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}"#, ": DENIED: no; X");
        check(r#"{"error":"invalid_grant","error_description":"expired"}"#, ": expired");
        check(r#"{"details":"incorrect username or password"}"#, ": incorrect username or password");
        check("too many\nrequests\n", ": too many requests");
        check("<html>nginx</html>", "");
        check("", "");
    }

    #[test]
    fn it_cannot_write_to_the_terminal_nor_fill_it() {
        check("\u{1b}[2Jgone\u{202e}", ": [2Jgone");
        let long = "x".repeat(10_000);
        assert!(Document::parse(long.as_bytes()).in_message().chars().count() < 410);
    }
}
