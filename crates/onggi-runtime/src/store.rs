//! Containers of the low-level command line, on disk.
//!
//! ```text
//! ROOT/              0700
//!   ID/              0700   made by who creates the container: the claim to its id
//!     lock                  flock, held by every command that changes the container
//!     config.json           the specification that it was made from
//!     state.json            what is known of it; replaced in one step
//!     start                 unix socket on which the first process awaits its start; gone once started
//! ```
//!
//! What a container is doing is asked of the kernel (`/proc/PID/stat`, the freezer), never remembered.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_cgroup::{Cgroup, CgroupPath};
use onggi_fs::{Durability, Lock, LockMode, Root, ensure_dir, remove_tree, write_atomic};
use onggi_oci::runtime::Spec;
use onggi_sys::file::{self, AtFlags, Mode};
use onggi_sys::{Errno, pidfd, process, socket};
use serde::{Deserialize, Serialize};

use crate::container::from_cgroup;
use crate::lifecycle::Survivors;
use crate::plan::check_id;
use crate::{Error, Result};

const LOCK: &str = "lock";
const CONFIG: &str = "config.json";
const STATE: &str = "state.json";
pub(crate) const START: &str = "start";
/// How long one command waits for another on the same container.
const PATIENCE: Duration = Duration::from_secs(10);
const LARGEST: usize = 16 << 20;

/// The directory that holds all containers.
pub(crate) struct Store {
    root: Root,
    path: PathBuf,
}

/// One container's directory.
pub(crate) struct Entry {
    dir: Root,
    pub(crate) id: String,
}

/// What is known of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) id: String,
    /// 0 until the first process exists.
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    pub(crate) owner: u32,
    /// Where the control group is to be, noted before it is made.
    pub(crate) cgroup_path: String,
    /// The control group's directories, as `Cgroup::paths` gives them.
    pub(crate) cgroup: BTreeMap<String, PathBuf>,
    pub(crate) annotations: HashMap<String, String>,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Store {
    /// Opens the directory, making it where it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let root =
            ensure_dir(path, 0o700).map_err(Error::step(format!("open the state directory {}", path.display())))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Claims `id` for a new container.
    ///
    /// # Errors
    /// [`Error::Exists`] if it is taken. What a killed creator left is not taken: it is cleared away.
    pub(crate) fn claim(&self, id: &str) -> Result<(Entry, Lock)> {
        check_id(id)?;
        match file::mkdir(&self.root, id, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(error) if error.is(Errno::EXIST) => {
                let entry = self.entry(id)?;
                // Two who claim at once may both come here; the one whose directory is gone then fails, as one must.
                let no_process = |_: &Lock| match entry.state() {
                    Ok(state) => state.pid == 0,
                    Err(error) => matches!(error, Error::NotFound(_)),
                };
                let abandoned = entry.try_lock()?.filter(no_process);
                let Some(lock) = abandoned else { return Err(Error::Exists(id.into())) };
                crate::lifecycle::clear(&self.root, &entry, Survivors::Possible)?;
                drop(lock);
                file::mkdir(&self.root, id, Mode::from_raw_mode(0o700)).map_err(|_| Error::Exists(id.into()))?;
            }
            Err(error) => return Err(error).map_err(Error::step(format!("make {}", self.path.join(id).display()))),
        }
        let entry = self.entry(id)?;
        let lock = entry.lock()?;
        Ok((entry, lock))
    }

    /// Opens an existing container's directory.
    pub(crate) fn entry(&self, id: &str) -> Result<Entry> {
        check_id(id)?;
        match self.root.child_dir(id) {
            Ok(dir) => Ok(Entry { dir, id: id.into() }),
            Err(error) if error.is(Errno::NOENT) => Err(Error::NotFound(id.into())),
            Err(error) => Err(error).map_err(Error::step(format!("open {}", self.path.join(id).display()))),
        }
    }

    /// The ids of all containers, in order.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let entries = file::entries(&self.root).map_err(Error::step(format!("list {}", self.path.display())))?;
        let mut ids: Vec<_> = entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
        ids.retain(|id| check_id(id).is_ok());
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes a container's directory.
    pub(crate) fn remove(&self, entry: &Entry) -> Result<()> {
        remove_tree(&self.root, &entry.id)
            .map_err(Error::step(format!("remove {}", self.path.join(&entry.id).display())))
    }

    pub(crate) fn dir(&self) -> &Root {
        &self.root
    }
}

