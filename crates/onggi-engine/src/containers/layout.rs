//! The directory of containers: what is where, and when it may be touched.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use onggi_fs::{Lock, LockMode, Root};
use onggi_sys::file::{self, Mode, OFlags, RenameFlags};
use onggi_sys::{Errno, Result};

use crate::ContainerId;

/// Names of containers.
pub(super) const NAMES: &str = ".names";
/// Containers that are being made.
pub(super) const MAKING: &str = ".making";
/// Containers that are being removed.
pub(super) const REMOVING: &str = ".removing";
/// In a container's directory: held by who makes, starts or removes it, and by its monitor.
pub(super) const LOCK: &str = "lock";
/// In a container's directory: held by who has made it and may be about to start it.
const MAKER: &str = "maker";
/// In [`MAKING`]: held shared between making a directory and locking it, exclusively by who looks for the abandoned.
const GATE: &str = ".gate";
/// It is held for a few system calls.
const GATE_PATIENCE: Duration = Duration::from_secs(10);

/// A container's directory with its lock held.
#[derive(Debug)]
pub(super) struct Locked {
    /// The container.
    pub(super) id: ContainerId,
    /// Its directory, wherever it is moved.
    pub(super) dir: Root,
    /// The lock.
    pub(super) lock: Lock,
}

/// Makes the directory of a container under [`MAKING`], locked.
pub(super) fn begin(containers: &Root, id: &ContainerId) -> Result<Locked> {
    let making = containers.make_dir_all(MAKING, 0o700)?;
    let gate = Lock::acquire(&making, GATE, LockMode::Shared, GATE_PATIENCE)?;
    file::mkdir(&making, id.as_str(), Mode::RWXU)?;
    let dir = making.child_dir(id.as_str())?;
    let lock = Lock::acquire(&dir, LOCK, LockMode::Exclusive, GATE_PATIENCE)?;
    drop(gate);
    Ok(Locked { id: id.clone(), dir, lock })
}

/// Moves a container from [`MAKING`] to where it is found.
pub(super) fn publish(containers: &Root, id: &ContainerId) -> Result<()> {
    file::rename(containers, place(MAKING, id), containers, id.as_str(), RenameFlags::NOREPLACE)
}

/// Moves a container to [`REMOVING`] from `place`, or from where it is found: from here on there is no such container.
///
/// Nothing is synced: every journal keeps this rename before the removals that follow it.
pub(super) fn condemn(containers: &Root, id: &ContainerId, from: Option<&str>) -> Result<()> {
    drop(containers.make_dir_all(REMOVING, 0o700)?);
    let from = from.map_or_else(|| PathBuf::from(id.as_str()), |from| place(from, id));
    file::rename(containers, from, containers, place(REMOVING, id), RenameFlags::NOREPLACE)
}

/// The containers in `place` ([`MAKING`] or [`REMOVING`]) that nobody works on any more, locked.
pub(super) fn abandoned(containers: &Root, place: &str) -> Result<Vec<Locked>> {
    let dir = match containers.dir(place) {
        Err(error) if error.is(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let entries = file::entries(&dir)?;
    let ids: Vec<ContainerId> = entries.iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let Some(gate) = Lock::try_acquire(&dir, GATE, LockMode::Exclusive)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for id in ids {
        let locked = dir.child_dir(id.as_str()).and_then(|inner| try_lock(inner, &id));
        match locked {
            Ok(Some(locked)) => found.push(locked),
            Ok(None) => {}
            Err(error) if error.is(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    drop(gate);
    Ok(found)
}

/// Locks the container in `dir` if nobody else has.
pub(super) fn try_lock(dir: Root, id: &ContainerId) -> Result<Option<Locked>> {
    let lock = Lock::try_acquire(&dir, LOCK, LockMode::Exclusive)?;
    Ok(lock.map(|lock| Locked { id: id.clone(), dir, lock }))
}

/// The ids of all containers, in no order.
pub(super) fn ids(containers: &Root) -> Result<Vec<ContainerId>> {
    Ok(file::entries(containers)?.iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
}

/// Makes renames in `dir` outlive a power cut.
pub(super) fn sync_dir(dir: impl AsFd) -> Result<()> {
    // An O_PATH descriptor cannot be synced.
    file::sync(file::open(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?)
}

fn place(place: &str, id: &ContainerId) -> PathBuf {
    [place, id.as_str()].iter().collect()
}

/// Keeps the container in `dir` from [`is_wanted`]'s answer "no" while the lock lives.
pub(super) fn want(dir: &Root) -> Result<Option<Lock>> {
    Lock::try_acquire(dir, MAKER, LockMode::Shared)
}

/// Whether the one who made the container in `dir` still has it in mind.
pub(super) fn is_wanted(dir: &Root) -> Result<bool> {
    Lock::try_acquire(dir, MAKER, LockMode::Exclusive).map(|lock| lock.is_none())
}

/// Whether somebody holds the lock of the container in `dir`; makes no lock file where there is none.
pub(super) fn is_held(dir: &Root) -> bool {
    let opened = file::open(dir, LOCK, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
    let tried = opened.and_then(|lock| file::flock(lock, file::FlockOperation::NonBlockingLockShared));
    tried.is_err_and(|error| error.is(Errno::WOULDBLOCK))
}
