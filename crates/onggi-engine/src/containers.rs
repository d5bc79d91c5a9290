//! Containers: made, started, asked, ended, taken away.

mod control;
mod create;
mod find;
mod inspect;
mod layout;
mod list;
mod names;
mod recover;
mod remove;
mod start;

use onggi_monitor::{State, Status};

use crate::error::Context;
use crate::record::Record;
use crate::{ContainerId, Engine, Error, Result};

pub use control::Exec;
pub use list::ContainerSummary;
pub use remove::Cleaner;
pub(crate) use start::host_name;
pub use start::{StartContainer, Started};

/// The handle to an engine's containers.
#[derive(Debug, Clone, Copy)]
pub struct Containers<'e> {
    engine: &'e Engine,
}

impl<'e> Containers<'e> {
    pub(crate) fn new(engine: &'e Engine) -> Self {
        Self { engine }
    }

    /// The directory of `id`.
    fn dir(self, id: &ContainerId) -> Result<onggi_fs::Root> {
        self.engine.containers.child_dir(id.as_str()).map_err(|source| match source.errno() {
            onggi_sys::Errno::NOENT => Error::NoSuchContainer(id.to_string()),
            _ => Error::System { what: format!("open container {}", id.short()), source },
        })
    }

    /// Whether the container has a terminal.
    pub fn has_terminal(self, id: &ContainerId) -> Result<bool> {
        Ok(Record::load(&self.dir(id)?, id)?.terminal)
    }

    /// Whether there is a container `id`, be it still in the making or half removed.
    pub(crate) fn is_anywhere(self, id: &ContainerId) -> bool {
        // In the order in which a container moves; one is never missed between two looks.
        [layout::MAKING, ".", layout::REMOVING]
            .iter()
            .any(|place| onggi_sys::file::stat_at(&self.engine.containers, format!("{place}/{id}")).is_ok())
    }

    /// Takes back from the kernel what a container that is gone left there.
    pub(crate) fn release(self, id: &ContainerId) -> Result<()> {
        recover::release(self.engine, id)
    }

    /// The record and the state of `id`; a state that a dead monitor left is put right first.
    fn known(self, id: &ContainerId) -> Result<(Record, State)> {
        let dir = self.dir(id)?;
        let record = Record::load(&dir, id)?;
        let state = State::load(&dir).to(format!("read the state of container {}", id.short()))?;
        let unfinished = state.status.is_active() || (record.auto_remove && state.status == Status::Exited);
        if unfinished && self.recover(id)? {
            // With --rm, what a recovery leaves is nothing.
            let state = State::load(&self.dir(id)?).to(format!("read the state of container {}", id.short()))?;
            return Ok((record, state));
        }
        Ok((record, state))
    }
}

#[cfg(test)]
mod tests;