impl Entry {
    /// Takes the container's lock, waiting for who has it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the container goes away meanwhile.
    pub(crate) fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.dir, LOCK, LockMode::Exclusive, PATIENCE).map_err(|error| self.lock_failed(error))
    }

    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        Lock::try_acquire(&self.dir, LOCK, LockMode::Exclusive).map_err(|error| self.lock_failed(error))
    }

    fn lock_failed(&self, error: onggi_sys::Error) -> Error {
        match error.is(Errno::NOENT) {
            true => Error::NotFound(self.id.clone()),
            false => Error::Step { step: format!("lock container `{}`", self.id), source: error },
        }
    }

    pub(crate) fn write_config(&self, config: &[u8]) -> Result<()> {
        self.write(CONFIG, config)
    }

    /// Replaces what is known.
    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        self.write(STATE, &serde_json::to_vec(state).unwrap_or_default())
    }

    fn write(&self, name: &str, data: &[u8]) -> Result<()> {
        // A boot ends every container, so there is nothing to keep over a power cut.
        write_atomic(&self.dir, name, data, 0o600, Durability::Volatile)
            .map_err(Error::step(format!("write {name} of container `{}`", self.id)))
    }

    pub(crate) fn state(&self) -> Result<State> {
        let at = || format!("{STATE} of container `{}`", self.id);
        let data = self.dir.read(STATE, LARGEST).map_err(|error| match error.is(Errno::NOENT) {
            true => Error::NotFound(self.id.clone()),
            false => Error::Step { step: format!("read {}", at()), source: error },
        })?;
        serde_json::from_slice(&data).map_err(|error| Error::invalid(at(), error.to_string()))
    }

    /// The specification that the container was made from.
    pub(crate) fn spec(&self) -> Result<Spec> {
        let data =
            self.dir.read(CONFIG, LARGEST).map_err(Error::step(format!("read the specification of `{}`", self.id)))?;
        crate::spec_file::parse(&data)
    }

    /// Makes the socket that the first process awaits its start on.
    pub(crate) fn listen(&self) -> Result<OwnedFd> {
        socket::listen_messages(&self.dir, START).map_err(Error::step("make the start socket"))
    }

    pub(crate) fn connect(&self) -> onggi_sys::Result<OwnedFd> {
        socket::connect_messages(&self.dir, START)
    }

    /// Notes that the container was started.
    pub(crate) fn started(&self) -> Result<()> {
        match file::unlink(&self.dir, START, AtFlags::empty()) {
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            other => other.map_err(Error::step("remove the start socket")),
        }
    }

    fn awaits_start(&self) -> bool {
        // The name alone does not say so: whoever started it may have been killed before removing it.
        file::stat_at(&self.dir, START).is_ok() && self.connect().is_ok()
    }

    /// What the container is doing now.
    pub(crate) fn status(&self, state: &State) -> Status {
        if state.pid == 0 {
            return match self.try_lock() {
                Ok(None) => Status::Creating,
                _ => Status::Stopped,
            };
        }
        if !state.is_alive() {
            return Status::Stopped;
        }
        if self.awaits_start() {
            return Status::Created;
        }
        match state.open_cgroup().and_then(|cgroup| cgroup.is_frozen().map_err(from_cgroup)) {
            Ok(true) => Status::Paused,
            _ => Status::Running,
        }
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl State {
    /// Whether the first process is the one that was recorded, and has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.pid, self.start_time)
    }

    /// The first process; `None` if it has ended, whoever has its pid now.
    pub(crate) fn process(&self) -> Result<Option<OwnedFd>> {
        open_process(self.pid, self.start_time)
    }

    pub(crate) fn open_cgroup(&self) -> Result<Cgroup> {
        match self.cgroup.is_empty() {
            true => CgroupPath::parse(&self.cgroup_path).and_then(|path| Cgroup::open(&path)).map_err(from_cgroup),
            false => Cgroup::open_paths(&self.cgroup).map_err(from_cgroup),
        }
    }
}

pub(crate) fn is_alive(pid: i32, start_time: u64) -> bool {
    matches!(process::start_time(pid), Ok((ticks, state)) if ticks == start_time && !matches!(state, 'Z' | 'X'))
}

/// Opens the process `pid` if it is the one that began at `start_time`.
///
/// The descriptor first, the question after: if the answer fits then, it was asked about the process that the descriptor
/// is of, for nobody else can have begun at that tick under that pid.
pub(crate) fn open_process(pid: i32, start_time: u64) -> Result<Option<OwnedFd>> {
    match pidfd::open(pid) {
        Err(error) if error.is(Errno::SRCH) => Ok(None),
        Err(error) => Err(error).map_err(Error::step(format!("open process {pid}"))),
        Ok(fd) => Ok(is_alive(pid, start_time).then_some(fd)),
    }
}
