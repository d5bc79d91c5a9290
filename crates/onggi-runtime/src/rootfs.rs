//! The container's root: put together in its own mount namespace, by descriptors, out of the caller's sight.
//!
//! The root is attached on top of `/` of the new mount namespace, so nothing has to exist for it to be attached to and
//! the host's mount table never shows it. Every path of the specification that lies inside is resolved by the kernel
//! inside that root, once, and used as the descriptor that came of it.

mod cgroups;
mod copy_up;
mod devices;
mod masks;
mod mounts;
mod target;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use onggi_diag::Kind;
use onggi_fs::Root;
use onggi_sys::file::{self, Mode, OFlags};
use onggi_sys::mount::{self, Attributes, Depth, Propagation};
use onggi_sys::process;

use crate::channel::Channel;
use crate::failure::{During, Failure, Outcome};
use crate::plan::Plan;

use copy_up::copy_up;

pub(crate) use cgroups::Hierarchy;
pub(crate) use mounts::{Sources, open_sources};

/// A root under construction.
pub(crate) struct Builder<'a> {
    plan: &'a Plan<'a>,
    root: Root,
    /// The container's control groups, to be shown in it.
    hierarchies: &'a [Hierarchy],
    channel: &'a Channel,
    /// tmpfs mounts that become read-only when everything is in them.
    read_only_later: Vec<OwnedFd>,
    /// Whether device nodes can be made.
    may_make_nodes: bool,
}

impl<'a> Builder<'a> {
    /// Attaches `root` (a detached mount) as what will be the container's root.
    pub(crate) fn begin(
        plan: &'a Plan<'a>,
        root: OwnedFd,
        hierarchies: &'a [Hierarchy],
        channel: &'a Channel,
    ) -> Outcome<Self> {
        let stage = || "attach the root filesystem";
        isolate(plan).during(|| "separate the mount namespace from the host's")?;
        mount::set_attributes(&root, &private(), Depth::Recursive).during(stage)?;
        let slash = file::open(file::CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).during(stage)?;
        mount::attach(&root, &slash).during(stage)?;
        Ok(Self {
            plan,
            root: Root::from(root),
            hierarchies,
            channel,
            read_only_later: Vec::new(),
            may_make_nodes: !plan.namespaces.maps_users(),
        })
    }

    /// Everything up to the point where hooks may look at it.
    pub(crate) fn fill(&mut self, sources: Sources) -> Outcome<()> {
        self.mount_all(sources)?;
        if self.owns_dev() {
            self.make_devices()?;
        }
        self.make_working_directory()
    }

    /// A new terminal of the container's own devpts, the master first; it is the container's `/dev/console`.
    pub(crate) fn terminal(&self) -> Outcome<(OwnedFd, OwnedFd)> {
        let (master, peer) = crate::console::open(&self.root)?;
        let stage = || "mount the terminal on /dev/console";
        let target = self.file_target(Path::new("/dev/console")).during(stage)?;
        let console = mount::clone_tree(&peer, "", Depth::Single).during(stage)?;
        mount::attach(&console, &target).during(stage)?;
        Ok((master, peer))
    }

    /// Closes what must not be seen or written, and makes the root the root.
    pub(crate) fn enter(mut self, no_pivot: bool) -> Outcome<Root> {
        for mount in std::mem::take(&mut self.read_only_later) {
            read_only(&mount, Depth::Single).during(|| "make a tmpfs read-only")?;
        }
        self.write_sysctls()?;
        self.make_paths_read_only()?;
        self.mask_paths()?;
        if self.plan.read_only {
            read_only(&self.root, Depth::Single).during(|| "make the root filesystem read-only")?;
        }
        let stage = || "change the root";
        process::change_dir(&self.root).during(stage)?;
        if no_pivot {
            process::change_root_here().during(stage)?;
        } else {
            mount::pivot_here().during(stage)?;
            // The old root lies on top of the new one now, as `.` and as `/`.
            mount::detach_here().during(stage)?;
        }
        self.set_root_propagation().during(|| "set the propagation of the root filesystem")?;
        let slash = file::open(file::CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).during(stage)?;
        process::change_dir(&slash).during(stage)?;
        Ok(Root::from(slash))
    }

