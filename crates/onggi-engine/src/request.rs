//! What a caller may ask of a new container, each field parsed once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use onggi_fs::Lock;
use onggi_monitor::LogLimits;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, Name};

/// A container to make out of an image; what is `None` or empty comes from the image, then from the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainer {
    /// The image, as the user wrote it.
    pub image: String,
    /// The name; one is invented where none is given.
    pub name: Option<Name>,
    /// What follows the image on the command line.
    pub command: Vec<String>,
    /// Replaces the image's entry point and forgets its command; an empty word or list leaves no entry point.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=VALUE`, or `KEY` to take one of the image's away.
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// The directory the process starts in.
    pub working_dir: Option<String>,
    /// The host name; the short id by default.
    pub hostname: Option<String>,
    /// Labels beside the image's.
    pub labels: BTreeMap<String, String>,
    /// Allocate a terminal.
    pub terminal: bool,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Which streams the creating command means to attach; only `inspect` shows it.
    pub attach: Streams,
    /// What `stop` sends first, by name or number.
    pub stop_signal: Option<String>,
    /// How many seconds `stop` waits before it kills.
    pub stop_timeout_secs: Option<u32>,
    /// Directories of the host and volumes.
    pub volumes: Vec<Volume>,
    /// The network.
    pub network: NetworkMode,
    /// Limits.
    pub resources: Resources,
    /// Rights.
    pub security: Security,
    /// Remove the container and its anonymous volumes when it ends.
    pub auto_remove: bool,
    /// When the log is rotated.
    pub log: LogLimits,
}

/// Standard streams, by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Which network a container is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The machine's default bridge, with an address from its range; not for an ordinary user.
    #[default]
    Bridge,
    /// The host's own.
    Host,
    /// Loopback alone.
    None,
}

impl NetworkMode {
    /// The name that Docker gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }
}

impl std::str::FromStr for NetworkMode {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        match text {
            "" | "bridge" | "default" => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            other => Err(RequestError::Network(other.to_owned())),
        }
    }
}

/// Limits; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, in bytes; -1 is unlimited swap. Twice `memory` by default.
    pub memory_swap: Option<i64>,
    /// Processor time, in billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// How many processes and threads there may be.
    pub pids: Option<i64>,
}

/// Rights beside the default ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Capabilities to add: names with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities to take away; added ones win over `ALL` here.
    pub cap_drop: Vec<String>,
    /// Everything that root may do, and every device of the host.
    pub privileged: bool,
    /// Mount the root file system read-only.
    pub read_only: bool,
}

/// One `-v`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// What is mounted.
    pub source: VolumeSource,
    /// Where in the container; absolute.
    pub destination: PathBuf,
    /// Refuse writes, below too.
    pub read_only: bool,
    /// Whether mounts made later travel between host and container.
    pub propagation: Propagation,
    /// Leave a new volume empty instead of filling it with what the image has there.
    pub no_copy: bool,
    /// Label the source for containers; means nothing where SELinux is off, and is refused where it is on.
    pub relabel: bool,
}

/// What a [`Volume`] mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeSource {
    /// A path of the host's, absolute; a directory is made where there is nothing.
    Host(PathBuf),
    /// A volume by name, made where there is none.
    Named(Name),
    /// A new volume that goes with the container.
    Anonymous,
}

/// Mount propagation, as mount_namespaces(7) means it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are mount_namespaces(7)'s")]
pub enum Propagation {
    #[default]
    RPrivate,
    Private,
    RShared,
    Shared,
    RSlave,
    Slave,
}

impl Propagation {
    /// The mount option of that name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RShared => "rshared",
            Self::Shared => "shared",
            Self::RSlave => "rslave",
            Self::Slave => "slave",
        }
    }
}

/// Which containers a list is of; all conditions hold at once.
#[derive(Debug, Clone, Default)]
pub struct ListContainers {
    /// Those that do not run too.
    pub all: bool,
    /// At most so many, newest first; implies `all`.
    pub last: Option<usize>,
    /// With one of these ids or their beginnings.
    pub ids: Vec<String>,
    /// Whose name contains one of these; `^` before it and `$` behind it hold it to the name's beginning and end.
    pub names: Vec<String>,
    /// In one of these states (`created`, `running`, `exited`, ...); implies `all`.
    pub status: Vec<String>,
    /// With a mount of one of these: a volume's name, a path of the host or in the container.
    pub volumes: Vec<String>,
    /// In one of these networks.
    pub networks: Vec<String>,
    /// Made before all of these containers, by name or id.
    pub before: Vec<String>,
    /// Made after all of these containers, by name or id.
    pub since: Vec<String>,
    /// Ended with one of these exit codes; implies `all`.
    pub exited: Vec<i32>,
    /// With all of these labels, `KEY` or `KEY=VALUE`.
    pub labels: Vec<String>,
    /// Made of one of these images, as written at `create` or by id.
    pub ancestors: Vec<String>,
}

/// What `remove` may take away beside a stopped container.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveContainer {
    /// Kill it first if it runs.
    pub force: bool,
    /// Its anonymous volumes.
    pub volumes: bool,
}

/// A container that was made. While this lives, no prune takes the container away before it is started.
#[derive(Debug)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: Name,
    /// What was asked for and cannot be had here, though the container works without.
    pub warnings: Vec<String>,
    /// Tells other processes that the container is wanted.
    pub(crate) _wanted: Option<Lock>,
}

/// What in a request cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such network.
    #[error("no such network: `{0}`")]
    Network(String),
    /// A `-v` that means nothing.
    #[error("invalid volume `{given}`: {why}")]
    Volume {
        /// As written.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two mounts at one place.
    #[error("two mounts at `{}`", .0.display())]
    DuplicateMount(PathBuf),
    /// A capability of no known name.
    #[error("unknown capability `{0}`")]
    Capability(String),
    /// A capability that this process does not have in its bounding set.
    #[error("{0} is not ours to give")]
    CapabilityNotHere(String),
    /// SELinux labels, where they would mean something.
    #[error("volumes cannot be labelled for SELinux")]
    Relabel,
    /// A machine that the default seccomp profile knows no calls of.
    #[error("there is no seccomp profile for this machine's architecture")]
    Architecture,
    /// Nothing to execute.
    #[error("no command to run")]
    NoExec,
    /// A state that no container can be in.
    #[error("there is no state `{0}`: a container is created, running, paused or exited")]
    Status(String),
    /// A signal of no known name.
    #[error("invalid signal `{0}`")]
    Signal(String),
    /// Neither the request nor the image says what to run.
    #[error("no command specified, and the image `{0}` names none")]
    NoCommand(String),
    /// An environment entry without a name.
    #[error("invalid environment variable `{0}`")]
    Env(String),
    /// A working directory that is not absolute.
    #[error("the working directory `{0}` is invalid: it must be an absolute path")]
    WorkingDir(String),
    /// A host name that no kernel takes.
    #[error("invalid host name `{0}`")]
    Hostname(String),
    /// Limits that contradict each other or the machine.
    #[error("{0}")]
    Limit(String),
}
