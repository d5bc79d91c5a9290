//! What can go wrong on the command line, and what the process then exits with.

use onggi_diag::{Diagnose, Kind, Record};

use crate::output::TemplateError;
use crate::parse::BadWord;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Word(#[from] BadWord),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Engine(#[from] onggi_engine::Error),
    #[error(transparent)]
    Image(#[from] onggi_image::ImageError),
    #[error(transparent)]
    Monitor(#[from] onggi_monitor::client::ClientError),
    #[error("cannot {what}")]
    Io { what: String, source: std::io::Error },
    #[error("cannot {what}")]
    Other { what: String, source: Record },
    /// Words that cannot stand together, an option without its meaning.
    #[error("{0}")]
    Usage(String),
}

/// Result of a command.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn other(what: impl Into<String>, error: &dyn Diagnose) -> Self {
        let what = what.into();
        Self::Other { source: Record::new(what.clone(), error), what }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// What `run`, `create`, `start` and `exec` exit with: 126 or 127 where the program is to blame, else 125.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Engine(error) => error.exit_code(),
            Self::Monitor(error) => error.exit_code(),
            _ => 125,
        }
    }
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Word(_) | Self::Usage(_) => Kind::Invalid,
            Self::Template(error) => error.kind(),
            Self::Engine(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Monitor(error) => error.kind(),
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                std::io::ErrorKind::PermissionDenied => Kind::Denied,
                std::io::ErrorKind::AlreadyExists => Kind::Exists,
                std::io::ErrorKind::StorageFull => Kind::Unavailable,
                _ => Kind::Internal,
            },
            Self::Other { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Template(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Monitor(error) => error.hint(),
            Self::Other { source, .. } => source.hint(),
            Self::Word(_) | Self::Usage(_) | Self::Io { .. } => None,
        }
    }
}
