//! Which namespaces are new and which are joined.

use std::path::PathBuf;

use onggi_oci::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};
use onggi_sys::namespace as ns;

use crate::{Error, Result};

/// The namespaces of a container.
#[derive(Debug, Default)]
pub(crate) struct NamespacePlan {
    /// New ones, as `CLONE_NEW*` bits.
    pub(crate) create: u64,
    /// Existing ones, by the path of their descriptor, in the specification's order.
    pub(crate) join: Vec<(u64, PathBuf)>,
    /// Users of the new user namespace.
    pub(crate) uid_map: Vec<LinuxIdMapping>,
    /// Groups of the new user namespace.
    pub(crate) gid_map: Vec<LinuxIdMapping>,
}

impl NamespacePlan {
    pub(crate) fn new(linux: &Linux) -> Result<Self> {
        let mut plan = Self {
            uid_map: linux.uid_mappings().clone().unwrap_or_default(),
            gid_map: linux.gid_mappings().clone().unwrap_or_default(),
            ..Self::default()
        };
        for (index, namespace) in linux.namespaces().as_deref().unwrap_or_default().iter().enumerate() {
            let at = || format!("linux.namespaces[{index}]");
            let kind = bits(namespace.typ());
            if plan.has(kind) {
                return Err(Error::invalid(at(), format!("names the {} namespace twice", ns::name(kind))));
            }
            match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                None => plan.create |= kind,
                Some(path) if !path.is_absolute() => {
                    return Err(Error::invalid(format!("{}.path", at()), "is not an absolute path"));
                }
                // The link itself: whether what it leads to may be opened is asked when it is.
                Some(path) if path.symlink_metadata().is_err() => {
                    return Err(Error::invalid(format!("{}.path", at()), format!("{} does not exist", path.display())));
                }
                Some(path) => plan.join.push((kind, path.clone())),
            }
        }
        plan.check_maps()?;
        Ok(plan)
    }

    /// Whether the container has a namespace of this kind that is not the caller's.
    pub(crate) fn has(&self, kind: u64) -> bool {
        self.create & kind != 0 || self.joins(kind)
    }

    /// Whether it joins an existing namespace of this kind.
    pub(crate) fn joins(&self, kind: u64) -> bool {
        self.join.iter().any(|(joined, _)| *joined == kind)
    }

    /// Whether its users are other than the caller's.
    pub(crate) fn maps_users(&self) -> bool {
        self.has(ns::USER)
    }

    /// What the first process is born in; the rest it makes itself.
    ///
    /// The root of a new cgroup namespace is the group that its maker is in, which the first process has yet to enter;
    /// the message queues of a new ipc namespace belong to its maker's user, who has to be mapped.
    pub(crate) fn cloned(&self) -> u64 {
        let later = if self.create & ns::USER != 0 { ns::CGROUP | ns::IPC } else { ns::CGROUP };
        self.create & !later
    }

    fn check_maps(&self) -> Result<()> {
        let mapped = !self.uid_map.is_empty() || !self.gid_map.is_empty();
        if mapped && !self.has(ns::USER) {
            return Err(Error::invalid("linux.uidMappings", "needs a user namespace in linux.namespaces"));
        }
        if self.create & ns::USER != 0 && (self.uid_map.is_empty() || self.gid_map.is_empty()) {
            return Err(Error::invalid("linux.uidMappings", "a new user namespace needs uidMappings and gidMappings"));
        }
        Ok(())
    }
}

/// Every kind that the specification names, new or joined.
pub(crate) fn kinds(linux: &Linux) -> u64 {
    linux.namespaces().iter().flatten().fold(0, |set, namespace| set | bits(namespace.typ()))
}

/// The kinds in `set`, one by one.
pub(crate) fn each(set: u64) -> impl Iterator<Item = u64> {
    (0..64).map(|number| 1 << number).filter(move |kind| set & kind != 0)
}

fn bits(kind: LinuxNamespaceType) -> u64 {
    match kind {
        LinuxNamespaceType::Mount => ns::MOUNT,
        LinuxNamespaceType::Cgroup => ns::CGROUP,
        LinuxNamespaceType::Uts => ns::UTS,
        LinuxNamespaceType::Ipc => ns::IPC,
        LinuxNamespaceType::User => ns::USER,
        LinuxNamespaceType::Pid => ns::PID,
        LinuxNamespaceType::Network => ns::NET,
        LinuxNamespaceType::Time => ns::TIME,
    }
}
