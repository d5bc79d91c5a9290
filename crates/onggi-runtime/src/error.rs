//! Why a container could not be made, started or joined.

use onggi_diag::{Diagnose, Kind, Record};

/// Result of this crate's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a container could not be made, started or joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot mean anything; `at` is the JSON path of the field in `config.json`, or the argument.
    #[error("{at}: {why}")]
    Invalid {
        /// Where.
        at: String,
        /// What is wrong there.
        why: String,
    },
    /// This kernel, machine or version cannot do it.
    #[error("{at}: {why}")]
    Unsupported {
        /// What asked for it.
        at: String,
        /// What is missing.
        why: String,
    },
    /// There is no such container.
    #[error("container `{0}` does not exist")]
    NotFound(String),
    /// The id is taken.
    #[error("container `{0}` exists already")]
    Exists(String),
    /// The container is in a state in which this makes no sense.
    #[error("cannot {operation} container `{id}`, which is {status}")]
    Conflict {
        /// What was asked.
        operation: &'static str,
        /// Of which container.
        id: String,
        /// What it is doing instead.
        status: String,
    },
    /// A step of the caller's side failed.
    #[error("cannot {step}")]
    Step {
        /// The step.
        step: String,
        /// The kernel's answer.
        source: onggi_sys::Error,
    },
    /// The container's side failed before the user's program ran.
    #[error("cannot {}", record.stage)]
    Child {
        /// What it reported.
        record: Record,
    },
    /// The user's program cannot be executed.
    #[error("cannot {}", record.stage)]
    Exec {
        /// What was reported.
        record: Record,
        /// 126: found but not executable; 127: not found.
        code: u8,
    },
    /// The caller's own step between clone and gate failed.
    #[error("cannot prepare the container")]
    Caller(#[source] Record),
}

impl Error {
    /// The exit code by which shells and Docker tell of this failure, where the user's program is to blame: 126 or 127.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Exec { code, .. } => Some(*code),
            _ => None,
        }
    }

    pub(crate) fn invalid(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { at: at.into(), why: why.into() }
    }
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Invalid { .. } => Kind::Invalid,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::NotFound(_) => Kind::NotFound,
            Self::Exists(_) => Kind::Exists,
            Self::Conflict { .. } => Kind::Conflict,
            Self::Step { source, .. } => source.kind(),
            Self::Child { record } | Self::Exec { record, .. } | Self::Caller(record) => record.kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Step { source, .. } => source.hint(),
            Self::Child { record } | Self::Exec { record, .. } | Self::Caller(record) => record.hint.clone(),
            _ => None,
        }
    }
}
