//! A control group in all hierarchies at once.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use onggi_oci::runtime::LinuxResources;
use onggi_sys::file::{self, AtFlags, CWD, Mode};
use onggi_sys::{self as sys, Errno};

use crate::attribute::Directory;
use crate::layout::{Hierarchy, HierarchyKind, Version};
use crate::subtree::Wanted;
use crate::{CgroupPath, Controller, Error, Layout, Result, limits, subtree};

/// A control group: one directory in each hierarchy of the machine, used as one.
///
/// Dropping it closes descriptors and nothing else; [`Cgroup::remove`] takes the group away.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) parts: Vec<Part>,
}

/// The group's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) directory: Directory,
    pub(crate) v2: bool,
    /// What this directory can limit, and on v1 the key of its hierarchy.
    pub(crate) controllers: Vec<Controller>,
    pub(crate) key: String,
}

impl Cgroup {
    /// Makes the group `path` in every hierarchy of this machine and puts the limits of `resources` on.
    ///
    /// Hierarchies in which the caller may not make groups are left out as long as no limit needs them. The group
    /// must be new or empty. Takes back what it made if it fails.
    ///
    /// # Errors
    /// [`Error::NoController`] where a limit needs what is not there, [`Error::Occupied`] where somebody lives there
    /// already, and otherwise what names the file and the value that failed.
    pub fn create(path: &CgroupPath, resources: Option<&LinuxResources>) -> Result<Self> {
        Self::create_in(&Layout::detect()?, path, resources)
    }

    /// The same in a layout that was detected before.
    pub fn create_in(layout: &Layout, path: &CgroupPath, resources: Option<&LinuxResources>) -> Result<Self> {
        let needs = resources.map(limits::needs).unwrap_or_default();
        let mut making = Making { made: Vec::new(), group: Self { parts: Vec::new() } };
        let mut refused = Vec::new();
        // Beside v1 the v2 hierarchy's controllers are left to whoever may want to mount them as v1: a controller that was
        // handed down here once cannot be.
        let on_v1 = |need: &&limits::Need| {
            layout.v1_mounts().any(|(key, _)| key.split(',').any(|name| name == need.controller.name()))
        };
        let lacking = needs.iter().filter(|need| !on_v1(need)).map(|need| need.controller).collect();
        let wanted = if layout.version() == Version::V2 { Wanted::All } else { Wanted::Only(lacking) };
        for hierarchy in &layout.hierarchies {
            if let Some(source) = making.add(hierarchy, path, &wanted)? {
                refused.push((hierarchy, source));
            }
        }
        for need in needs {
            if making.group.part(need.controller).is_none() {
                let source = refused.iter().find(|(hierarchy, _)| hierarchy.may_have(need.controller));
                let source = source.map(|(_, source)| source.clone());
                return Err(Error::NoController { what: need.what, controller: need.controller, source });
            }
        }
        if let Some(resources) = resources {
            making.group.set(resources)?;
        }
        Ok(making.finish())
    }

    /// Opens the group `path` as far as it exists; [`Cgroup::exists`] tells whether it does anywhere.
    pub fn open(path: &CgroupPath) -> Result<Self> {
        let layout = Layout::detect()?;
        let places = layout.hierarchies.iter().map(|hierarchy| (hierarchy.kind.clone(), hierarchy.place(path)));
        Self::open_each(places)
    }

    /// Opens a group by what [`Cgroup::paths`] gave, as far as it still exists.
    pub fn open_paths(paths: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut keys: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
        for (key, path) in paths {
            keys.entry(path).or_default().push(key);
        }
        Self::open_each(keys.into_iter().map(|(path, keys)| {
            let kind = match keys.as_slice() {
                [""] => HierarchyKind::V2,
                _ => HierarchyKind::V1 {
                    controllers: keys.iter().filter_map(|key| Controller::from_v1(key)).collect(),
                    key: keys.join(","),
                },
            };
            (kind, path.to_owned())
        }))
    }

