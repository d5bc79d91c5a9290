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

use onggi_monitor::State;

use crate::error::Context;
use crate::record::Record;
use crate::{ContainerId, Engine, Error, Result};

pub use control::Exec;
pub use list::Summary;
pub use remove::Cleaner;
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

    /// The record and the state of `id`; a state that a dead monitor left is put right first.
    fn known(self, id: &ContainerId) -> Result<(Record, State)> {
        let dir = self.dir(id)?;
        let record = Record::load(&dir, id)?;
        let state = State::load(&dir).to(format!("read the state of container {}", id.short()))?;
        if state.status.is_active() && self.recover(id)? {
            // With --rm, what a recovery leaves is nothing.
            let state = State::load(&self.dir(id)?).to(format!("read the state of container {}", id.short()))?;
            return Ok((record, state));
        }
        Ok((record, state))
    }
}
