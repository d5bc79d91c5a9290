//! `/sys/fs/cgroup` inside: the container's own control groups, as the host lays them out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onggi_sys::file::{self, CWD, Mode};
use onggi_sys::mount::{self, Attributes, Depth, FsContext, MountAttrFlags, Propagation};
use onggi_sys::namespace as ns;

use super::{Builder, mounts};
use crate::failure::{During, Outcome};
use crate::plan::MountPlan;
use crate::plan::mount::READ_ONLY;

/// The container's group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// The name of the hierarchy's directory: `memory`, `cpu,cpuacct`, `systemd`, `unified`.
    name: String,
    /// Its controllers, where they have names of their own.
    links: Vec<String>,
    /// The group's directory on the host.
    path: PathBuf,
    v2: bool,
}

impl Hierarchy {
    /// The hierarchies of a group, by what it says its directories are.
    pub(crate) fn all(paths: &BTreeMap<String, PathBuf>) -> Vec<Self> {
        let mut keys: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
        for (key, path) in paths {
            keys.entry(path).or_default().push(key);
        }
        keys.into_iter().map(|(path, keys)| Self::new(path, &keys)).collect()
    }

    fn new(path: &Path, keys: &[&str]) -> Self {
        let (name, v2) = match keys {
            [""] => ("unified".to_owned(), true),
            [key] => (key.trim_start_matches("name=").to_owned(), false),
            keys => (keys.join(","), false),
        };
        let links = if keys.len() > 1 { keys.iter().map(|&key| key.to_owned()).collect() } else { Vec::new() };
        Self { name, links, path: path.to_owned(), v2 }
    }
}

impl Builder<'_> {
    /// One hierarchy of version 2 is mounted as it is; several are bound into a tmpfs.
    pub(super) fn mount_cgroups(&mut self, plan: &MountPlan) -> Outcome<()> {
        match self.hierarchies {
            [] => self.warn(&format!("{}: the container has no control group to show", plan.at)),
            [only] if only.v2 => self.mount_unified(plan, only),
            _ => self.bind_hierarchies(plan),
        }
    }

    fn mount_unified(&self, plan: &MountPlan, hierarchy: &Hierarchy) -> Outcome<()> {
        let stage = || mounts::stage(plan, "cgroup2");
        let target = self.dir_target(&plan.destination).during(stage)?;
        // The file system's own root is the cgroup namespace's; without one the group is bound instead.
        let mounted = if self.plan.namespaces.has(ns::CGROUP) {
            let context = FsContext::open("cgroup2").during(stage)?;
            context.mount(MountAttrFlags::from_bits_retain(u32::try_from(plan.attributes.set).unwrap_or(0)))
        } else {
            bound(&hierarchy.path, plan.attributes.set)
        };
        mount::attach(mounted.during(stage)?, &target).during(stage)
    }

    fn bind_hierarchies(&mut self, plan: &MountPlan) -> Outcome<()> {
        let stage = || mounts::stage(plan, "cgroup");
        let target = self.dir_target(&plan.destination).during(stage)?;
        let context = FsContext::open("tmpfs").during(stage)?;
        context.set("mode", "755").during(stage)?;
        context.set("size", "64k").during(stage)?;
        let attributes = plan.attributes.set & !READ_ONLY;
        let attributes = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0));
        let tmpfs = context.mount(attributes).during(stage)?;
        mount::attach(&tmpfs, &target).during(stage)?;
        for hierarchy in self.hierarchies {
            let stage = || format!("show cgroup {}", hierarchy.path.display());
            file::mkdir(&tmpfs, &hierarchy.name, Mode::from_raw_mode(0o755)).during(stage)?;
            let dir = file::open(&tmpfs, &hierarchy.name, file::OFlags::PATH, Mode::empty()).during(stage)?;
            mount::attach(bound(&hierarchy.path, plan.attributes.set).during(stage)?, &dir).during(stage)?;
            for link in &hierarchy.links {
                file::symlink(&hierarchy.name, &tmpfs, link).during(stage)?;
            }
        }
        if plan.attributes.set & READ_ONLY != 0 {
            self.read_only_later.push(tmpfs);
        }
        Ok(())
    }
}

fn bound(path: &Path, set: u64) -> onggi_sys::Result<std::os::fd::OwnedFd> {
    let copy = mount::clone_tree(CWD, path, Depth::Single)?;
    let change = Attributes { set, propagation: Some(Propagation::Private), ..Attributes::default() };
    mount::set_attributes(&copy, &change, Depth::Single)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_that_share_a_hierarchy_share_a_directory() {
        let paths = [("cpu", "/c/x"), ("cpuacct", "/c/x"), ("memory", "/m/x"), ("name=systemd", "/s/x"), ("", "/u/x")];
        let paths = paths.into_iter().map(|(key, path)| (key.to_owned(), PathBuf::from(path))).collect();
        let all = Hierarchy::all(&paths);
        let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["cpu,cpuacct", "memory", "systemd", "unified"]);
        assert_eq!(all[0].links, ["cpu", "cpuacct"]);
        assert!(all[3].v2);
    }
}