    fn open_each(places: impl Iterator<Item = (HierarchyKind, PathBuf)>) -> Result<Self> {
        let mut parts = Vec::new();
        for (kind, path) in places {
            match Directory::open(path.clone()) {
                Ok(directory) => parts.push(Part::new(kind, directory)),
                Err(source) if source.is(Errno::NOENT) => {}
                Err(source) => return Err(Error::Open { path, source }),
            }
        }
        Ok(Self { parts })
    }

    /// Whether the group is there in any hierarchy.
    pub fn exists(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The group's directories by controller name, `name=...` for a named v1 hierarchy and the empty key for v2: the
    /// form in which runc keeps them in its state.
    pub fn paths(&self) -> BTreeMap<String, PathBuf> {
        let keys = |part: &Part| -> Vec<String> { part.key.split(',').map(str::to_owned).collect() };
        self.parts
            .iter()
            .flat_map(|part| keys(part).into_iter().map(|key| (key, part.directory.path.clone())))
            .collect()
    }

    /// The directory in the v2 hierarchy, for `CLONE_INTO_CGROUP`. On a hybrid machine a process cloned into it has
    /// still to enter the v1 hierarchies.
    pub fn dir_fd(&self) -> Option<BorrowedFd<'_>> {
        self.parts.iter().find(|part| part.v2).map(|part| part.directory.fd.as_fd())
    }

    /// The group's directory that `controller` is steered by, for a mount of it or a look at its files.
    pub fn dir_of(&self, controller: Controller) -> Option<&Path> {
        self.part(controller).map(|part| part.directory.path.as_path())
    }

    /// Puts limits on, or changes them; what `resources` does not mention stays as it is.
    pub fn set(&self, resources: &LinuxResources) -> Result<()> {
        limits::apply(self, resources)
    }

    /// Moves the process `pid` with all its threads into the group, in every hierarchy.
    pub fn add(&self, pid: i32) -> Result<()> {
        let pid = pid.to_string();
        self.parts.iter().try_for_each(|part| part.directory.write("cgroup.procs", &pid))
    }

    /// Opens what a process needs to enter the group by itself, see [`Entry`].
    ///
    /// `cloned_into` says that it was cloned into [`Cgroup::dir_fd`] already.
    pub fn entry(&self, cloned_into: bool) -> Result<Entry> {
        let parts = self.parts.iter().filter(|part| !(part.v2 && cloned_into));
        let open = |part: &Part| {
            let name = if part.v2 { "cgroup.procs" } else { "tasks" };
            part.directory.open_file(name).map_err(|source| part.directory.not_written(name, "0", source))
        };
        Ok(Entry { files: parts.map(open).collect::<Result<_>>()? })
    }

    /// The processes of the group and of all groups below it.
    pub fn procs(&self) -> Result<Vec<i32>> {
        self.leading().map_or(Ok(Vec::new()), |part| subtree::procs(&part.directory))
    }

    /// The part whose list of processes stands for all.
    pub(crate) fn leading(&self) -> Option<&Part> {
        self.parts
            .iter()
            .find(|part| part.v2)
            .or_else(|| {
                [Controller::Freezer, Controller::Pids, Controller::Devices].iter().find_map(|&one| self.part(one))
            })
            .or(self.parts.first())
    }

    /// The part by which `controller` is steered.
    ///
    /// On a hybrid machine a v1 hierarchy goes before v2, where any group can do what `devices` does.
    pub(crate) fn part(&self, controller: Controller) -> Option<&Part> {
        let has = |part: &&Part| part.controllers.contains(&controller);
        self.parts.iter().filter(|part| !part.v2).find(has).or_else(|| self.parts.iter().find(has))
    }
}

/// A child's way into a group: files opened by its parent, into which it writes itself.
///
/// A task that moves itself alone (`tasks`, not `cgroup.procs`) spares the kernel the lock that every fork and exit on
/// the machine would have to wait for; so this is the cheap way in for a process that has one thread.
#[derive(Debug)]
pub struct Entry {
    files: Vec<OwnedFd>,
}

