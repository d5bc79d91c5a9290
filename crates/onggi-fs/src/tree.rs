//! Whole trees: made, measured, taken away.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use onggi_sys::file::{self, AtFlags, FileType, Mode, OFlags};
use onggi_sys::{Errno, Error, Result};

use crate::Root;

/// Opens the directory `path`, making it and those above it (mode `mode`) where they are missing; `path` is trusted.
pub fn ensure_dir(path: impl AsRef<Path>, mode: u32) -> Result<Root> {
    let path = path.as_ref();
    match Root::open(path) {
        Err(error) if error.is(Errno::NOENT) => {}
        other => return other,
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        ensure_dir(parent, mode)?;
    }
    match file::mkdir(file::CWD, path, Mode::from_raw_mode(mode)) {
        Err(error) if !error.is(Errno::EXIST) => Err(error),
        _ => Root::open(path),
    }
}

/// Removes `name` in `dir` and everything below it; nothing where there is nothing.
///
/// Links are removed, never followed, and no other file system is entered. Directories without write or search
/// permission for their owner are given it first.
///
/// # Errors
/// `EXDEV` at a mount point. The walk goes on past the first failure and reports it at the end.
pub fn remove_tree(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    let name = name.as_ref();
    let found = match file::stat_at(&dir, name) {
        Err(error) if error.is(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    remove_entry(dir.as_fd(), name, file::type_of(&found), found.st_dev)
}

fn remove_entry(dir: BorrowedFd<'_>, name: &Path, kind: FileType, device: u64) -> Result<()> {
    if kind != FileType::Directory {
        return gone_is_fine(file::unlink(dir, name, AtFlags::empty()));
    }
    let first_failure = remove_children(dir, name, device).err();
    match (gone_is_fine(file::unlink(dir, name, AtFlags::REMOVEDIR)), first_failure) {
        (_, Some(cause)) => Err(cause),
        (result, None) => result,
    }
}

fn remove_children(dir: BorrowedFd<'_>, name: &Path, device: u64) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let opened = match file::open(dir, name, flags, Mode::empty()) {
        Err(error) if error.is(Errno::NOENT) => return Ok(()),
        Err(error) if error.is(Errno::ACCESS) => {
            file::chmod_at(dir, name, Mode::RWXU)?;
            file::open(dir, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let found = file::stat(&opened)?;
    if found.st_dev != device {
        return Err(Error::new("unlinkat", format!("{}, a mount point", name.display()), Errno::XDEV));
    }
    if found.st_mode & 0o700 != 0o700 {
        // Only an ordinary user needs this; for root it changes what is about to vanish.
        file::chmod(&opened, Mode::RWXU)?;
    }
    let mut failure = None;
    for entry in file::entries(&opened)? {
        let path = Path::new(&entry.name);
        let kind = match entry.kind {
            FileType::Unknown => file::stat_at(&opened, path).map(|stat| file::type_of(&stat))?,
            known => known,
        };
        if let Err(error) = remove_entry(opened.as_fd(), path, kind, device) {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Bytes of disk that the tree `name` in `dir` takes, as `du` counts: blocks, hard links once.
pub fn size_of_tree(dir: impl AsFd, name: impl AsRef<Path>) -> Result<u64> {
    let mut seen = HashSet::new();
    measure(dir.as_fd(), name.as_ref(), &mut seen)
}

fn measure(dir: BorrowedFd<'_>, name: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let found = match file::stat_at(dir, name) {
        // Others may remove while we count.
        Err(error) if error.is(Errno::NOENT) => return Ok(0),
        other => other?,
    };
    if found.st_nlink > 1 && file::type_of(&found) != FileType::Directory && !seen.insert((found.st_dev, found.st_ino))
    {
        return Ok(0);
    }
    let mut bytes = u64::try_from(found.st_blocks).unwrap_or(0) * 512;
    if file::type_of(&found) == FileType::Directory {
        let opened = file::open(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        for entry in file::entries(&opened)? {
            bytes += measure(opened.as_fd(), Path::new(&entry.name), seen)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write scratch files")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn removes_links_not_their_targets() {
        let victim = tempfile::tempdir().unwrap();
        std::fs::write(victim.path().join("keep"), "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("t/deep/er")).unwrap();
        symlink(victim.path(), dir.path().join("t/deep/link")).unwrap();
        remove_tree(&root, "t").unwrap();
        assert!(!dir.path().join("t").exists() && victim.path().join("keep").exists());
        remove_tree(&root, "t").unwrap();
    }

    #[test]
    fn counts_hard_links_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("t")).unwrap();
        std::fs::write(dir.path().join("t/a"), vec![1; 100_000]).unwrap();
        let once = size_of_tree(&root, "t").unwrap();
        std::fs::hard_link(dir.path().join("t/a"), dir.path().join("t/b")).unwrap();
        assert_eq!(size_of_tree(&root, "t").unwrap(), once);
        assert!(once >= 100_000);
    }
}
