//! One lock per object, dropped by the kernel with the process that held it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use onggi_sys::file::{self, FlockOperation, Mode, OFlags};
use onggi_sys::{Errno, Error, Result};

/// Whether others may hold the lock too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Readers of a thing that must not go away.
    Shared,
    /// The one writer.
    Exclusive,
}

/// A held `flock`; dropping it releases the lock.
///
/// The lock belongs to the open file description: a descriptor inherited over fork keeps it held.
#[derive(Debug)]
pub struct Lock {
    file: OwnedFd,
}

impl Lock {
    /// Takes the lock on the file `name` in `dir` (made if it is not there), waiting at most `patience`.
    ///
    /// # Errors
    /// `ETIMEDOUT` when somebody else held it for all of `patience`.
    pub fn acquire(dir: impl AsFd, name: impl AsRef<Path>, mode: LockMode, patience: Duration) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(lock) = Self::try_acquire(&dir, name.as_ref(), mode)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(Error::new("flock", name.as_ref().display().to_string(), Errno::TIMEDOUT));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Takes the lock if nobody holds it against us now.
    pub fn try_acquire(dir: impl AsFd, name: impl AsRef<Path>, mode: LockMode) -> Result<Option<Self>> {
        let name = name.as_ref();
        let operation = match mode {
            LockMode::Shared => FlockOperation::NonBlockingLockShared,
            LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW;
            let file = file::open(&dir, name, flags, Mode::from_raw_mode(0o600))?;
            match file::flock(&file, operation) {
                Err(error) if error.is(Errno::WOULDBLOCK) => return Ok(None),
                other => other?,
            }
            // The file may have been removed with its object between open and flock; then the lock guards nothing.
            let held = file::stat(&file)?;
            match file::stat_at(&dir, name) {
                Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {
                    return Ok(Some(Self { file }));
                }
                Ok(_) => {}
                Err(error) if error.is(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The locked file, to hand the lock to a child over exec.
    pub fn into_fd(self) -> OwnedFd {
        self.file
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;

    #[test]
    fn one_writer_or_many_readers() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let first = Lock::try_acquire(&root, "lock", LockMode::Shared).unwrap();
        assert!(first.is_some());
        assert!(Lock::try_acquire(&root, "lock", LockMode::Shared).unwrap().is_some());
        assert!(Lock::try_acquire(&root, "lock", LockMode::Exclusive).unwrap().is_none());
        drop(first);
        assert!(Lock::try_acquire(&root, "lock", LockMode::Exclusive).unwrap().is_some());
    }

    #[test]
    fn patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let _held = Lock::try_acquire(&root, "lock", LockMode::Exclusive).unwrap();
        let error = Lock::acquire(&root, "lock", LockMode::Exclusive, Duration::from_millis(5)).unwrap_err();
        assert!(error.is(Errno::TIMEDOUT));
    }
}
