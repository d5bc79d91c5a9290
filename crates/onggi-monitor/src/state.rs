//! What is true of a container now, or was when its monitor last wrote.

use std::os::fd::AsFd;

use onggi_diag::Record;
use onggi_fs::{Durability, Root, write_atomic};
use onggi_net::Attachment;
use onggi_sys::{Errno, Error, Result, file};
use serde::{Deserialize, Serialize};

/// The file in a container's directory that holds its [`State`].
pub const STATE_FILE: &str = "state.json";

/// A state file beyond this was not written by us.
const STATE_LIMIT: usize = 1 << 20;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has never been started; no monitor, no process.
    Created,
    /// A monitor is putting it together.
    Starting,
    /// Its first process runs.
    Running,
    /// It is frozen.
    Paused,
    /// Its first process has ended (or could not be started: then `error` says why).
    Exited,
}

/// The record of a container's present run, or of its last.
///
/// The monitor is the only writer while it holds the container's lock; whoever finds the lock free and the status
/// [`Status::is_active`] looks at a monitor that was killed, and has to clean up after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// The monitor's pid in the namespace of whoever started it.
    #[serde(default)]
    pub monitor: Option<u32>,
    /// The first process' pid there.
    #[serde(default)]
    pub pid: Option<u32>,
    /// When that process started, in clock ticks since boot: field 22 of `/proc/PID/stat`, which a recycled pid
    /// does not repeat.
    #[serde(default)]
    pub pid_start: u64,
    /// The boot that the pids belong to.
    #[serde(default)]
    pub boot_id: String,
    /// The exit code, 128 + n for a signal; 125, 126 or 127 when it could not be started.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// Whether the kernel killed something in it for want of memory, as the cgroup's counters say.
    #[serde(default)]
    pub oom_killed: bool,
    /// Why it could not be started, or what went wrong when it was cleaned up.
    #[serde(default)]
    pub error: Option<Record>,
    /// When its first process started, RFC 3339 with nanoseconds, UTC.
    #[serde(default)]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// The address it has.
    #[serde(default)]
    pub network: Option<Attachment>,
}

impl Status {
    /// Whether there is (or was, if the lock is free) a monitor at work.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Paused)
    }
}

impl State {
    /// The state of a container that has never run.
    pub fn created() -> Self {
        Self {
            status: Status::Created,
            monitor: None,
            pid: None,
            pid_start: 0,
            boot_id: String::new(),
            exit_code: None,
            oom_killed: false,
            error: None,
            started_at: None,
            finished_at: None,
            network: None,
        }
    }

    /// Reads the state of the container in `dir`; no file means that it has never run.
    pub fn load(dir: &Root) -> Result<Self> {
        match dir.read(STATE_FILE, STATE_LIMIT) {
            // What a power cut makes of a file that was written a moment before it, unsynced.
            Ok(data) if data.is_empty() => Ok(Self::created()),
            Ok(data) => serde_json::from_slice(&data).map_err(|error| {
                let path = file::name_of(dir).join(STATE_FILE);
                Error::new("parse", format!("{}, {error}", path.display()), Errno::BADMSG)
            }),
            Err(error) if error.is(Errno::NOENT) => Ok(Self::created()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the state of the container in `dir`.
    pub fn save(&self, dir: impl AsFd, durability: Durability) -> Result<()> {
        let data = serde_json::to_vec(self)
            .map_err(|error| Error::new("serialize", format!("{STATE_FILE}, {error}"), Errno::INVAL))?;
        write_atomic(dir, STATE_FILE, &data, 0o600, durability)
    }
}

/// Now, as a state writes it: RFC 3339, UTC, nanoseconds without trailing zeros.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_means_created_and_what_is_saved_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(State::load(&root).unwrap(), State::created());
        let state =
            State { status: Status::Exited, exit_code: Some(137), finished_at: Some(now()), ..State::created() };
        state.save(&root, Durability::Durable).unwrap();
        assert_eq!(State::load(&root).unwrap(), state);
    }

    #[test]
    fn a_mangled_state_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        write_atomic(&root, STATE_FILE, b"{\"status\":", 0o600, Durability::Volatile).unwrap();
        let error = State::load(&root).unwrap_err().to_string();
        assert!(error.contains(STATE_FILE), "{error}");
    }
}
