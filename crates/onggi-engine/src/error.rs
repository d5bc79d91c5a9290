//! Why the engine could not do what was asked.

use onggi_diag::{Diagnose, Kind, Record};
use onggi_image::ImageError;
use onggi_monitor::client::ClientError;

use crate::{ContainerId, Name, NameError, RequestError};

/// A failure of the engine's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers to this name, id or beginning of an id.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// The beginning of more than one id.
    #[error("`{given}` is the beginning of more than one container's id")]
    Ambiguous {
        /// What was given.
        given: String,
        /// Some of those it may mean.
        candidates: Vec<ContainerId>,
    },
    /// Another container has the name.
    #[error("the container name `{name}` is already in use by container {}", owner.short())]
    NameTaken {
        /// The name.
        name: Name,
        /// Who has it.
        owner: ContainerId,
    },
    /// A name or id outside its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A request that cannot be met by anybody.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The operation needs a running container.
    #[error("container {} is not running", .0.short())]
    NotRunning(ContainerId),
    /// The operation needs a container that does not run.
    #[error("container {} is running", .0.short())]
    Running(ContainerId),
    /// Someone else is starting, stopping or removing it.
    #[error("container {} is busy: another command works on it", .0.short())]
    Busy(ContainerId),
    /// The image is not in the store.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// An ordinary user without the rights or the delegation that it takes.
    #[error("cannot {what} as an ordinary user")]
    Rootless {
        /// What was asked for.
        what: &'static str,
        /// What would make it work.
        hint: &'static str,
    },
    /// A record of ours that does not parse.
    #[error("container {}'s {file} is damaged", id.short())]
    Damaged {
        /// Whose.
        id: ContainerId,
        /// Which.
        file: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A step on the files of ours or with the kernel.
    #[error("cannot {what}")]
    System {
        /// What was being done.
        what: String,
        /// How the kernel refused.
        source: onggi_sys::Error,
    },
    /// The container could not be put together, or its program not be executed.
    #[error("cannot start container {}", id.short())]
    Start {
        /// The container.
        id: ContainerId,
        /// What its monitor says.
        source: Box<ClientError>,
    },
    /// The container's monitor could not do it.
    #[error("cannot {what} container {}", id.short())]
    Monitor {
        /// What was asked.
        what: &'static str,
        /// The container.
        id: ContainerId,
        /// What its monitor says.
        source: Box<ClientError>,
    },
    /// The image store could not.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// The layers could not.
    #[error("cannot {what} the root file system of container {}", id.short())]
    Snapshot {
        /// What was being done.
        what: &'static str,
        /// The container.
        id: ContainerId,
        /// The failure.
        source: Box<onggi_snapshot::Error>,
    },
    /// A failure of a crate below, told as it was.
    #[error("cannot {what}")]
    Below {
        /// What was being done.
        what: String,
        /// The failure and all its causes.
        source: Box<Record>,
    },
}

/// Result of the engine's.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What a command that ran into this exits with: 126 and 127 where the container's program is to blame, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start { source, .. } | Self::Monitor { source, .. } => source.exit_code(),
            _ => 125,
        }
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

/// Says what was being done when a call failed.
pub(crate) trait Context<T> {
    /// `what` completes "cannot ...".
    fn to(self, what: impl Into<String>) -> Result<T>;
}

impl<T> Context<T> for onggi_sys::Result<T> {
    fn to(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::System { what: what.into(), source })
    }
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NoSuchContainer(_) | Self::NoSuchImage(_) => Kind::NotFound,
            Self::Ambiguous { .. } | Self::Name(_) | Self::Request(_) => Kind::Invalid,
            Self::NameTaken { .. } | Self::NotRunning(_) | Self::Running(_) => Kind::Conflict,
            Self::Busy(_) => Kind::Unavailable,
            Self::Rootless { .. } => Kind::Unsupported,
            Self::Damaged { .. } => Kind::Internal,
            Self::System { source, .. } => source.kind(),
            Self::Start { source, .. } | Self::Monitor { source, .. } => source.kind(),
            Self::Image(source) => source.kind(),
            Self::Snapshot { source, .. } => source.kind(),
            Self::Below { source, .. } => source.kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ambiguous { candidates, .. } => {
                let ids: Vec<&str> = candidates.iter().map(ContainerId::short).collect();
                Some(format!("it may be {}", ids.join(", ")))
            }
            Self::NameTaken { name, .. } => {
                Some(format!("`onggi rm {name}` removes that one; or choose another name with --name"))
            }
            Self::NotRunning(id) => Some(format!("`onggi start {}` starts it", id.short())),
            Self::Running(id) => Some(format!("`onggi stop {}` stops it; or use --force", id.short())),
            Self::NoSuchImage(image) => Some(format!("`onggi pull {image}` fetches it")),
            Self::Rootless { hint, .. } => Some((*hint).to_owned()),
            Self::Damaged { id, .. } => Some(format!("`onggi rm --force {}` removes what is left of it", id.short())),
            Self::System { source, .. } => source.hint(),
            Self::Start { source, .. } | Self::Monitor { source, .. } => source.hint(),
            Self::Image(source) => source.hint(),
            Self::Snapshot { source, .. } => source.hint(),
            Self::Below { source, .. } => source.hint.clone(),
            Self::Request(error) => error.hint(),
            Self::NoSuchContainer(_) | Self::Name(_) | Self::Busy(_) => None,
        }
    }
}

impl RequestError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Network(_) => Some("the networks are `bridge`, `host` and `none`".to_owned()),
            Self::Volume { .. } => {
                Some("a volume is written /host/path:/path[:ro], name:/path[:ro] or /path".to_owned())
            }
            Self::Capability(_) => Some("`man 7 capabilities` lists the names; CAP_ may be left out".to_owned()),
            Self::CapabilityNotHere(_) => {
                Some("the bounding set of this process lacks it: see CapBnd in /proc/self/status".to_owned())
            }
            _ => None,
        }
    }
}
