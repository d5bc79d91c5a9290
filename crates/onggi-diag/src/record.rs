//! An error as data.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Diagnose, Kind};

/// An error as it crosses a process boundary: never a flattened string, never a bare end of file.
///
/// A container's first process, a monitor or a guest sends one of these to whoever asked for the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was being done, in a word or two ("mount rootfs", "exec").
    pub stage: String,
    /// The kind of the failure.
    pub kind: Kind,
    /// The messages of the error and of its causes, outermost first.
    pub chain: Vec<String>,
    /// The error number of the kernel call at the root of it, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Record {
    /// Takes down `error` with all its causes, as it happened during `stage`.
    pub fn new(stage: impl Into<String>, error: &dyn Diagnose) -> Self {
        Self { stage: stage.into(), kind: error.kind(), chain: chain(error), errno: None, hint: error.hint() }
    }

    /// The same record with the error number that the kernel answered.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.chain.first() {
            Some(first) => f.write_str(first),
            None => write!(f, "{} failed", self.stage),
        }
    }
}

impl Error for Record {}

impl Diagnose for Record {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The messages of `error` and of its causes, outermost first; a [`Record`] among them contributes its whole chain.
///
/// A message equal to the one before it (a transparent wrapper) is taken once.
pub fn chain(error: &(impl Error + ?Sized)) -> Vec<String> {
    let mut messages = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(this) = cause {
        match this.downcast_ref::<Record>() {
            Some(record) => record.chain.iter().for_each(|message| push_new(&mut messages, message.clone())),
            None => push_new(&mut messages, this.to_string()),
        }
        cause = this.source();
    }
    messages
}

fn push_new(messages: &mut Vec<String>, message: String) {
    if messages.last() != Some(&message) {
        messages.push(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(Record);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot start")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_record_in_the_middle_keeps_all_its_causes() {
        let record = Record {
            stage: "mount".into(),
            kind: Kind::Denied,
            chain: vec!["cannot mount proc".into(), "fsmount: EPERM".into()],
            errno: Some(1),
            hint: None,
        };
        assert_eq!(chain(&Outer(record)), ["cannot start", "cannot mount proc", "fsmount: EPERM"]);
    }
}
