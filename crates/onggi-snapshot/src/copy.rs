//! Nodes and their attributes, from one layer to another.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use onggi_layer::overlay;
use onggi_sys::file::{self, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use onggi_sys::{Errno, Error, Result};

/// Gives the directory `to` the owner, attributes, mode and times of the directory `from`.
pub(crate) fn directory_attributes(
    from_dir: impl AsFd,
    from: impl AsRef<Path>,
    to_dir: impl AsFd,
    to: impl AsRef<Path>,
) -> Result<()> {
    let found = file::stat_at(&from_dir, from.as_ref())?;
    attributes(from_dir.as_fd(), from.as_ref(), &found, to_dir.as_fd(), to.as_ref())
}

/// Copies whatever `from` is, but not a directory, to the free name `to`.
pub(crate) fn node(from_dir: impl AsFd, from: &OsStr, to_dir: impl AsFd, to: &OsStr) -> Result<()> {
    let found = file::stat_at(&from_dir, from)?;
    match file::type_of(&found) {
        FileType::RegularFile => copy_file(from_dir.as_fd(), from, to_dir.as_fd(), to)?,
        FileType::Symlink => file::symlink(file::read_link(&from_dir, from)?, &to_dir, to)?,
        kind => file::mknod(&to_dir, to, kind, Mode::RUSR | Mode::WUSR, found.st_rdev)?,
    }
    attributes(from_dir.as_fd(), Path::new(from), &found, to_dir.as_fd(), Path::new(to))
}

fn copy_file(
    from_dir: std::os::fd::BorrowedFd<'_>,
    from: &OsStr,
    to_dir: std::os::fd::BorrowedFd<'_>,
    to: &OsStr,
) -> Result<()> {
    let source = file::open(from_dir, from, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let target = file::open(to_dir, to, flags, Mode::RUSR | Mode::WUSR)?;
    // Done by the kernel where it can, by reference where the file system can.
    io::copy(&mut File::from(source), &mut File::from(target)).map(drop).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Error::new("copy_file_range", Path::new(from).display().to_string(), errno)
    })
}

fn attributes(
    from_dir: std::os::fd::BorrowedFd<'_>,
    from: &Path,
    found: &Stat,
    to_dir: std::os::fd::BorrowedFd<'_>,
    to: &Path,
) -> Result<()> {
    // chown clears set-user-ID bits and capabilities, so the owner goes on first.
    file::chown_at(to_dir, to, found.st_uid, found.st_gid)?;
    for name in file::xattr_names_at(from_dir, from)? {
        if overlay::is_own_attribute(name.as_bytes()) {
            continue;
        }
        if let Some(value) = file::xattr_at(from_dir, from, &name)? {
            file::set_xattr_at(to_dir, to, &name, &value)?;
        }
    }
    if file::type_of(found) != FileType::Symlink {
        file::chmod_at(to_dir, to, Mode::from_raw_mode(found.st_mode & 0o7777))?;
    }
    file::set_times_at(to_dir, to, &times(found))
}

/// The times of a file, to set on another.
pub(crate) fn times(found: &Stat) -> Timestamps {
    // The kernel's nanoseconds are below a thousand million, whatever the width of the field.
    let time =
        |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    }
}
