//! Why a container could not be made, started or joined.

use onggi_diag::{Diagnose, Kind, Record};

/// Result of this crate's calls.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a container could not be made, started or joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `config.json` cannot be read as a specification.
    #[error(transparent)]
    Config(onggi_oci::runtime::LoadError),
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
        #[source]
        record: Record,
    },
    /// The user's program cannot be executed.
    #[error("cannot {}", record.stage)]
    Exec {
        /// What was reported.
        #[source]
        record: Record,
        /// 126: found but not executable; 127: not found.
        code: u8,
    },
    /// The control group could not be made, joined or removed.
    #[error(transparent)]
    Cgroup(onggi_cgroup::Error),
    /// The user namespace's maps could not be written.
    #[error("cannot map users into the user namespace")]
    Maps(#[source] onggi_sys::idmap::HelperError),
    /// The seccomp profile cannot be compiled.
    #[error("cannot compile linux.seccomp")]
    Seccomp(#[source] onggi_seccomp::Error),
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

    pub(crate) fn step(step: impl Into<String>) -> impl FnOnce(onggi_sys::Error) -> Self {
        let step = step.into();
        move |source| Self::Step { step, source }
    }

    pub(crate) fn invalid(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { at: at.into(), why: why.into() }
    }
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Config(source) => source.kind(),
            Self::Invalid { .. } => Kind::Invalid,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::NotFound(_) => Kind::NotFound,
            Self::Exists(_) => Kind::Exists,
            Self::Conflict { .. } => Kind::Conflict,
            Self::Step { source, .. } => source.kind(),
            Self::Cgroup(source) => source.kind(),
            Self::Maps(source) => source.kind(),
            Self::Seccomp(source) => source.kind(),
            Self::Child { record } | Self::Exec { record, .. } | Self::Caller(record) => record.kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Step { source, .. } => source.hint(),
            Self::Cgroup(source) => source.hint(),
            Self::Maps(source) => source.hint(),
            Self::Seccomp(source) => source.hint(),
            Self::Config(source) => source.hint(),
            Self::Child { record } | Self::Exec { record, .. } | Self::Caller(record) => record.hint.clone(),
            _ => None,
        }
    }
}
