//! After a monitor that was killed: its container's lock is free, and the state still says that it runs.

use std::time::Duration;

use onggi_cgroup::{Cgroup, CgroupPath};
use onggi_diag::{Diagnose, Kind, Record as Account};
use onggi_fs::{Durability, remove_tree};
use onggi_monitor::{State, Status, now};

use super::layout::{self, Locked};
use super::{Containers, remove};
use crate::error::Context;
use crate::record::Record;
use crate::spec::CGROUP_PARENT;
use crate::{ContainerId, Engine, Error, Result};

/// What a container ends with whose monitor was killed: it got SIGKILL with it.
pub(super) const KILLED: i32 = 128 + 9;

/// How long the processes of a container may take to go after SIGKILL; longer ones wait for a disk that is gone.
const PATIENCE: Duration = Duration::from_secs(10);

impl Containers<'_> {
    /// Puts `id` right if its monitor was killed; says whether that was so.
    pub(super) fn recover(self, id: &ContainerId) -> Result<bool> {
        let tried = layout::try_lock(self.dir(id)?, id).to(format!("lock container {}", id.short()))?;
        let Some(locked) = tried else { return Ok(false) };
        settle(self.engine, locked).map(|_| true)
    }
}

/// Sees to it that the container in `locked` does not run: with its lock in our hand it has no monitor.
///
/// Hands the lock back unless the container was to go away at its end, and has.
pub(super) fn settle(engine: &Engine, locked: Locked) -> Result<Option<Locked>> {
    let id = &locked.id;
    let state = State::load(&locked.dir).to(format!("read the state of container {}", id.short()))?;
    if state.status == Status::Created {
        return Ok(Some(locked));
    }
    if state.status.is_active() {
        release(engine, id)?;
        let ended = ended(state);
        ended.save(&locked.dir, Durability::Durable).to(format!("write the state of container {}", id.short()))?;
    }
    if Record::load(&locked.dir, id).is_ok_and(|record| record.auto_remove) {
        remove::remove_locked(engine, locked, true)?;
        return Ok(None);
    }
    Ok(Some(locked))
}

/// The state of a container whose monitor was killed in `state`.
fn ended(state: State) -> State {
    State {
        status: Status::Exited,
        monitor: None,
        pid: None,
        exit_code: Some(KILLED),
        error: Some(account()),
        finished_at: Some(now()),
        network: None,
        ..state
    }
}

fn account() -> Account {
    Account {
        stage: "monitor".to_owned(),
        kind: Kind::Internal,
        chain: vec!["the container's monitor was killed, and the container with it".to_owned()],
        errno: None,
        hint: None,
    }
}

/// Takes back from the kernel what the container has of it: processes, control group, address, socket.
pub(super) fn release(engine: &Engine, id: &ContainerId) -> Result<()> {
    let what = || format!("clean up after container {}", id.short());
    end_group(id).map_err(|error| below(what(), &error))?;
    if !engine.rootless() {
        let paths = engine.paths();
        let released = onggi_net::Bridge::open(&paths.data, &paths.run).and_then(|bridge| bridge.release(id.as_str()));
        released.map_err(|error| below(what(), &error))?;
    }
    remove_run_dir(engine, id)
}

/// Kills whoever is left in the container's control group, and removes it.
fn end_group(id: &ContainerId) -> onggi_cgroup::Result<()> {
    Cgroup::open(&CgroupPath::parse(&format!("{CGROUP_PARENT}/{id}"))?)?.destroy(PATIENCE)
}

/// Removes the directory with the monitor's socket.
pub(super) fn remove_run_dir(engine: &Engine, id: &ContainerId) -> Result<()> {
    let running = crate::engine::private_dir(&engine.paths().running())?;
    remove_tree(running, id.as_str()).to(format!("clean up after container {}", id.short()))
}

fn below(what: String, error: &dyn Diagnose) -> Error {
    Error::Below { source: Box::new(Account::new("clean up", error)), what }
}
