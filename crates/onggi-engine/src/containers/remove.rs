//! Taking a container away, so that every step may be the last one before a crash.
//!
//! 1. The directory moves to `.removing`: from now on nobody finds the container.
//! 2. Everything that hangs on it goes, in any order: volumes of its own, its address, its control group, its socket,
//!    its writable layer, its name. Each may be gone already.
//! 3. The directory goes. What is in `.removing` and not locked was interrupted: whoever makes or removes a container
//!    next goes on with it.
//!
//! With `--rm` the one who waits for the end hears of it when the name, the volumes and the layer are free, and the
//! control group and the directories go after that.

use std::time::{Duration, Instant};

use onggi_diag::Diagnose;
use onggi_fs::{Durability, Root, create_new, remove_tree};
use onggi_monitor::{Cleanup, Launch, Rest, State};
use onggi_snapshot::Buried;
use onggi_sys::Errno;

use super::layout::{self, Locked, MAKING, REMOVING};
use super::names::Names;
use super::{Containers, recover};
use crate::error::Context;
use crate::record::Record;
use crate::snapshots::not_removed;
use crate::{ContainerId, Engine, Error, Paths, RemoveContainer, Result};

/// In a container's directory: its anonymous volumes go with it.
const WITH_VOLUMES: &str = "remove-volumes";

/// How long another command may work on the container before we give up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Containers<'_> {
    /// Takes the container away: its writable layer, log, name and record.
    ///
    /// # Errors
    /// [`Error::Running`] unless `force` is set; [`Error::Busy`] if another command works on it for seconds.
    pub fn remove(self, id: &ContainerId, options: RemoveContainer) -> Result<()> {
        self.sweep();
        match self.locked_stopped(id, options.force)? {
            Some(locked) => remove_locked(self.engine, locked, options.volumes),
            None => Ok(()),
        }
    }

    /// Removes every container that does not run and that nobody is about to start.
    pub fn prune(self) -> Result<Vec<ContainerId>> {
        self.sweep();
        let mut removed = Vec::new();
        for id in layout::ids(&self.engine.containers).to("list the containers")? {
            let Ok(dir) = self.dir(&id) else { continue };
            // Whoever holds the lock uses the container: running, starting, or being removed by somebody else.
            let Some(locked) = layout::try_lock(dir, &id).to("lock a container")? else { continue };
            if let Some(locked) = recover::settle(self.engine, locked)? {
                if layout::is_wanted(&locked.dir).to("lock a container")? {
                    continue;
                }
                remove_locked(self.engine, locked, false)?;
            }
            removed.push(id);
        }
        Names::open(&self.engine.containers).and_then(|names| names.sweep()).to("tidy the names of containers")?;
        Ok(removed)
    }

    /// Goes on with what crashes interrupted; what cannot be finished now is tried again by the next command.
    pub(crate) fn sweep(self) {
        let containers = &self.engine.containers;
        for locked in layout::abandoned(containers, MAKING).unwrap_or_default() {
            drop(undo(self.engine, locked));
        }
        for locked in layout::abandoned(containers, REMOVING).unwrap_or_default() {
            drop(finish(self.engine, locked));
        }
    }

    /// The lock of a container that does not run; kills it before if `force` is set. `None` if it went by itself.
    fn locked_stopped(self, id: &ContainerId, force: bool) -> Result<Option<Locked>> {
        let deadline = Instant::now() + PATIENCE;
        let mut killed = false;
        loop {
            let dir = match self.dir(id) {
                // With --rm, what is killed is gone.
                Err(Error::NoSuchContainer(_)) if killed => return Ok(None),
                other => other?,
            };
            let tried = layout::try_lock(dir.try_clone().to("open a container")?, id);
            if let Some(locked) = tried.to(format!("lock container {}", id.short()))? {
                return recover::settle(self.engine, locked);
            }
            killed |= self.make_room(id, &dir, force)?;
            if Instant::now() >= deadline {
                return Err(Error::Busy(id.clone()));
            }
        }
    }

    /// Somebody holds the lock: ends the container if that is its monitor, waits a moment if not; says which.
    fn make_room(self, id: &ContainerId, dir: &Root, force: bool) -> Result<bool> {
        let state = State::load(dir).to(format!("read the state of container {}", id.short()))?;
        if !state.status.is_active() {
            std::thread::sleep(Duration::from_millis(2));
            return Ok(false);
        }
        if !force {
            return Err(Error::Running(id.clone()));
        }
        self.end_now(id)?;
        Ok(true)
    }
}

