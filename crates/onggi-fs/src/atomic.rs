//! Files that are whole or absent.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use onggi_sys::file::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use onggi_sys::{Errno, Result};

/// What a write promises after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// File and directory are synced: the new content is there.
    Durable,
    /// Old, new or no content, as the kernel pleases; for `/run`, which no boot outlives, and for what is written again.
    Volatile,
}

/// Temporaries begin with this, so that a sweep can tell them from what counts.
const PREFIX: &str = ".tmp-";

/// Replaces the file `name` in `dir` by one that holds `data`, in one step: rename(2) of a synced temporary.
///
/// # Errors
/// The old file is untouched if any step fails, and the temporary is removed.
pub fn write_atomic(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    data: &[u8],
    mode: u32,
    durability: Durability,
) -> Result<()> {
    let name = Path::new(name.as_ref());
    let temporary = Temporary::write(dir.as_fd(), data, mode, durability)?;
    if durability == Durability::Volatile && exchange(&temporary, name)? {
        // The temporary is the old file now, and goes as such.
        return Ok(());
    }
    file::rename(&dir, &temporary.name, &dir, name, RenameFlags::empty())?;
    std::mem::forget(temporary);
    sync_dir(&dir, durability)
}

/// Swaps `temporary` with the file `name`; false where there is none to swap with, or no such operation.
///
/// A rename over a file makes ext4 write the new one out at once, and whoever removes it or replaces it again waits for
/// the disk. A swap does not.
fn exchange(temporary: &Temporary<'_>, name: &Path) -> Result<bool> {
    // A directory would be swapped too, where a rename over it is refused.
    if !file::stat_at(temporary.dir, name).is_ok_and(|found| file::type_of(&found) == FileType::RegularFile) {
        return Ok(false);
    }
    match file::rename(temporary.dir, &temporary.name, temporary.dir, name, RenameFlags::EXCHANGE) {
        Err(error) if [Errno::NOENT, Errno::INVAL, Errno::NOSYS].iter().any(|&one| error.is(one)) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Makes the file `name` in `dir` with `data`, unless the name is taken: the claim and the content appear as one.
///
/// # Errors
/// `EEXIST` if the name is taken.
pub fn create_new(
    dir: impl AsFd,
    name: impl AsRef<OsStr>,
    data: &[u8],
    mode: u32,
    durability: Durability,
) -> Result<()> {
    let temporary = Temporary::write(dir.as_fd(), data, mode, durability)?;
    file::rename(&dir, &temporary.name, &dir, Path::new(name.as_ref()), RenameFlags::NOREPLACE)?;
    std::mem::forget(temporary);
    sync_dir(&dir, durability)
}

/// Removes the temporaries in `dir` that a crash left; those of processes that still live stay.
pub fn sweep_temporaries(dir: impl AsFd) -> Result<()> {
    for entry in file::entries(&dir)? {
        let Some(rest) = entry.name.as_bytes().strip_prefix(PREFIX.as_bytes()) else { continue };
        let pid = rest.split(|&byte| byte == b'-').next().unwrap_or_default();
        let alive = !pid.is_empty() && Path::new("/proc").join(OsStr::from_bytes(pid)).exists();
        if !alive {
            ignore_missing(file::unlink(&dir, &entry.name, AtFlags::empty()))?;
        }
    }
    Ok(())
}

/// A file under a name of its own, removed on drop.
struct Temporary<'d> {
    dir: std::os::fd::BorrowedFd<'d>,
    name: PathBuf,
}

impl<'d> Temporary<'d> {
    fn write(dir: std::os::fd::BorrowedFd<'d>, data: &[u8], mode: u32, durability: Durability) -> Result<Self> {
        let name = unused_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let created: OwnedFd = file::open(dir, &name, flags, Mode::from_raw_mode(mode))?;
        let this = Self { dir, name };
        file::write_all(&created, data)?;
        // The umask is the caller's, the mode is ours.
        file::chmod(&created, Mode::from_raw_mode(mode))?;
        if durability == Durability::Durable {
            file::sync(&created)?;
        }
        Ok(this)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // The name is the only thing left of a write that failed already; there is nobody to tell.
        drop(file::unlink(self.dir, &self.name, AtFlags::empty()));
    }
}

fn unused_name() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("{PREFIX}{}-{number}", std::process::id()))
}

fn sync_dir(dir: impl AsFd, durability: Durability) -> Result<()> {
    if durability == Durability::Volatile {
        return Ok(());
    }
    // An O_PATH descriptor cannot be synced; opening `.` gives one that can.
    let readable = file::open(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    file::sync(&readable)
}

fn ignore_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;

    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn replaces_whole_and_leaves_no_temporary() {
        let (dir, root) = scratch();
        for durability in [Durability::Durable, Durability::Volatile] {
            for data in ["old", "new content"] {
                write_atomic(&root, "f", data.as_bytes(), 0o600, durability).unwrap();
            }
            assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "new content");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let (dir, root) = scratch();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        for durability in [Durability::Durable, Durability::Volatile] {
            assert!(write_atomic(&root, "d", b"x", 0o600, durability).unwrap_err().is(Errno::ISDIR));
        }
        assert!(dir.path().join("d").is_dir());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_taken_name_is_not_replaced() {
        let (dir, root) = scratch();
        create_new(&root, "n", b"first", 0o600, Durability::Volatile).unwrap();
        let error = create_new(&root, "n", b"second", 0o600, Durability::Volatile).unwrap_err();
        assert!(error.is(Errno::EXIST));
        assert_eq!(std::fs::read_to_string(dir.path().join("n")).unwrap(), "first");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn sweeps_what_the_dead_left_and_only_that() {
        let (dir, root) = scratch();
        let dead = dir.path().join(format!("{PREFIX}999999999-0"));
        let ours = dir.path().join(format!("{PREFIX}{}-77", std::process::id()));
        for path in [&dead, &ours] {
            std::fs::File::create(path).unwrap();
        }
        sweep_temporaries(&root).unwrap();
        assert!(!dead.exists() && ours.exists());
    }
}
