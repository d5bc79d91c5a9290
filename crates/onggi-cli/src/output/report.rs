//! An error as the user sees it: what failed, why (numbered, outermost first), and how to mend it.

use std::fmt::Write as _;

use onggi_diag::{Diagnose, chain};

/// The text of `error`, ending in a newline.
///
/// ```text
/// error: cannot start container `keen-plum`
///   1: cannot limit memory to 64 MiB
///   2: openat(memory.max, WRONLY): EACCES, permission denied
/// hint: the memory controller is not delegated to this user; `onggi info --cgroup` shows what is
/// ```
pub(crate) fn report(error: &dyn Diagnose) -> String {
    let messages = chain(error);
    let mut text = String::new();
    for (number, message) in messages.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ignored = match number {
            0 => writeln!(text, "error: {}", printable(message)),
            _ => writeln!(text, "  {number}: {}", printable(message)),
        };
    }
    if let Some(hint) = error.hint() {
        let _ignored = writeln!(text, "hint: {}", printable(&hint));
    }
    text
}

/// Names come from images and registries; what steers a terminal is shown, not sent.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_diag::{Kind, Record};

    #[test]
    fn numbers_causes_and_ends_with_the_hint() {
        let record = Record {
            stage: "x".into(),
            kind: Kind::Denied,
            chain: vec!["cannot start \u{1b}[31m".into(), "openat: EACCES".into()],
            errno: None,
            hint: Some("ask".into()),
        };
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Record);
        impl Diagnose for Outer {
            fn kind(&self) -> Kind {
                self.0.kind()
            }
            fn hint(&self) -> Option<String> {
                self.0.hint()
            }
        }
        let text = report(&Outer(record));
        assert_eq!(text, "error: outer\n  1: cannot start \\u{1b}[31m\n  2: openat: EACCES\nhint: ask\n");
    }
}