impl Entry {
    /// Moves the calling thread into the group. Allocates nothing, so a child may call it between clone and exec.
    ///
    /// # Errors
    /// The kernel's answer; the thread may be in some hierarchies of the group then.
    pub fn enter(&self) -> std::result::Result<(), Errno> {
        self.files.iter().try_for_each(|file| file::write_bare(file, b"0").map(|_| ()))
    }
}

impl Part {
    fn new(kind: HierarchyKind, directory: Directory) -> Self {
        match kind {
            HierarchyKind::V1 { controllers, key } => Self { directory, v2: false, controllers, key },
            HierarchyKind::V2 => {
                let listed = directory.read("cgroup.controllers").unwrap_or_default();
                let mut controllers: Vec<Controller> = listed.split(' ').filter_map(Controller::from_v2).collect();
                controllers.extend([Controller::Devices, Controller::Freezer, Controller::PerfEvent]);
                Self { directory, v2: true, controllers, key: String::new() }
            }
        }
    }
}

impl Hierarchy {
    /// Where the group `path` is in this hierarchy.
    pub(crate) fn place(&self, path: &CgroupPath) -> PathBuf {
        // A v2 group that holds processes, as our own does, can have no group with limits below it: beside it, then.
        let own = match self.kind {
            HierarchyKind::V2 => self.own.parent().unwrap_or(Path::new("")),
            HierarchyKind::V1 { .. } => &self.own,
        };
        self.mount.join(path.within(own))
    }

    fn may_have(&self, controller: Controller) -> bool {
        match &self.kind {
            HierarchyKind::V1 { controllers, .. } => controllers.contains(&controller),
            HierarchyKind::V2 => true,
        }
    }
}

/// A group under construction; dropped before [`Making::finish`], it takes back what it made.
struct Making {
    made: Vec<PathBuf>,
    group: Cgroup,
}

impl Making {
    /// Makes the group's directory in `hierarchy`; gives back what kept it from it, where that was a lack of rights.
    fn add(&mut self, hierarchy: &Hierarchy, path: &CgroupPath, wanted: &Wanted) -> Result<Option<sys::Error>> {
        let target = hierarchy.place(path);
        let not_enabled = match hierarchy.kind {
            HierarchyKind::V2 => subtree::enable_controllers(&hierarchy.mount, &target, wanted),
            HierarchyKind::V1 { .. } => None,
        };
        match self.make(&hierarchy.mount, &target) {
            Ok(()) => {}
            Err(source) if is_lack_of_rights(&source) => return Ok(Some(source)),
            Err(source) => return Err(Error::Create { path: target, source }),
        }
        let directory =
            Directory::open(target.clone()).map_err(|source| Error::Open { path: target.clone(), source })?;
        if self.made.last() != Some(&target) {
            subtree::check_free(&directory)?;
        }
        let part = Part::new(hierarchy.kind.clone(), directory);
        if !part.v2 && part.controllers.contains(&Controller::Cpuset) {
            limits::cpuset::inherit(&part.directory, &hierarchy.mount)?;
        }
        self.group.parts.push(part);
        Ok(not_enabled)
    }

    /// Makes `target` and what is missing between `mount` and it. mkdir(2)s no more than it must: on the usual start
    /// path the parent is there.
    fn make(&mut self, mount: &Path, target: &Path) -> sys::Result<()> {
        // A parent may vanish between two calls, when the last group in it goes away elsewhere.
        for _ in 0..8 {
            match self.make_one(target) {
                Err(source) if source.is(Errno::NOENT) => {}
                other => return other,
            }
            let mut missing: Vec<&Path> = target.ancestors().skip(1).take_while(|path| *path != mount).collect();
            missing.reverse();
            for parent in missing {
                match self.make_one(parent) {
                    Err(source) if source.is(Errno::NOENT) => break,
                    other => other?,
                }
            }
        }
        self.make_one(target)
    }

    fn make_one(&mut self, path: &Path) -> sys::Result<()> {
        match file::mkdir(CWD, path, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.made.push(path.to_owned()),
            Err(source) if source.is(Errno::EXIST) => {}
            Err(source) => return Err(source),
        }
        Ok(())
    }

