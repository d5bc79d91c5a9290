//! Owner, extended attributes, mode, times: in that order.
//!
//! chown(2) clears set-user-ID bits and file capabilities, so the owner goes on first.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use onggi_sys::file::{self, Mode, Timespec, Timestamps};
use onggi_sys::{Errno, Result};

use super::{Applied, Options, Owner};
use crate::{overlay, tar};

/// Something just made: an open file, or a name in an open directory.
#[derive(Clone, Copy)]
pub(super) enum Made<'m> {
    Open(BorrowedFd<'m>),
    Named(BorrowedFd<'m>, &'m OsStr),
}

impl Made<'_> {
    fn chown(self, uid: u32, gid: u32) -> Result<()> {
        match self {
            Self::Open(file) => file::chown(file, uid, gid),
            Self::Named(dir, name) => file::chown_at(dir, name, uid, gid),
        }
    }

    fn set_xattr(self, attribute: &OsStr, value: &[u8]) -> Result<()> {
        match self {
            Self::Open(file) => file::set_xattr(file, attribute, value),
            Self::Named(dir, name) => file::set_xattr_at(dir, name, attribute, value),
        }
    }

    pub(super) fn chmod(self, mode: Mode) -> Result<()> {
        match self {
            Self::Open(file) => file::chmod(file, mode),
            Self::Named(dir, name) => file::chmod_at(dir, name, mode),
        }
    }

    pub(super) fn set_times(self, times: &Timestamps) -> Result<()> {
        match self {
            Self::Open(file) => file::set_times(file, times),
            Self::Named(dir, name) => file::set_times_at(dir, name, times),
        }
    }
}

/// Gives `made`, which is at `path`, the owner and the extended attributes of `entry`.
pub(super) fn own(
    made: Made<'_>,
    path: &Path,
    entry: &tar::Entry,
    options: &Options,
    applied: &mut Applied,
) -> Result<()> {
    if options.owner == Owner::Archive {
        made.chown(entry.uid, entry.gid)?;
    }
    for (name, value) in &entry.xattrs {
        if !overlay::is_image_attribute(name) {
            let name = String::from_utf8_lossy(name);
            applied.note(path, &format!("extended attribute {name} is not taken from layers"));
            continue;
        }
        match made.set_xattr(OsStr::from_bytes(name), value) {
            // Links and devices cannot have user attributes; some file systems have none; a user namespace may not
            // give capabilities.
            Err(error) if error.is(Errno::PERM) || error.is(Errno::OPNOTSUPP) => applied.note(path, &error.to_string()),
            result => result?,
        }
    }
    Ok(())
}

pub(super) fn mode(entry: &tar::Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

/// The times of `entry`; one that does not state its access time was last accessed when it was changed.
pub(super) fn times(entry: &tar::Entry) -> Timestamps {
    Timestamps { last_access: timespec(entry.atime.unwrap_or(entry.mtime)), last_modification: timespec(entry.mtime) }
}

fn timespec(time: tar::Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() }
}
