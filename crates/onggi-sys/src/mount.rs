//! The mount API of Linux 5.2 and later: file systems and trees as descriptors, attached by descriptor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string,
};

use crate::{Error, Result};

pub use rustix::mount::MountAttrFlags;

/// A file system being configured. fsopen(2), fsconfig(2), fsmount(2).
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    kind: String,
}

impl FsContext {
    /// Begins to configure a file system of type `kind`.
    pub fn open(kind: &str) -> Result<Self> {
        let fd = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| Error::new("fsopen", kind, errno))?;
        Ok(Self { fd, kind: kind.into() })
    }

    /// Sets an option to a value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        fsconfig_set_string(&self.fd, key, value).map_err(|errno| self.failed(format!("{key}={value}"), errno))
    }

    /// Sets an option that has no value.
    pub fn set_flag(&self, key: &str) -> Result<()> {
        fsconfig_set_flag(&self.fd, key).map_err(|errno| self.failed(key.to_owned(), errno))
    }

    /// Sets an option to an open file.
    pub fn set_fd(&self, key: &str, fd: impl AsFd) -> Result<()> {
        fsconfig_set_fd(&self.fd, key, &fd)
            .map_err(|errno| self.failed(format!("{key}={}", crate::file::name_of(&fd).display()), errno))
    }

    /// Makes the file system and mounts it, attached to nothing.
    pub fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd> {
        fsconfig_create(&self.fd).map_err(|errno| self.failed("create".into(), errno))?;
        rustix::mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| Error::new("fsmount", self.kind.clone(), errno))
    }

    /// Names what failed, with the file system's own words about it where it left some.
    fn failed(&self, what: String, errno: rustix::io::Errno) -> Error {
        let mut said = [0_u8; 512];
        let length = rustix::io::read(&self.fd, &mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        let said = said.trim_start_matches(['e', 'w', 'i', ' ']).trim_end();
        let args = if said.is_empty() { what } else { format!("{what}: {said}") };
        Error::new("fsconfig", format!("{}, {args}", self.kind), errno)
    }
}

/// What [`open_tree`] takes a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The one mount.
    Single,
    /// It and all mounts below it.
    Recursive,
}

/// A detached copy of the mount at `path`, from there down. open_tree(2) `OPEN_TREE_CLONE`; an empty path is `dir` itself.
pub fn clone_tree(dir: impl AsFd, path: impl AsRef<Path>, depth: Depth) -> Result<OwnedFd> {
    let path = path.as_ref();
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if depth == Depth::Recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(&dir, path, flags).map_err(|errno| {
        let shown = if path.as_os_str().is_empty() { crate::file::name_of(&dir) } else { path.to_path_buf() };
        Error::new("open_tree", format!("{}, CLONE", shown.display()), errno)
    })
}

/// Attaches the detached mount `mount` on the file or directory behind `target`. move_mount(2).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", &target, "", flags)
        .map_err(|errno| Error::new("move_mount", crate::file::name_of(&target).display().to_string(), errno))
}

/// How mounts made later at one of two copies show at the other. mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// The other's here, ours not there.
    Slave,
    /// Both ways.
    Shared,
    /// Not at all, and no copy can be made.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Slave => libc::MS_SLAVE,
            Self::Shared => libc::MS_SHARED,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// A change to a mount's attributes.
#[derive(Debug, Default)]
pub struct Attributes<'a> {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// The propagation to give it.
    pub propagation: Option<Propagation>,
    /// The user namespace whose mapping file owners are shown by (adds `MOUNT_ATTR_IDMAP`).
    pub id_map: Option<std::os::fd::BorrowedFd<'a>>,
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the mount behind `fd`, with those below it if `depth` says so. mount_setattr(2) (Linux 5.12).
pub fn set_attributes(fd: impl AsFd, attributes: &Attributes<'_>, depth: Depth) -> Result<()> {
    set_attributes_of(fd, "", attributes, depth)
}

/// The same for the mount at `path` relative to `dir`.
pub fn set_attributes_of(dir: impl AsFd, path: &str, attributes: &Attributes<'_>, depth: Depth) -> Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    let id_map = attributes.id_map.map(|fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0));
    let raw = MountAttr {
        set: attributes.set | if id_map.is_some() { MOUNT_ATTR_IDMAP } else { 0 },
        clear: attributes.clear,
        propagation: attributes.propagation.map_or(0, Propagation::bits),
        userns_fd: id_map.unwrap_or(0),
    };
    let recursive = if depth == Depth::Recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::AT_EMPTY_PATH | recursive;
    let c_path = crate::file::c_path(path)?;
    // SAFETY: the path is a C string and `raw` a mount_attr of the size that is passed; both outlive the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_fd().as_raw_fd(),
            c_path.as_ptr(),
            flags,
            &raw const raw,
            size_of::<MountAttr>(),
        )
    };
    if answer == 0 {
        return Ok(());
    }
    let shown = if path.is_empty() { crate::file::name_of(&dir).display().to_string() } else { path.to_owned() };
    Err(Error::last_os("mount_setattr", format!("{shown}, +{:#x}, -{:#x}", raw.set, raw.clear)))
}

/// Makes the working directory, a mount point, the root of the mount namespace; the old root lies on top of it until
/// [`detach_here`] takes it off. pivot_root(2) with `.` twice.
pub fn pivot_here() -> Result<()> {
    rustix::process::pivot_root(".", ".").map_err(|errno| Error::new("pivot_root", "., .", errno))
}

/// Detaches the topmost mount at the working directory with all below it. umount2(2) `MNT_DETACH`.
pub fn detach_here() -> Result<()> {
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(|errno| Error::new("umount2", "., DETACH", errno))
}
