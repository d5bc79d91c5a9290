//! The caller's own `/proc`, checked to be one.

use std::os::fd::OwnedFd;
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
    let proc = file::open(file::CWD, "/proc", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    if !is_procfs(&proc)? {
        return Err(Error::new("statfs", "/proc, not a procfs", Errno::NODEV));
    }
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    file::open2(&proc, path, OFlags::PATH, Mode::empty(), inside)
}

/// Whether `fd` is on a procfs.
pub(crate) fn is_procfs(fd: impl std::os::fd::AsFd) -> Result<bool> {
    Ok(u64::try_from(file::statfs(fd)?.f_type) == Ok(MAGIC))
}
