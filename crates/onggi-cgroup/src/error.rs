//! Why a control group could not do what was asked.

use std::path::PathBuf;

use onggi_diag::{Diagnose, Kind};
use onggi_sys as sys;

use crate::Controller;

/// Result of an operation on a control group.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a control group could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine's hierarchies could not be told.
    #[error("cannot tell which cgroup hierarchies this machine has")]
    Detect {
        /// What the kernel answered.
        source: sys::Error,
    },
    /// A cgroup path that cannot be used.
    #[error("cgroup path `{path}` {why}")]
    Path {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
        /// Whether it looks made to leave its place.
        hostile: bool,
    },
    /// A limit was asked for that needs a controller which is not there for us.
    #[error("cannot limit {what}: the {controller} cgroup controller is not available here")]
    NoController {
        /// What was to be limited.
        what: &'static str,
        /// The missing controller.
        controller: Controller,
        /// The failure that made it unavailable, where it is mounted at all.
        #[source]
        source: Option<sys::Error>,
    },
    /// A value in the specification that no kernel would take.
    #[error("{field} of {value} {why}")]
    Value {
        /// The field of `linux.resources`.
        field: String,
        /// What it says.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A group's directory could not be made.
    #[error("cannot create cgroup {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// The group is there and somebody lives in it.
    #[error("cgroup {} already holds {processes} processes", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
        /// How many.
        processes: usize,
    },
    /// A group's directory could not be opened.
    #[error("cannot open cgroup {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// A file of a group did not take a value.
    #[error("cannot write \"{value}\" to {}", file.display())]
    Write {
        /// The value.
        value: String,
        /// The file.
        file: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// A file of a group could not be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// A file of a group says what nobody expects.
    #[error("cannot understand \"{text}\" in {}", file.display())]
    Odd {
        /// The file.
        file: PathBuf,
        /// Its content.
        text: String,
    },
    /// The device filter could not be put on.
    #[error("cannot attach the device filter to {}", path.display())]
    DeviceFilter {
        /// The group.
        path: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// A group could not be taken away.
    #[error("cannot remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// A process could not be killed.
    #[error("cannot kill process {pid} of cgroup {}", path.display())]
    Kill {
        /// The process.
        pid: i32,
        /// Its group.
        path: PathBuf,
        /// What the kernel answered.
        source: sys::Error,
    },
    /// Something did not happen in time.
    #[error("cgroup {} did not become {state} within {seconds} s", path.display())]
    Late {
        /// The group.
        path: PathBuf,
        /// What it should have become.
        state: &'static str,
        /// How long was waited.
        seconds: u64,
    },
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Path { hostile: true, .. } => Kind::Hostile,
            Self::Path { .. } | Self::Value { .. } => Kind::Invalid,
            Self::NoController { source: Some(source), .. } => source.kind(),
            Self::NoController { source: None, .. } => Kind::Unsupported,
            Self::Occupied { .. } => Kind::Conflict,
            Self::Odd { .. } => Kind::Internal,
            Self::Late { .. } => Kind::Unavailable,
            Self::Detect { source }
            | Self::Create { source, .. }
            | Self::Open { source, .. }
            | Self::Write { source, .. }
            | Self::Read { source, .. }
            | Self::DeviceFilter { source, .. }
            | Self::Remove { source, .. }
            | Self::Kill { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoController { controller, source: Some(_), .. } => Some(format!(
                "the {controller} controller is not delegated to this user: leave the limit out or run as root; on cgroup v2, `systemd-run --user --scope -p Delegate=yes` delegates it"
            )),
            Self::NoController { controller, source: None, .. } => {
                Some(format!("this kernel has no {controller} controller mounted; leave the limit out"))
            }
            Self::Occupied { .. } => Some("another container uses this cgroup; give this one a path of its own".into()),
            _ => None,
        }
    }
}
