//! A specification, checked: everything that can be known to be wrong is, before anything is done.

pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod process;
pub(crate) mod schedule;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use onggi_oci::runtime::{Hooks, Linux, LinuxDevice, LinuxSeccomp, LinuxTimeOffset, Spec};
use onggi_sys::mount::Propagation;
use onggi_sys::namespace as ns;

use crate::{CreateRequest, Error, Result, Rootfs};

pub(crate) use mount::MountPlan;
pub(crate) use namespace::NamespacePlan;
pub(crate) use process::ProcessPlan;

/// What is to be made, in the order and the words of the kernel rather than of `config.json`.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) namespaces: NamespacePlan,
    /// Absolute, where the root is not a mount that the caller brings.
    pub(crate) rootfs: Option<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) propagation: Propagation,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: &'a [LinuxDevice],
    pub(crate) masked: &'a [String],
    pub(crate) read_only_paths: &'a [String],
    pub(crate) sysctls: Vec<(String, &'a str)>,
    pub(crate) hostname: Option<&'a str>,
    pub(crate) domainname: Option<&'a str>,
    pub(crate) time_offsets: Option<&'a HashMap<String, LinuxTimeOffset>>,
    pub(crate) process: ProcessPlan,
    pub(crate) seccomp: Option<&'a LinuxSeccomp>,
    pub(crate) personality: Option<u64>,
    pub(crate) hooks: Option<&'a Hooks>,
}

impl<'a> Plan<'a> {
    /// Checks `request` and turns it into what is to be done.
    ///
    /// # Errors
    /// Names the field by its JSON path.
    pub(crate) fn new(request: &CreateRequest<'a>) -> Result<Self> {
        check_id(request.id)?;
        let spec = request.spec;
        let linux = spec.linux().as_ref().ok_or_else(|| Error::invalid("linux", "is missing"))?;
        refuse_what_is_not_done(linux)?;
        let namespaces = NamespacePlan::new(linux)?;
        let process = spec.process().as_ref().ok_or_else(|| Error::invalid("process", "is missing"))?;
        let needs = |kind, at: &str| match namespaces.has(kind) {
            true => Ok(()),
            false => Err(Error::invalid(at, format!("needs a {} namespace", ns::name(kind)))),
        };
        if spec.hostname().as_deref().is_some_and(|name| !name.is_empty()) {
            needs(ns::UTS, "hostname")?;
        }
        if spec.domainname().as_deref().is_some_and(|name| !name.is_empty()) {
            needs(ns::UTS, "domainname")?;
        }
        needs(ns::MOUNT, "linux.namespaces")?;
        if namespaces.joins(ns::MOUNT) {
            // The root would be built in front of everybody who is in there.
            return Err(Error::Unsupported {
                at: "linux.namespaces".into(),
                why: "a mount namespace cannot be joined, only made".into(),
            });
        }
        Ok(Self {
            rootfs: rootfs_path(request)?,
            read_only: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
            propagation: root_propagation(linux)?,
            mounts: mount_plans(request, &namespaces)?,
            devices: linux.devices().as_deref().unwrap_or_default(),
            masked: absolute_paths(linux.masked_paths().as_deref(), "linux.maskedPaths")?,
            read_only_paths: absolute_paths(linux.readonly_paths().as_deref(), "linux.readonlyPaths")?,
            sysctls: sysctls(linux, &namespaces)?,
            hostname: spec.hostname().as_deref().filter(|name| !name.is_empty()),
            domainname: spec.domainname().as_deref().filter(|name| !name.is_empty()),
            time_offsets: time_offsets(linux, &namespaces)?,
            process: ProcessPlan::new(process, "process", request.clamp_rlimits)?,
            seccomp: linux.seccomp().as_ref(),
            personality: personality(linux)?,
            hooks: checked_hooks(spec)?,
            namespaces,
        })
    }
}

/// A container's id: what runc takes, which is safe as a file name.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    match id {
        "" => Err(Error::invalid("container id", "is empty")),
        "." | ".." => Err(Error::invalid("container id", format!("`{id}` is no name"))),
        long if long.len() > 1024 => Err(Error::invalid("container id", "is longer than 1024 bytes")),
        id if id.bytes().all(fits) => Ok(()),
        id => Err(Error::invalid(
            "container id",
            format!("`{}` has more than letters, digits, `_`, `+`, `-` and `.`", id.escape_debug()),
        )),
    }
}

/// Fields whose silent neglect would make the container something else than was asked for.
fn refuse_what_is_not_done(linux: &Linux) -> Result<()> {
    let refuse = |present: bool, at: &str| match present {
        true => Err(Error::Unsupported { at: at.into(), why: "is not supported by this version".into() }),
        false => Ok(()),
    };
    refuse(linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()), "linux.netDevices")?;
    refuse(linux.memory_policy().is_some(), "linux.memoryPolicy")?;
    refuse(linux.intel_rdt().is_some(), "linux.intelRdt")?;
    refuse(linux.mount_label().as_deref().is_some_and(|label| !label.is_empty()), "linux.mountLabel")
}

fn rootfs_path(request: &CreateRequest<'_>) -> Result<Option<PathBuf>> {
    if matches!(request.rootfs, Rootfs::Mount(_)) {
        return Ok(None);
    }
    let root = request.spec.root().as_ref().ok_or_else(|| Error::invalid("root", "is missing"))?;
    if root.path().as_os_str().is_empty() {
        return Err(Error::invalid("root.path", "is empty"));
    }
    let path = request.bundle.join(root.path());
    match path.metadata() {
        Ok(found) if found.is_dir() => Ok(Some(path)),
        Ok(_) => Err(Error::invalid("root.path", format!("{} is not a directory", path.display()))),
        Err(error) => Err(Error::invalid("root.path", format!("{}: {error}", path.display()))),
    }
}

