//! The specification's mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use onggi_sys::file::{self, CWD, FileType};
use onggi_sys::mount::{self, Attributes, Depth, FsContext, MountAttrFlags, Propagation};
use onggi_sys::namespace as ns;
use onggi_sys::{Errno, Result};

use super::{Builder, hostile};
use crate::failure::{During, Failure, Outcome};
use crate::plan::mount::{READ_ONLY, Source};
use crate::plan::{MountPlan, Plan};
use crate::trusted_proc;

/// Detached copies of what the bind mounts show, one for each of the specification's mounts.
pub(crate) type Sources = Vec<Option<OwnedFd>>;

/// What may be bound over a file of `/proc`: what lxcfs provides.
const PROC_FILES: [&str; 12] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
    "version",
];

/// Takes the copies, from the mount namespace and with the rights of the caller.
///
/// Done before the propagation of anything is changed, so that a mount that is to be shared with the host still is its
/// peer; and before the user namespace is entered where there is one, since its users may not reach every source.
pub(crate) fn open_sources(plan: &Plan<'_>) -> Outcome<Sources> {
    plan.mounts
        .iter()
        .map(|mount| match &mount.source {
            Source::Bind { path, depth } => {
                let stage = || format!("open the source of {}, {}", mount.at, path.display());
                let source = mount::clone_tree(CWD, path, *depth).during(stage)?;
                show_as_others(mount, &source)?;
                Ok(Some(source))
            }
            _ => Ok(None),
        })
        .collect()
}

/// Maps the owners of what `source` shows, where that is asked for.
fn show_as_others(plan: &MountPlan, source: &OwnedFd) -> Outcome<()> {
    let Some(map) = &plan.id_map else { return Ok(()) };
    let stage = || format!("map the owners of {}", plan.at);
    let namespace = crate::maps::namespace(&map.users, &map.groups).during(stage)?;
    let change = Attributes { id_map: Some(namespace.as_fd()), ..Attributes::default() };
    mount::set_attributes(source, &change, map.depth).during(stage)
}

impl Builder<'_> {
    pub(super) fn mount_all(&mut self, sources: Sources) -> Outcome<()> {
        let plan = self.plan;
        plan.mounts.iter().zip(sources).try_for_each(|(mount, source)| match (&mount.source, source) {
            (Source::Cgroup, _) => self.mount_cgroups(mount),
            (_, Some(source)) => self.bind(mount, &source),
            (Source::Filesystem { kind, source }, None) => self.mount_filesystem(mount, kind, source.as_deref()),
            (Source::Bind { path, depth }, None) => {
                let source = mount::clone_tree(CWD, path, *depth).during(|| stage(mount, "bind"))?;
                self.bind(mount, &source)
            }
        })
    }

    fn bind(&self, plan: &MountPlan, source: &OwnedFd) -> Outcome<()> {
        let stage = || stage(plan, "bind");
        let is_dir = file::type_of(&file::stat(source).during(stage)?) == FileType::Directory;
        let target = if is_dir { self.dir_target(&plan.destination) } else { self.file_target(&plan.destination) };
        let target = target.during(stage)?;
        self.refuse_over_proc(plan, source, &target)?;
        let depth = match plan.source {
            Source::Bind { depth, .. } => depth,
            _ => Depth::Single,
        };
        change(plan, source, depth).during(stage)?;
        mount::attach(source, &target).during(stage)
    }

    fn mount_filesystem(&mut self, plan: &MountPlan, kind: &str, source: Option<&str>) -> Outcome<()> {
        let stage = || stage(plan, kind);
        let is_proc_or_sys = kind == "proc" || kind == "sysfs";
        let target = if is_proc_or_sys {
            self.plain_dir_target(&plan.destination).map_err(|error| match error.is(Errno::LOOP) {
                true => hostile(stage(), "the image has a symbolic link there"),
                false => Failure::of(stage(), &error),
            })?
        } else {
            self.dir_target(&plan.destination).during(stage)?
        };
        if !is_proc_or_sys {
            self.refuse_over_proc(plan, &target, &target)?;
        }
        let is_tmpfs = kind == "tmpfs";
        // A tmpfs takes the targets of later mounts and the devices first.
        let later = if is_tmpfs { plan.attributes.set & READ_ONLY } else { 0 };
        let mounted = match new_filesystem(plan, kind, source, plan.attributes.set & !later) {
            Ok(mounted) => mounted,
            Err(error) if error.is(Errno::PERM) || error.is(Errno::ACCESS) || error.is(Errno::BUSY) => {
                match self.stand_in(kind) {
                    Some(path) => self.bound_stand_in(plan, path).during(stage)?,
                    None => return Err(error).during(stage),
                }
            }
            Err(error) => return Err(error).during(stage),
        };
        if let Some((propagation, _)) = plan.propagation.filter(|(kind, _)| *kind != Propagation::Private) {
            let change = Attributes { propagation: Some(propagation), ..Attributes::default() };
            mount::set_attributes(&mounted, &change, Depth::Single).during(stage)?;
        }
        if is_tmpfs {
            keep_mode(plan, &target, &mounted).during(stage)?;
        }
        if plan.copy_up {
            super::copy_up(&target, &mounted).during(|| format!("copy {} up", plan.destination.display()))?;
        }
        mount::attach(&mounted, &target).during(stage)?;
        if later != 0 {
            self.read_only_later.push(mounted);
        }
        Ok(())
    }

    /// What a user namespace shows instead of a file system that it may not mount: sysfs belongs to the network
    /// namespace's owner, proc to the pid namespace's.
    fn stand_in(&self, kind: &str) -> Option<&'static str> {
        let namespaces = &self.plan.namespaces;
        match kind {
            "sysfs" if !namespaces.has(ns::NET) => Some("/sys"),
            "proc" if !namespaces.has(ns::PID) => Some("/proc"),
            "mqueue" if !namespaces.has(ns::IPC) => Some("/dev/mqueue"),
            _ => None,
        }
    }

    fn bound_stand_in(&self, plan: &MountPlan, path: &str) -> Result<OwnedFd> {
        let copy = mount::clone_tree(CWD, path, Depth::Recursive)?;
        let change =
            Attributes { set: plan.attributes.set, propagation: Some(Propagation::Private), ..Attributes::default() };
        mount::set_attributes(&copy, &change, Depth::Recursive)?;
        Ok(copy)
    }

    /// Nothing but another procfs, and the files that lxcfs provides, may cover what tells of processes and takes labels.
    fn refuse_over_proc(&self, plan: &MountPlan, source: impl AsFd, target: impl AsFd) -> Outcome<()> {
        let stage = || stage(plan, "mount");
        if !trusted_proc::is_procfs(&target).during(stage)? {
            return Ok(());
        }
        let inside = plan.destination.strip_prefix("/proc").unwrap_or(Path::new(""));
        let is_itself = inside.as_os_str().is_empty() && trusted_proc::is_procfs(&source).during(stage)?;
        let is_file = PROC_FILES.iter().any(|name| Path::new(name) == inside);
        match is_itself || is_file {
            true => Ok(()),
            false => Err(hostile(stage(), "it would cover a part of /proc")),
        }
    }
}

