//! What a container is: the record that everything else about it can be made from again.

use std::os::fd::AsFd;
use std::path::PathBuf;

use onggi_fs::{Durability, Root, write_atomic};
use onggi_monitor::LogLimits;
use onggi_oci::image::Config;
use onggi_sys::Errno;
use serde::{Deserialize, Serialize};

use crate::error::Context;
use crate::{ContainerId, Error, Name, NetworkMode, Resources, Result, Security, Streams};

/// The file in a container's directory.
pub(crate) const RECORD_FILE: &str = "container.json";

/// A record beyond this was not written by us: a command line is at most 2 MiB.
const LIMIT: usize = 16 << 20;

/// A container as it was created. Nothing but a rename changes it.
///
/// The specification, the monitor's orders and the files that are mounted over `/etc` follow from it at every start,
/// so this one file is all that a power cut must not take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: ContainerId,
    /// Its name.
    pub(crate) name: Name,
    /// When it was created: RFC 3339, UTC.
    pub(crate) created: String,
    /// What it was made of.
    pub(crate) image: Image,
    /// What runs in it, image and request made one.
    pub(crate) config: Config,
    /// Its host name; the short id if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    /// Whether it has a terminal.
    #[serde(default)]
    pub(crate) terminal: bool,
    /// Whether its standard input stays open.
    #[serde(default)]
    pub(crate) open_stdin: bool,
    /// What the creating command attached.
    #[serde(default)]
    pub(crate) attach: Streams,
    /// How long `stop` waits, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_timeout_secs: Option<u32>,
    /// What is mounted beside the defaults.
    #[serde(default)]
    pub(crate) mounts: Vec<MountPoint>,
    /// The network.
    #[serde(default)]
    pub(crate) network: NetworkMode,
    /// Limits.
    #[serde(default)]
    pub(crate) resources: Resources,
    /// Rights.
    #[serde(default)]
    pub(crate) security: Security,
    /// Whether it goes away when it ends.
    #[serde(default)]
    pub(crate) auto_remove: bool,
    /// When its log is rotated.
    #[serde(default)]
    pub(crate) log: LogLimits,
}

/// The image a container was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// As the request named it.
    pub(crate) name: String,
    /// Its id, `sha256:...`.
    pub(crate) id: String,
    /// What it is for, `linux`.
    #[serde(default)]
    pub(crate) platform: String,
}

/// A mount of the user's or the image's, with its source known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    /// The volume, unless it is a path of the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) volume: Option<String>,
    /// Whether that volume goes with the container.
    #[serde(default)]
    pub(crate) anonymous: bool,
    /// The directory or file on the host.
    pub(crate) source: PathBuf,
    /// Where in the container.
    pub(crate) destination: PathBuf,
    /// Refuse writes.
    pub(crate) read_only: bool,
    /// Mount propagation.
    pub(crate) propagation: String,
    /// Whether it is filled from the image while it is empty.
    #[serde(default)]
    pub(crate) copy_up: bool,
    /// As `-v` said it; empty for what the image asked for.
    #[serde(default)]
    pub(crate) given: String,
}

impl Record {
    /// The host name in the container, where it is the container's own.
    pub(crate) fn hostname(&self) -> &str {
        self.hostname.as_deref().unwrap_or_else(|| self.id.short())
    }

    /// What of it a power cut must not take: nothing of what does not outlive its process either.
    pub(crate) fn durability(&self) -> Durability {
        if self.auto_remove { Durability::Volatile } else { Durability::Durable }
    }

    /// Reads the record in `dir`, the directory of container `id`.
    pub(crate) fn load(dir: &Root, id: &ContainerId) -> Result<Self> {
        let bytes = match dir.read(RECORD_FILE, LIMIT) {
            Err(error) if error.is(Errno::NOENT) => return Err(Error::NoSuchContainer(id.to_string())),
            other => other.to(format!("read the record of container {}", id.short()))?,
        };
        serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { id: id.clone(), file: RECORD_FILE, source })
    }

    /// Writes it into `dir`.
    pub(crate) fn save(&self, dir: impl AsFd) -> Result<()> {
        let bytes = serde_json::to_vec(self).expect("text keys and plain values are always JSON");
        write_atomic(dir, RECORD_FILE, &bytes, 0o600, self.durability())
            .to(format!("write the record of container {}", self.id.short()))
    }
}
