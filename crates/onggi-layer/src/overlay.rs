//! How overlayfs writes down what a layer takes away.
//!
//! A file gone is a character device 0:0, which every overlay mount understands and an ordinary user may make
//! (Linux 5.8). A directory that shows nothing of the layers below has an attribute, whose name depends on who
//! mounts. Linux, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".

use std::os::fd::AsFd;
use std::path::Path;

use onggi_sys::file::{self, FileType, Mode, Stat};
use onggi_sys::{Errno, Result};

/// Which extended attributes an overlay mount reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `trusted.overlay.*`: only root of the machine can write them.
    Trusted,
    /// `user.overlay.*`: for mounts with `userxattr`, in a user namespace (Linux 5.11).
    User,
}

impl Namespace {
    /// The attribute of an opaque directory.
    pub fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// Whether an attribute belongs to overlayfs itself: never taken from an archive, never put into one.
pub fn is_own_attribute(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Whether an attribute is part of an image. Everything else means something to one machine: labels, ACLs by its users,
/// checksums by its keys, and what overlayfs keeps for itself.
pub(crate) fn is_image_attribute(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !is_own_attribute(name))
}

/// Whether `stat` is of a whiteout.
pub fn is_whiteout(stat: &Stat) -> bool {
    file::type_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a whiteout.
pub(crate) fn whiteout(dir: impl AsFd, name: impl AsRef<Path>) -> Result<()> {
    file::mknod(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Makes the directory `name` opaque.
pub(crate) fn make_opaque(dir: impl AsFd, name: impl AsRef<Path>, namespace: Namespace) -> Result<()> {
    file::set_xattr_at(dir, name, namespace.opaque(), b"y")
}

/// Whether the directory `name` is opaque.
pub fn is_opaque(dir: impl AsFd, name: impl AsRef<Path>, namespace: Namespace) -> Result<bool> {
    match file::xattr_at(dir, name, namespace.opaque()) {
        Ok(value) => Ok(value.as_deref() == Some(b"y")),
        Err(error) if error.is(Errno::PERM) => Ok(false),
        Err(error) => Err(error),
    }
}