    /// A host's `/dev` that was bound over ours is not ours to fill.
    fn owns_dev(&self) -> bool {
        let dev = self.plan.mounts.iter().rev().find(|mount| mount.destination == Path::new("/dev"));
        !dev.is_some_and(|mount| matches!(mount.source, crate::plan::mount::Source::Bind { .. }))
    }

    /// runc makes a missing working directory, and images rely on it.
    fn make_working_directory(&self) -> Outcome<()> {
        let cwd = &self.plan.process.cwd;
        match self.root.make_dir_all(cwd, 0o755) {
            Ok(_) => Ok(()),
            // What it is, and whether the user may enter it, is asked again when it is entered.
            Err(error) if error.is(onggi_sys::Errno::ROFS) || error.is(onggi_sys::Errno::ACCESS) => Ok(()),
            Err(error) => Err(error).during(|| format!("make the working directory {}", cwd.display())),
        }
    }

    /// Written through the host's `/proc`, which nothing of the container's could have replaced; the values go to the
    /// namespaces of the caller, which are the container's by now.
    fn write_sysctls(&self) -> Outcome<()> {
        if self.plan.sysctls.is_empty() {
            return Ok(());
        }
        let stage = || "open /proc/sys";
        let settings = crate::trusted_proc::open(Path::new("sys")).during(stage)?;
        for (path, value) in &self.plan.sysctls {
            let stage = || format!("set sysctl {path} to \"{}\"", value.escape_debug());
            let file = file::open(&settings, path, OFlags::WRONLY, Mode::empty()).during(stage)?;
            file::write_all(&file, value.as_bytes()).during(stage)?;
        }
        Ok(())
    }

    fn set_root_propagation(&self) -> onggi_sys::Result<()> {
        match self.plan.propagation {
            // As it was attached.
            Propagation::Private | Propagation::Slave => Ok(()),
            kind => {
                let change = Attributes { propagation: Some(kind), ..Attributes::default() };
                mount::set_attributes_of(file::CWD, "/", &change, Depth::Single)
            }
        }
    }

    fn warn(&self, warning: &str) -> Outcome<()> {
        self.channel.warn(warning).during(|| "report a warning")
    }
}

/// A detached copy of the specification's root directory, with what is mounted below it.
pub(crate) fn open_root(plan: &Plan<'_>) -> Outcome<OwnedFd> {
    let path = plan.rootfs.as_deref().unwrap_or(Path::new(""));
    mount::clone_tree(file::CWD, path, Depth::Recursive)
        .during(|| format!("open the root filesystem {}", path.display()))
}

/// Cuts what would carry our mounts to the host.
///
/// A shared root keeps the mounts below as peers of the host's, which is what it was asked for; only the mount that the
/// container's root lands on is cut off.
fn isolate(plan: &Plan<'_>) -> onggi_sys::Result<()> {
    let slave = Attributes { propagation: Some(Propagation::Slave), ..Attributes::default() };
    match plan.propagation {
        Propagation::Shared => mount::set_attributes_of(file::CWD, "/", &private(), Depth::Single),
        _ => mount::set_attributes_of(file::CWD, "/", &slave, Depth::Recursive),
    }
}

fn private() -> Attributes<'static> {
    Attributes { propagation: Some(Propagation::Private), ..Attributes::default() }
}

fn read_only(mount: impl AsFd, depth: Depth) -> onggi_sys::Result<()> {
    let change = Attributes { set: crate::plan::mount::READ_ONLY, ..Attributes::default() };
    mount::set_attributes(mount, &change, depth)
}

/// A path that leads where it must not.
fn hostile(stage: String, why: &str) -> Failure {
    Failure::new(stage, Kind::Hostile, why)
}
