//! Work under way: a locked directory that is gone unless it is kept.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use onggi_fs::{Root, remove_tree};
use onggi_sys::file::{self, FlockOperation, Mode, OFlags, RenameFlags};
use onggi_sys::{Errno, Result};

const PREFIX: &str = ".tmp-";

/// A directory `.tmp-PID-N` of ours; removed on drop, or by the next [`sweep`] if we do not live to do it.
#[derive(Debug)]
pub(crate) struct Temporary {
    store: Root,
    name: PathBuf,
    dir: Root,
    /// Tells a sweep that somebody works here; the kernel lets go of it when we die.
    _lock: OwnedFd,
    kept: bool,
}

impl Temporary {
    pub(crate) fn new(store: &Root) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = PathBuf::from(format!("{PREFIX}{}-{number}", std::process::id()));
            match file::mkdir(store, &name, Mode::RWXU) {
                Err(error) if error.is(Errno::EXIST) => continue,
                result => result?,
            }
            // A sweep may see the directory before it is locked, and take it.
            if let Some(lock) = lock(store, &name)? {
                let dir = store.child_dir(&name)?;
                return Ok(Self { store: store.try_clone()?, name, dir, _lock: lock, kept: false });
            }
        }
    }

    pub(crate) fn dir(&self) -> &Root {
        &self.dir
    }

    /// Gives the directory its final name; false if that is taken.
    pub(crate) fn keep(mut self, to: &Root, name: impl AsRef<Path>) -> Result<bool> {
        match file::rename(&self.store, &self.name, to, name, RenameFlags::NOREPLACE) {
            Err(error) if error.is(Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                self.kept = true;
                Ok(true)
            }
        }
    }

    /// Takes `name` out of `from` in one step, to be removed with this directory; false if it is not there.
    pub(crate) fn take(&self, from: &Root, name: impl AsRef<Path>) -> Result<bool> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let here = format!("gone-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        match file::rename(from, name, &self.dir, here, RenameFlags::NOREPLACE) {
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(true),
        }
    }

    /// Removes the directory and says whether that worked.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.kept = true;
        remove_tree(&self.store, &self.name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // What is left is swept by the next to open the store; there is nobody to tell here.
            drop(remove_tree(&self.store, &self.name));
        }
    }
}

/// Locks the directory `name` if it is there and nobody else holds it.
fn lock(store: &Root, name: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = match file::open(store, name, flags, Mode::empty()) {
        Err(error) if error.is(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    match file::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Err(error) if error.is(Errno::WOULDBLOCK) => return Ok(None),
        other => other?,
    }
    let held = file::stat(&dir)?;
    match file::stat_at(store, name) {
        Ok(named) if named.st_ino == held.st_ino => Ok(Some(dir)),
        Ok(_) => Ok(None),
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what the dead left under way.
pub(crate) fn sweep(store: &Root) -> Result<()> {
    for entry in file::entries(store)? {
        if !entry.name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let name = Path::new(&entry.name);
        if let Some(_lock) = lock(store, name)? {
            remove_tree(store, name)?;
        }
    }
    Ok(())
}
