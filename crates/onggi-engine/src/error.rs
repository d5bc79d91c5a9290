//! Why the engine could not do what was asked.

use onggi_diag::{Diagnose, Kind, Record};

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
    /// It was asked to end, and killed, and is still there.
    #[error("container {} did not end within {waited_secs} seconds after it was killed", id.short())]
    Unkillable {
        /// The container.
        id: ContainerId,
        /// How long was waited.
        waited_secs: u64,
    },
    /// The image is not in the store.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// Containers were made of the image.
    #[error("image {image} is in use by {} {}", if *running { "running container" } else { "stopped container" }, container.short())]
    ImageInUse {
        /// The image as given.
        image: String,
        /// One of its containers.
        container: ContainerId,
        /// Whether that one runs.
        running: bool,
    },
    /// No such volume.
    #[error("no such volume: {0}")]
    NoSuchVolume(Name),
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
    /// What the container's monitor reports.
    #[error("cannot start container {}", id.short())]
    Start {
        /// The container.
        id: ContainerId,
        /// The monitor's account.
        source: Record,
    },
    /// A failure of a crate below, told as it was.
    #[error("cannot {what}")]
    Below {
        /// What was being done.
        what: String,
        /// The failure and all its causes.
        source: Record,
    },
}

/// Result of the engine's.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Takes down a failure of a crate below.
    pub(crate) fn below(what: impl Into<String>) -> impl FnOnce(Record) -> Self {
        let what = what.into();
        move |source| Self::Below { what, source }
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
            Self::NoSuchContainer(_) | Self::NoSuchImage(_) | Self::NoSuchVolume(_) => Kind::NotFound,
            Self::Ambiguous { .. } | Self::Name(_) | Self::Request(_) => Kind::Invalid,
            Self::NameTaken { .. } | Self::NotRunning(_) | Self::Running(_) | Self::ImageInUse { .. } => Kind::Conflict,
            Self::Busy(_) | Self::Unkillable { .. } => Kind::Unavailable,
            Self::Rootless { .. } => Kind::Unsupported,
            Self::Damaged { .. } => Kind::Internal,
            Self::System { source, .. } => source.kind(),
            Self::Start { source, .. } | Self::Below { source, .. } => source.kind,
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
            Self::ImageInUse { container, .. } => {
                Some(format!("`onggi rm {}` removes the container", container.short()))
            }
            Self::Rootless { hint, .. } => Some((*hint).to_owned()),
            Self::Damaged { id, .. } => Some(format!("`onggi rm --force {}` removes what is left of it", id.short())),
            Self::System { source, .. } => source.hint(),
            Self::Start { source, .. } | Self::Below { source, .. } => source.hint.clone(),
            Self::Request(error) => error.hint(),
            Self::NoSuchContainer(_)
            | Self::Name(_)
            | Self::Busy(_)
            | Self::Unkillable { .. }
            | Self::NoSuchVolume(_) => None,
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
            _ => None,
        }
    }
}
