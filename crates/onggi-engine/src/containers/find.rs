//! From what a user types to a container.

use super::names::Names;
use super::{Containers, layout};
use crate::error::Context;
use crate::{ContainerId, Error, Name, Result};

impl Containers<'_> {
    /// The container that `given` means: a whole id, a name, or the beginning of exactly one id.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn find(self, given: &str) -> Result<ContainerId> {
        if let Ok(id) = given.parse::<ContainerId>() {
            return self.dir(&id).map(|_| id);
        }
        if let Some(id) = self.named(given)? {
            return Ok(id);
        }
        self.beginning_with(given)
    }

    /// The container of that name.
    fn named(self, given: &str) -> Result<Option<ContainerId>> {
        let Ok(name) = given.parse::<Name>() else { return Ok(None) };
        let names = Names::open(&self.engine.containers).to("open the names of containers")?;
        let owner = names.owner(&name).to(format!("look up the name `{name}`"))?;
        match owner {
            Some(id) if self.exists(&id)? => Ok(Some(id)),
            _ => Ok(None),
        }
    }

    fn exists(self, id: &ContainerId) -> Result<bool> {
        match self.dir(id) {
            Ok(_) => Ok(true),
            Err(Error::NoSuchContainer(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn beginning_with(self, given: &str) -> Result<ContainerId> {
        /// How many of the possible ones a message names.
        const SHOWN: usize = 5;
        let absent = || Error::NoSuchContainer(given.escape_debug().to_string());
        if given.is_empty() || !given.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(absent());
        }
        let mut ids = layout::ids(&self.engine.containers).to("list the containers")?;
        ids.retain(|id| id.as_str().starts_with(given));
        match ids.len() {
            0 => Err(absent()),
            1 => Ok(ids.remove(0)),
            _ => {
                ids.sort_unstable();
                ids.truncate(SHOWN);
                Err(Error::Ambiguous { given: given.to_owned(), candidates: ids })
            }
        }
    }
}
