//! An empty volume takes its first content from the image.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use onggi_fs::{Root, remove_tree};
use onggi_sys::file::{self, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps};
use onggi_sys::{Errno, Error, Result};

use crate::launch::CopyUp;

/// Fills the volume with what its mount point has in `root`, owner, mode and times of the directory itself included.
///
/// Nothing happens unless the volume is empty and the mount point a directory. The copy is made beside the volume's
/// directory and takes its place in one step, so that a volume is never half filled; of two containers that start
/// with the same volume, one fills it.
pub(crate) fn fill(root: &Root, copy: &CopyUp) -> Result<()> {
    let from = match root.dir(&copy.from) {
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    if !file::entries(Root::open(&copy.volume)?)?.is_empty() {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (copy.volume.parent(), copy.volume.file_name()) else { return Ok(()) };
    let parent = Root::open(parent)?;
    let temporary = format!(".filling-{}", std::process::id());
    remove_tree(&parent, &temporary)?;
    let filled = make(&from, &parent, Path::new(&temporary))
        .and_then(|()| file::rename(&parent, &temporary, &parent, name, RenameFlags::empty()));
    match filled {
        Ok(()) => Ok(()),
        Err(error) => {
            // The first failure is the one to tell.
            drop(remove_tree(&parent, &temporary));
            if error.is(Errno::NOTEMPTY) || error.is(Errno::EXIST) { Ok(()) } else { Err(error) }
        }
    }
}

fn make(from: &Root, parent: &Root, name: &Path) -> Result<()> {
    file::mkdir(parent, name, Mode::RWXU)?;
    let to = parent.child_dir(name)?;
    children(from.as_fd(), to.as_fd())?;
    attributes(from.as_fd(), Path::new("."), &file::stat(from)?, parent.as_fd(), name)
}

fn children(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for entry in file::entries(from)? {
        let name = Path::new(&entry.name);
        let found = file::stat_at(from, name)?;
        match file::type_of(&found) {
            FileType::Directory => {
                file::mkdir(to, name, Mode::RWXU)?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                let source = file::open(from, name, flags, Mode::empty())?;
                let target = file::open(to, name, flags, Mode::empty())?;
                children(source.as_fd(), target.as_fd())?;
            }
            FileType::RegularFile => content(from, to, name)?,
            FileType::Symlink => file::symlink(file::read_link(from, name)?, to, name)?,
            kind => file::mknod(to, name, kind, Mode::RUSR | Mode::WUSR, found.st_rdev)?,
        }
        attributes(from, name, &found, to, name)?;
    }
    Ok(())
}

fn content(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &Path) -> Result<()> {
    let source = file::open(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let target = file::open(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    io::copy(&mut File::from(source), &mut File::from(target)).map(drop).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Error::new("copy_file_range", name.display().to_string(), errno)
    })
}

/// Gives `to` the owner, attributes, mode and times of `from`.
fn attributes(from_dir: BorrowedFd<'_>, from: &Path, found: &Stat, to_dir: BorrowedFd<'_>, to: &Path) -> Result<()> {
    // chown clears set-user-ID bits and capabilities, so the owner goes on first.
    file::chown_at(to_dir, to, found.st_uid, found.st_gid)?;
    for name in file::xattr_names_at(from_dir, from)? {
        // Overlay's own marks mean nothing outside of it.
        if name.to_string_lossy().contains(".overlay.") {
            continue;
        }
        if let Some(value) = file::xattr_at(from_dir, from, &name)? {
            file::set_xattr_at(to_dir, to, &name, &value)?;
        }
    }
    if file::type_of(found) != FileType::Symlink {
        file::chmod_at(to_dir, to, Mode::from_raw_mode(found.st_mode & 0o7777))?;
    }
    let time = |tv_sec, nanos: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    };
    file::set_times_at(to_dir, to, &times)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn an_empty_volume_is_filled_once_and_never_through_links() {
        let (image, outside, volumes) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = image.path().join("data");
        std::fs::create_dir_all(data.join("sub")).unwrap();
        std::fs::File::create(data.join("sub/tool")).unwrap();
        std::fs::set_permissions(data.join("sub/tool"), PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o1777)).unwrap();
        symlink(outside.path(), data.join("link")).unwrap();
        let volume = volumes.path().join("_data");
        std::fs::create_dir(&volume).unwrap();
        let root = Root::open(image.path()).unwrap();
        let copy = CopyUp { from: "/data".into(), volume: volume.clone() };
        fill(&root, &copy).unwrap();
        assert_eq!(volume.join("sub/tool").metadata().unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(volume.metadata().unwrap().mode() & 0o7777, 0o1777);
        assert!(volume.join("link").symlink_metadata().unwrap().is_symlink());
        std::fs::remove_file(volume.join("sub/tool")).unwrap();
        fill(&root, &copy).unwrap();
        assert!(!volume.join("sub/tool").exists());
        fill(&root, &CopyUp { from: "/none".into(), volume }).unwrap();
        assert_eq!(std::fs::read_dir(volumes.path()).unwrap().count(), 1);
    }
}
