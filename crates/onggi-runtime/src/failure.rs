//! A failure on the container's side of a clone, on its way to the caller.

use onggi_diag::{Diagnose, Kind, Record, chain};

/// What a step on the container's side failed with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was being done, to be read after "cannot".
    pub(crate) stage: String,
    pub(crate) kind: Kind,
    pub(crate) causes: Vec<String>,
    pub(crate) errno: Option<i32>,
    /// 126 or 127 if the user's program is to blame.
    pub(crate) code: Option<u8>,
    pub(crate) hint: Option<String>,
}

/// Result of a step on the container's side.
pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(stage: impl Into<String>, kind: Kind, cause: impl Into<String>) -> Self {
        Self { stage: stage.into(), kind, causes: vec![cause.into()], errno: None, code: None, hint: None }
    }

    /// A failed call of the kernel's.
    pub(crate) fn of(stage: impl Into<String>, error: &onggi_sys::Error) -> Self {
        Self {
            stage: stage.into(),
            kind: error.kind(),
            causes: chain(error),
            errno: Some(error.raw()),
            code: None,
            hint: error.hint(),
        }
    }

    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn into_record(self) -> Record {
        Record { stage: self.stage, kind: self.kind, chain: self.causes, errno: self.errno, hint: self.hint }
    }
}

/// Says what was being done when a call failed.
pub(crate) trait During<T> {
    /// Names the step, to be read after "cannot".
    fn during<S: Into<String>>(self, stage: impl FnOnce() -> S) -> Outcome<T>;
}

impl<T> During<T> for onggi_sys::Result<T> {
    fn during<S: Into<String>>(self, stage: impl FnOnce() -> S) -> Outcome<T> {
        self.map_err(|error| Failure::of(stage(), &error))
    }
}