/// Attributes and propagation of a bind mount, in as few calls as they take.
fn change(plan: &MountPlan, source: &OwnedFd, depth: Depth) -> Result<()> {
    let (propagation, reach) = plan.propagation.unwrap_or((Propagation::Private, depth));
    let own = Attributes {
        set: plan.attributes.set,
        clear: plan.attributes.clear,
        propagation: Some(propagation),
        ..Attributes::default()
    };
    mount::set_attributes(source, &own, Depth::Single)?;
    let below = Attributes {
        set: plan.recursive.set,
        clear: plan.recursive.clear,
        propagation: (reach == Depth::Recursive).then_some(propagation),
        ..Attributes::default()
    };
    if below.propagation.is_none() && plan.recursive.is_empty() {
        return Ok(());
    }
    mount::set_attributes(source, &below, Depth::Recursive)
}

fn new_filesystem(plan: &MountPlan, kind: &str, source: Option<&str>, attributes: u64) -> Result<OwnedFd> {
    let context = FsContext::open(kind)?;
    if let Some(source) = source.filter(|source| !source.is_empty()) {
        context.set("source", source)?;
    }
    for (key, value) in &plan.data {
        match value {
            Some(value) => context.set(key, value)?,
            None => context.set_flag(key)?,
        }
    }
    let attributes = attributes | plan.recursive.set;
    context.mount(MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0)))
}

/// A tmpfs without `mode=` looks like the directory it covers (runc does so, and `/tmp` stays writable to all).
fn keep_mode(plan: &MountPlan, target: &OwnedFd, mounted: &OwnedFd) -> Result<()> {
    if plan.data.iter().any(|(key, _)| key == "mode") {
        return Ok(());
    }
    let mode = file::stat(target)?.st_mode & 0o7777;
    let opened = file::open(mounted, ".", file::OFlags::RDONLY | file::OFlags::DIRECTORY, file::Mode::empty())?;
    file::chmod(&opened, file::Mode::from_raw_mode(mode))
}

pub(super) fn stage(plan: &MountPlan, what: &str) -> String {
    format!("mount {what} on {} ({})", plan.destination.display(), plan.at)
}