    fn finish(mut self) -> Cgroup {
        self.made.clear();
        std::mem::replace(&mut self.group, Cgroup { parts: Vec::new() })
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The error that brought us here says more than one about a directory left behind.
            drop(file::unlink(CWD, path, AtFlags::REMOVEDIR));
        }
    }
}

fn is_lack_of_rights(error: &sys::Error) -> bool {
    error.is(Errno::ACCESS) || error.is(Errno::PERM) || error.is(Errno::ROFS)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "processes and the kernel's files are what is tested here")]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use onggi_oci::runtime::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxResourcesBuilder};

    use super::*;

    /// The v2 hierarchy of this machine with next to none beside it: a machine with v2 alone would have all its
    /// controllers handed down, and this one is others' too.
    fn v2_alone() -> Option<Layout> {
        let mut layout = Layout::detect().ok()?;
        let keep = |kind: &HierarchyKind| match kind {
            HierarchyKind::V2 => true,
            HierarchyKind::V1 { controllers, .. } => controllers.is_empty(),
        };
        layout.hierarchies.retain(|hierarchy| keep(&hierarchy.kind));
        (layout.v2_mount().is_some() && onggi_testkit::lacks("root").is_none()).then_some(layout)
    }

    fn rule(allow: bool, minor: i64, access: &str) -> LinuxDeviceCgroup {
        let rule = LinuxDeviceCgroupBuilder::default().allow(allow).typ(LinuxDeviceType::C).major(1).minor(minor);
        rule.access(access).build().unwrap()
    }

    /// Whether a process of the group can open `path`.
    fn opens(group: &Cgroup, path: &str, how: &str) -> bool {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; exec 3{how}{path}")])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        group.add(i32::try_from(child.id()).unwrap()).unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
        child.wait().unwrap().success()
    }

    #[test]
    fn the_device_filter_of_v2_holds_in_the_kernel_and_can_be_replaced() {
        let Some(layout) = v2_alone() else {
            return onggi_testkit::skip("device filter", "needs root and a cgroup v2 mount");
        };
        let path = CgroupPath::parse(&format!("/onggi-filter-{}", std::process::id())).unwrap();
        let resources =
            |rules: Vec<LinuxDeviceCgroup>| LinuxResourcesBuilder::default().devices(rules).build().unwrap();
        let group = match Cgroup::create_in(&layout, &path, Some(&resources(vec![rule(false, 11, "rwm")]))) {
            Err(Error::DeviceFilter { source, .. }) => {
                return onggi_testkit::skip("device filter", &format!("needs BPF for cgroups: {source}"));
            }
            other => other.unwrap(),
        };
        let first = (opens(&group, "/dev/null", ">"), opens(&group, "/dev/kmsg", "<"));
        group.set(&resources(vec![rule(true, 11, "r")])).unwrap();
        let second = (opens(&group, "/dev/kmsg", "<"), opens(&group, "/dev/kmsg", ">"));
        group.remove().unwrap();
        assert_eq!((first, second), ((true, false), (true, false)));
    }

    #[test]
    fn a_limit_without_its_controller_is_refused_and_leaves_nothing() {
        let Some(layout) = v2_alone() else {
            return onggi_testkit::skip("missing controller", "needs root and a cgroup v2 mount");
        };
        let path = CgroupPath::parse(&format!("/onggi-lacking-{}", std::process::id())).unwrap();
        let memory = onggi_oci::runtime::LinuxMemoryBuilder::default().limit(1 << 26).build().unwrap();
        let resources = LinuxResourcesBuilder::default().memory(memory).build().unwrap();
        let target = layout.v2_mount().unwrap().join(path.to_string().trim_start_matches('/'));
        match Cgroup::create_in(&layout, &path, Some(&resources)) {
            // A machine with v2 alone has the controller.
            Ok(group) => group.remove().unwrap(),
            Err(error) => {
                assert_eq!(
                    error.to_string(),
                    "cannot limit memory: the memory cgroup controller is not available here"
                );
            }
        }
        assert!(!target.exists());
    }
}
