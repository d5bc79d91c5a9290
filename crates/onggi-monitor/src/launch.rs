//! What a monitor is told before it starts.

use std::path::{Path, PathBuf};

use onggi_fs::{Durability, Root, write_atomic};
use onggi_sys::{Errno, Error, Result};
use serde::{Deserialize, Serialize};

/// The file in a container's directory that holds its [`Launch`].
pub const LAUNCH_FILE: &str = "monitor.json";

/// A launch file beyond this was not written by us.
const LAUNCH_LIMIT: usize = 1 << 20;

/// Everything that the monitor of one container needs to know and the OCI spec has no room for.
///
/// The engine writes it to `containers/ID/monitor.json` when the container is created; the spec lies beside it as
/// `config.json`, and the container's directory is its bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The container's id.
    pub id: String,
    /// The container's directory: `config.json`, `monitor.json`, `state.json`, `log`.
    pub dir: PathBuf,
    /// Its directory under `/run`, made by the engine, mode 0700: `monitor.sock`.
    pub run_dir: PathBuf,
    /// Where the root file system comes from.
    pub rootfs: Rootfs,
    /// The user as the image or the command line says it (`""`, `app`, `1000:1000`, `app:wheel`), looked up in the
    /// container's own `/etc/passwd` and `/etc/group`.
    #[serde(default)]
    pub user: String,
    /// Supplementary groups beyond those of the user, by name or number.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What the container's standard input is.
    pub stdin: Stdin,
    /// Rows and columns of the terminal at the start, where the spec asks for one.
    #[serde(default)]
    pub terminal_size: Option<(u16, u16)>,
    /// What becomes of the output.
    pub log: LogLimits,
    /// What the container's network namespace is connected to.
    pub network: Network,
    /// A file of ours that is mounted as `/etc/hosts`; the container's address and names are appended to it.
    #[serde(default)]
    pub hosts: Option<Hosts>,
    /// Volumes that take their first content from the image.
    #[serde(default)]
    pub copy_up: Vec<CopyUp>,
    /// The signal that asks the container to end.
    pub stop_signal: i32,
    /// How long it has for that before it is killed.
    pub stop_timeout_secs: u32,
    /// Whether the container goes away whole when it ends.
    #[serde(default)]
    pub auto_remove: bool,
}

/// Where a container's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rootfs {
    /// The writable snapshot `id` of the snapshots in `dir`, mounted by the monitor where nobody else sees it.
    Snapshot {
        /// The directory that `onggi_snapshot` opens.
        dir: PathBuf,
        /// The writable's name.
        id: String,
    },
    /// A directory that somebody else looks after: what `root.path` of the spec says.
    Directory,
}

/// What a container's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A pipe or terminal that stays open while clients come and go.
    Open,
    /// The same, but closed when the first client that feeds it is done.
    Once,
}

/// How much of the output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Bytes per file; the file is rotated before it grows beyond.
    pub max_size: u64,
    /// Files kept, the one being written included; 0 keeps no log at all.
    pub max_files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_size: 10 << 20, max_files: 3 }
    }
}

/// What a container's network namespace is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing; loopback is up if the namespace is the container's own.
    None,
    /// It is the host's.
    Host,
    /// The default bridge, as `onggi_net` opens it.
    Bridge {
        /// The directory of what outlives a boot.
        state: PathBuf,
        /// The directory of what must not.
        run: PathBuf,
    },
}

/// The container's `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosts {
    /// The file on the host, which the spec mounts.
    pub file: PathBuf,
    /// The names of the container's own address, most qualified first.
    pub names: Vec<String>,
}

/// A volume that is filled from the image if it is empty when the container starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyUp {
    /// The directory in the root file system to copy from; nothing happens if there is none.
    pub from: PathBuf,
    /// The volume's directory on the host.
    pub volume: PathBuf,
}

impl Launch {
    /// Reads the launch file of the container in `dir`.
    pub fn load(dir: &Path) -> Result<Self> {
        let data = Root::open(dir)?.read(LAUNCH_FILE, LAUNCH_LIMIT)?;
        serde_json::from_slice(&data).map_err(|error| {
            Error::new("parse", format!("{}, {error}", dir.join(LAUNCH_FILE).display()), Errno::BADMSG)
        })
    }

    /// Writes it where [`Launch::load`] finds it.
    pub fn save(&self) -> Result<()> {
        let data = serde_json::to_vec(self)
            .map_err(|error| Error::new("serialize", format!("{LAUNCH_FILE}, {error}"), Errno::INVAL))?;
        write_atomic(Root::open(&self.dir)?, LAUNCH_FILE, &data, 0o600, Durability::Durable)
    }
}