/// Removes the container in `locked`, which does not run.
pub(super) fn remove_locked(engine: &Engine, locked: Locked, volumes: bool) -> Result<()> {
    let id = locked.id.clone();
    if volumes {
        match create_new(&locked.dir, WITH_VOLUMES, b"", 0o600, Durability::Volatile) {
            Err(error) if !error.is(Errno::EXIST) => Err(error).to(format!("remove container {}", id.short()))?,
            _ => {}
        }
    }
    layout::condemn(&engine.containers, &id, None).to(format!("remove container {}", id.short()))?;
    finish(engine, locked)
}

/// Takes back the container in `locked`, which is still in [`MAKING`].
pub(super) fn undo(engine: &Engine, locked: Locked) -> Result<()> {
    drop(create_new(&locked.dir, WITH_VOLUMES, b"", 0o600, Durability::Volatile));
    layout::condemn(&engine.containers, &locked.id, Some(MAKING)).to("take back a container")?;
    finish(engine, locked)
}

/// Goes on with a container that is in [`REMOVING`].
fn finish(engine: &Engine, locked: Locked) -> Result<()> {
    let Locked { id, dir, lock } = locked;
    recover::release(engine, &id)?;
    take_apart(engine, &id, &dir)?;
    drop(lock);
    Ok(())
}

/// Step 2 and 3, for a container without processes: goes past failures and reports the first.
fn take_apart(engine: &Engine, id: &ContainerId, dir: &Root) -> Result<()> {
    let buried = detach(engine, id, dir)?;
    clear(&engine.containers, id, buried)
}

/// What others may wait for: after it nobody finds a name, a volume or a layer in use by the container.
fn detach(engine: &Engine, id: &ContainerId, dir: &Root) -> Result<Buried> {
    let what = || format!("remove container {}", id.short());
    // Without its record nothing was made yet, or everything but the directory is gone.
    let record = Record::load(dir, id).ok();
    let mut failure = None;
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            failure.get_or_insert(error);
        }
    };
    if let Some(record) = &record {
        if dir.resolve_no_follow(WITH_VOLUMES).is_ok() || record.auto_remove {
            for mount in record.mounts.iter().filter(|mount| mount.anonymous) {
                note(mount.volume.as_deref().map_or(Ok(()), |name| engine.remove_volume(name)).to(what()));
            }
        }
        note(Names::open(&engine.containers).and_then(|names| names.release(&record.name, id)).to(what()));
    }
    let buried = engine.bury_writable(id);
    match failure {
        Some(error) => Err(error),
        None => buried,
    }
}

/// What is only space on the disk.
fn clear(containers: &Root, id: &ContainerId, buried: Buried) -> Result<()> {
    buried.remove().map_err(not_removed(id))?;
    match remove_tree(containers, format!("{REMOVING}/{id}")) {
        // Another sweep looked in and made a lock file; it removes the directory with it.
        Err(error) if error.is(Errno::NOTEMPTY) => Ok(()),
        other => other.to(format!("remove container {}", id.short())),
    }
}

/// Ends containers with `--rm` from inside their monitors; see [`onggi_monitor::Cleanup`].
#[derive(Debug, Clone, Copy)]
pub struct Cleaner;

impl Cleanup for Cleaner {
    fn remove(&self, launch: &Launch) -> std::result::Result<Rest, Box<dyn Diagnose>> {
        let (engine, id, buried) = remove_held(launch).map_err(boxed)?;
        Ok(Box::new(move || {
            let cleared = recover::remove_run_dir(&engine, &id).and_then(|()| clear(&engine.containers, &id, buried));
            cleared.map_err(boxed)
        }))
    }
}

fn boxed(error: Error) -> Box<dyn Diagnose> {
    Box::new(error)
}

/// Removes the container of `launch` but for what is only space. Its lock is held by this process, its processes and its
/// network are gone.
fn remove_held(launch: &Launch) -> Result<(Engine, ContainerId, Buried)> {
    let id: ContainerId = launch.id.parse()?;
    let engine = Engine::open(Paths::around(&launch.dir, &launch.run_dir))?;
    let dir = engine.containers().dir(&id)?;
    layout::condemn(&engine.containers, &id, None).to(format!("remove container {}", id.short()))?;
    let buried = detach(&engine, &id, &dir)?;
    Ok((engine, id, buried))
}
