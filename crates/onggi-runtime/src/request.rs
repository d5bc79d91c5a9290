//! What callers ask for, as plain data.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use onggi_oci::runtime::{Process, Spec};

/// A container to be made.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// Its name: letters, digits, `_`, `+`, `-`, `.`, the first one not a dash or dot.
    pub id: &'a str,
    /// The directory that relative paths of the specification start from.
    pub bundle: &'a Path,
    /// What to make.
    pub spec: &'a Spec,
    /// Where its root comes from.
    pub rootfs: Rootfs,
    /// What its first process reads and writes.
    pub stdio: Stdio,
    /// Whether the kernel kills the first process when the caller ends.
    pub parent_death_signal: bool,
    /// How many descriptors from 3 on the first process keeps; the rest is closed.
    pub preserve_fds: u32,
    /// Leave the session keyring as it is, shared with the caller.
    pub keep_keyring: bool,
    /// Use chroot(2) where pivot_root(2) cannot work, on an initial ramdisk.
    pub no_pivot: bool,
    /// Rather than fail, take the highest resource limit that the caller may give, and report it.
    pub clamp_rlimits: bool,
    /// The control group's path where the specification names none, below each hierarchy's root.
    pub default_cgroup: Option<&'a Path>,
}

impl<'a> CreateRequest<'a> {
    /// A request with everything optional left out.
    pub fn new(id: &'a str, bundle: &'a Path, spec: &'a Spec, rootfs: Rootfs, stdio: Stdio) -> Self {
        Self {
            id,
            bundle,
            spec,
            rootfs,
            stdio,
            parent_death_signal: false,
            preserve_fds: 0,
            keep_keyring: false,
            no_pivot: false,
            clamp_rlimits: false,
            default_cgroup: None,
        }
    }
}

/// Where a container's root filesystem comes from.
#[derive(Debug)]
pub enum Rootfs {
    /// The specification's `root.path`, against the bundle.
    Bundle,
    /// A detached mount (fsmount(2), open_tree(2)), which becomes the container's.
    Mount(OwnedFd),
}

/// What a process reads and writes.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own standard streams.
    Inherit,
    /// These.
    Files {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A new pseudoterminal of the container's own; its master comes back to the caller.
    Terminal {
        /// Rows and columns.
        size: Option<(u16, u16)>,
    },
    /// The same, with the master sent to the unix socket of this path (runc's `--console-socket`).
    ConsoleSocket(PathBuf),
}

/// A running container, as [`crate::exec`] finds it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The first process.
    pub pid: i32,
    /// When it started, in clock ticks after boot (`/proc/PID/stat`, field 22): tells it from a successor of that pid.
    pub start_time: u64,
    /// The container's specification: its seccomp profile and namespaces hold for the new process too.
    pub spec: Spec,
    /// The container's control group, as [`onggi_cgroup::Cgroup::paths`] gives it.
    pub cgroup: BTreeMap<String, PathBuf>,
}

/// A process to be put beside a container's first one.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The container.
    pub target: &'a Target,
    /// The process.
    pub process: &'a Process,
    /// What it reads and writes.
    pub stdio: Stdio,
    /// Whether the kernel kills it when the caller ends.
    pub parent_death_signal: bool,
    /// How many descriptors from 3 on it keeps.
    pub preserve_fds: u32,
    /// Rather than fail, take the highest resource limit that the caller may give, and report it.
    pub clamp_rlimits: bool,
}

impl<'a> ExecRequest<'a> {
    /// A request with everything optional left out.
    pub fn new(target: &'a Target, process: &'a Process, stdio: Stdio) -> Self {
        Self { target, process, stdio, parent_death_signal: false, preserve_fds: 0, clamp_rlimits: false }
    }
}
