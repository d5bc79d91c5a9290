//! Who is called what: `containers/.names/NAME`, a link to `../ID`.
//!
//! symlink(2) claims a name and says whose it is in one step. A link whose container is gone is stale: whoever wants
//! the name replaces it. Links are taken away only under `.names/.lock`, after a look at what they say, so that a
//! fresh claim is never taken for the stale one it replaced.

use std::time::Duration;

use onggi_fs::{Lock, LockMode, Root};
use onggi_sys::file::{self, AtFlags};
use onggi_sys::{Errno, Result};

use super::layout::{MAKING, NAMES};
use crate::{ContainerId, Name};

const LOCK: &str = ".lock";

/// It is held for two system calls; whoever has it longer is stopped by a debugger.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names of the containers in a directory.
pub(super) struct Names<'r> {
    containers: &'r Root,
    dir: Root,
}

impl<'r> Names<'r> {
    /// Opens the names in `containers`.
    pub(super) fn open(containers: &'r Root) -> Result<Self> {
        Ok(Self { containers, dir: containers.make_dir_all(NAMES, 0o700)? })
    }

    /// Claims `name` for `id`, whose directory must be there already.
    ///
    /// # Errors
    /// The owner, if it is another container's.
    pub(super) fn claim(&self, name: &Name, id: &ContainerId) -> Result<std::result::Result<(), ContainerId>> {
        if self.link(name, id)? {
            return Ok(Ok(()));
        }
        let lock = Lock::acquire(&self.dir, LOCK, LockMode::Exclusive, PATIENCE)?;
        match self.linked(name)? {
            Some(owner) if owner == *id => return Ok(Ok(())),
            Some(owner) if self.exists(&owner)? => return Ok(Err(owner)),
            _ => self.unlink(name)?,
        }
        let claimed = self.link(name, id)?;
        drop(lock);
        match (claimed, self.linked(name)?) {
            (true, _) => Ok(Ok(())),
            (false, Some(owner)) => Ok(Err(owner)),
            // Claimed and given back within this call; the next attempt will tell.
            (false, None) => self.claim(name, id),
        }
    }

    /// Gives `name` back if it is `id`'s.
    pub(super) fn release(&self, name: &Name, id: &ContainerId) -> Result<()> {
        let _lock = Lock::acquire(&self.dir, LOCK, LockMode::Exclusive, PATIENCE)?;
        if self.linked(name)?.as_ref() == Some(id) { self.unlink(name) } else { Ok(()) }
    }

    /// Takes the stale ones away.
    pub(super) fn sweep(&self) -> Result<()> {
        let _lock = Lock::acquire(&self.dir, LOCK, LockMode::Exclusive, PATIENCE)?;
        for entry in file::entries(&self.dir)? {
            let Some(name) = entry.name.to_str().and_then(|name| name.parse::<Name>().ok()) else { continue };
            if let Some(owner) = self.linked(&name)?
                && !self.exists(&owner)?
            {
                self.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// Whose `name` is.
    pub(super) fn owner(&self, name: &Name) -> Result<Option<ContainerId>> {
        self.linked(name)
    }

    /// Makes the claims outlive a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        super::layout::sync_dir(&self.dir)
    }

    fn link(&self, name: &Name, id: &ContainerId) -> Result<bool> {
        match file::symlink(format!("../{id}"), &self.dir, name.as_str()) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unlink(&self, name: &Name) -> Result<()> {
        match file::unlink(&self.dir, name.as_str(), AtFlags::empty()) {
            Err(error) if !error.is(Errno::NOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// What the link says; something that is no link of ours says nothing.
    fn linked(&self, name: &Name) -> Result<Option<ContainerId>> {
        match file::read_link(&self.dir, name.as_str()) {
            Ok(target) => Ok(target.to_str().and_then(|text| text.strip_prefix("../")?.parse().ok())),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn exists(&self, id: &ContainerId) -> Result<bool> {
        // In this order: a container moves from the first place to the second, never back.
        let making = format!("{MAKING}/{id}");
        Ok(is_there(self.containers, &making)? || is_there(self.containers, id.as_str())?)
    }
}

fn is_there(dir: &Root, path: &str) -> Result<bool> {
    match file::stat_at(dir, path) {
        Ok(_) => Ok(true),
        Err(error) if error.is(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn made(root: &Root, place: &str) -> ContainerId {
        let id = ContainerId::random().unwrap();
        root.make_dir_all(format!("{place}/{id}"), 0o700).unwrap();
        id
    }

    #[test]
    fn a_name_has_one_owner() {
        let (_dir, root) = scratch();
        let names = Names::open(&root).unwrap();
        let name: Name = "keen-plum".parse().unwrap();
        let (first, second) = (made(&root, MAKING), made(&root, "."));
        assert_eq!(names.claim(&name, &first).unwrap(), Ok(()));
        assert_eq!(names.claim(&name, &first).unwrap(), Ok(()));
        assert_eq!(names.claim(&name, &second).unwrap(), Err(first.clone()));
        names.release(&name, &second).unwrap();
        assert_eq!(names.owner(&name).unwrap(), Some(first.clone()));
        names.release(&name, &first).unwrap();
        assert_eq!(names.claim(&name, &second).unwrap(), Ok(()));
    }

    #[test]
    fn a_sweep_takes_the_stale_ones() {
        let (_dir, root) = scratch();
        let names = Names::open(&root).unwrap();
        let (stale, good): (Name, Name) = ("keen-plum".parse().unwrap(), "calm-jar".parse().unwrap());
        let (gone, there) = (ContainerId::random().unwrap(), made(&root, "."));
        assert_eq!(names.claim(&stale, &gone).unwrap(), Ok(()));
        assert_eq!(names.claim(&good, &there).unwrap(), Ok(()));
        names.sweep().unwrap();
        assert_eq!((names.owner(&stale).unwrap(), names.owner(&good).unwrap()), (None, Some(there)));
    }

    #[test]
    fn a_stale_name_is_taken_by_one_of_many() {
        let (_dir, root) = scratch();
        let name: Name = "keen-plum".parse().unwrap();
        let gone = ContainerId::random().unwrap();
        assert_eq!(Names::open(&root).unwrap().claim(&name, &gone).unwrap(), Ok(()));
        let claims: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let (root, name) = (&root, &name);
                    scope.spawn(move || Names::open(root).unwrap().claim(name, &made(root, ".")).unwrap())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
    }
}
