//! The caller's own `/proc`, checked to be one.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use onggi_sys::file::{self, Mode, OFlags, ResolveFlags};
use onggi_sys::{Errno, Error, Result};

/// `PROC_SUPER_MAGIC` of statfs(2).
pub(crate) const MAGIC: u64 = 0x9fa0;

/// Opens `path` below `/proc` (`O_PATH`), staying inside it; for use before the root is changed.
///
/// # Errors
/// `ENODEV` if `/proc` is no procfs.
pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    open_in(dir()?, path)
}

/// Opens `path` below `proc`, which [`dir`] gave: `self` in it is whoever asks, wherever they are.
pub(crate) fn open_in(proc: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    file::open2(proc, path, OFlags::PATH, Mode::empty(), inside)
}

/// The root of the caller's `/proc`.
///
/// # Errors
/// `ENODEV` if it is no procfs.
pub(crate) fn dir() -> Result<OwnedFd> {
    let proc = file::open(file::CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    match is_procfs(&proc)? {
        true => Ok(proc),
        false => Err(Error::new("statfs", "/proc, not a procfs", Errno::NODEV)),
    }
}

/// Whether `fd` is on a procfs.
pub(crate) fn is_procfs(fd: impl AsFd) -> Result<bool> {
    Ok(u64::try_from(file::statfs(fd)?.f_type) == Ok(MAGIC))
}