fn root_propagation(linux: &Linux) -> Result<Propagation> {
    match linux.rootfs_propagation().as_deref() {
        None | Some("") => Ok(Propagation::Slave),
        Some(word) => mount::propagation(word).map(|(kind, _)| kind).ok_or_else(|| {
            Error::invalid("linux.rootfsPropagation", format!("`{}` is no propagation", word.escape_debug()))
        }),
    }
}

fn mount_plans(request: &CreateRequest<'_>, namespaces: &NamespacePlan) -> Result<Vec<MountPlan>> {
    let mounts = request.spec.mounts().as_deref().unwrap_or_default();
    let plan = |(index, mount)| {
        let mut plan = MountPlan::new(mount, index, request.bundle)?;
        if let Some(map) = plan.id_map.as_mut().filter(|map| map.users.is_empty()) {
            if namespaces.uid_map.is_empty() {
                return Err(Error::invalid(
                    format!("{}.options", plan.at),
                    "`idmap` without uidMappings needs a user namespace with maps",
                ));
            }
            (map.users, map.groups) = (namespaces.uid_map.clone(), namespaces.gid_map.clone());
        }
        Ok(plan)
    };
    mounts.iter().enumerate().map(plan).collect()
}

fn absolute_paths<'p>(paths: Option<&'p [String]>, at: &str) -> Result<&'p [String]> {
    let paths = paths.unwrap_or_default();
    match paths.iter().position(|path| !Path::new(path).is_absolute()) {
        None => Ok(paths),
        Some(index) => Err(Error::invalid(
            format!("{at}[{index}]"),
            format!("`{}` is not an absolute path", paths[index].escape_debug()),
        )),
    }
}

/// The sysctls as paths below `/proc/sys`; only those that a namespace of the container's own holds.
fn sysctls<'l>(linux: &'l Linux, namespaces: &NamespacePlan) -> Result<Vec<(String, &'l str)>> {
    let Some(map) = linux.sysctl() else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(map.len());
    for (name, value) in map {
        let at = || format!("linux.sysctl.{}", name.escape_debug());
        let path = sysctl_path(name);
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(Error::invalid(at(), "is no name of a setting"));
        }
        let kind = sysctl_namespace(&path).ok_or_else(|| Error::invalid(at(), "is the host's, in no namespace"))?;
        if !namespaces.has(kind) {
            return Err(Error::invalid(at(), format!("needs a {} namespace", ns::name(kind))));
        }
        found.push((path, value.as_str()));
    }
    found.sort_unstable();
    Ok(found)
}

/// `net.ipv4.conf.eth0/100.forwarding`: whichever of `.` and `/` comes first separates, the other is part of a name.
fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(index) if name.as_bytes()[index] == b'.' => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn sysctl_namespace(path: &str) -> Option<u64> {
    const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    if path.starts_with("net/") {
        return Some(ns::NET);
    }
    if path.starts_with("fs/mqueue/") {
        return Some(ns::IPC);
    }
    match path.strip_prefix("kernel/")? {
        "hostname" | "domainname" => Some(ns::UTS),
        name if IPC.contains(&name) => Some(ns::IPC),
        _ => None,
    }
}

fn time_offsets<'l>(
    linux: &'l Linux,
    namespaces: &NamespacePlan,
) -> Result<Option<&'l HashMap<String, LinuxTimeOffset>>> {
    let offsets = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty());
    if offsets.is_some() && namespaces.create & ns::TIME == 0 {
        return Err(Error::invalid("linux.timeOffsets", "needs a new time namespace"));
    }
    let unknown = offsets.and_then(|map| map.keys().find(|clock| *clock != "monotonic" && *clock != "boottime"));
    match unknown {
        Some(clock) => Err(Error::invalid(format!("linux.timeOffsets.{}", clock.escape_debug()), "is no such clock")),
        None => Ok(offsets),
    }
}

fn personality(linux: &Linux) -> Result<Option<u64>> {
    use onggi_oci::runtime::LinuxPersonalityDomain as Domain;
    const PER_LINUX32: u64 = 8;
    let Some(personality) = linux.personality() else { return Ok(None) };
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(Error::Unsupported {
            at: "linux.personality.flags".into(),
            why: "the specification defines no flag yet".into(),
        });
    }
    Ok(Some(match personality.domain() {
        Domain::PerLinux => 0,
        Domain::PerLinux32 => PER_LINUX32,
    }))
}

fn checked_hooks(spec: &Spec) -> Result<Option<&Hooks>> {
    let Some(hooks) = spec.hooks() else { return Ok(None) };
    for (name, list) in crate::hook::all(hooks) {
        for (index, hook) in list.iter().enumerate() {
            if !hook.path().is_absolute() {
                return Err(Error::invalid(format!("hooks.{name}[{index}].path"), "is not an absolute path"));
            }
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return Err(Error::invalid(format!("hooks.{name}[{index}].timeout"), "is not greater than zero"));
            }
        }
    }
    Ok(Some(hooks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names() {
        for id in ["a", "A-1_b+c.d", "-x", ".hidden"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "../a", "a b", "a\0", "é", &"x".repeat(1025)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn the_first_separator_decides() {
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/100.forwarding"), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.100/forwarding"), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(sysctl_namespace("kernel/core_pattern"), None);
        assert_eq!(sysctl_namespace("kernel/shmmax"), Some(ns::IPC));
    }
}
