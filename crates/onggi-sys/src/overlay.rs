//! Overlay mounts for kernels whose new mount API cannot describe them.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::file::{self, Mode, OFlags};
use crate::{Error, Result, mount as tree, namespace};

/// The directories of an overlay, by path.
#[derive(Debug, Clone)]
pub struct Directories {
    /// Lower layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// The upper and the work directory.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// A directory to mount on for a moment.
    pub target: PathBuf,
}

/// Mounts an overlay by mount(2) and hands it out detached; nobody else sees it attached.
///
/// fsconfig(2) takes no more than 255 bytes in one value, so before Linux 6.7 (`lowerdir+`) it cannot name more than a
/// few layers. mount(2) has a page for all options together, which holds as many as overlayfs allows when each is named
/// by the number of a descriptor. The kernel wants these from the mounting thread's own mount namespace, and wants the
/// mount attached, so a thread of its own does all of it in a namespace that dies with it.
pub fn mount_detached(directories: Directories, options: Vec<(&'static str, &'static str)>) -> Result<OwnedFd> {
    let worker = std::thread::spawn(move || {
        namespace::unshare(namespace::MOUNT)?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
            .map_err(|errno| Error::new("mount", "/, PRIVATE", errno))?;
        mount_here(&directories, &options)
    });
    worker.join().unwrap_or_else(|_| Err(Error::new("mount", "overlay, thread", rustix::io::Errno::IO)))
}

fn mount_here(directories: &Directories, options: &[(&str, &str)]) -> Result<OwnedFd> {
    let open = |path: &Path| file::open(file::CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    let lower = directories.lower.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
    let numbers: Vec<String> = lower.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut data = format!("lowerdir={}", numbers.join(":"));
    let upper = match &directories.upper {
        Some((upper, work)) => Some((open(upper)?, open(work)?)),
        None => None,
    };
    if let Some((upper, work)) = &upper {
        data.push_str(&format!(",upperdir={},workdir={}", upper.as_raw_fd(), work.as_raw_fd()));
    }
    for (key, value) in options {
        data.push_str(&if value.is_empty() { format!(",{key}") } else { format!(",{key}={value}") });
    }
    // Relative to here, the number of a descriptor is a path. The thread has a working directory of its own.
    rustix::process::chdir("/proc/thread-self/fd")
        .map_err(|errno| Error::new("chdir", "/proc/thread-self/fd", errno))?;
    let data = CString::new(data).map_err(|_| Error::new("mount", "overlay", rustix::io::Errno::INVAL))?;
    mount("overlay", &directories.target, "overlay", MountFlags::empty(), data.as_c_str())
        .map_err(|errno| Error::new("mount", format!("overlay, {}", data.to_string_lossy()), errno))?;
    tree::clone_tree(file::CWD, &directories.target, tree::Depth::Single)
}
