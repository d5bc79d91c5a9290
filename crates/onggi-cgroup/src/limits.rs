//! From `linux.resources` to the controllers: a module per controller, each for v1 and v2.

pub(crate) mod blkio;
pub(crate) mod cpu;
pub(crate) mod cpuset;
pub(crate) mod devices;
pub(crate) mod hugetlb;
pub(crate) mod memory;
pub(crate) mod network;
pub(crate) mod pids;
pub(crate) mod rdma;
pub(crate) mod unified;

use onggi_oci::runtime::LinuxResources;

use crate::group::Cgroup;
use crate::{Controller, Error, Result};

/// A controller that a limit needs.
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) controller: Controller,
}

/// The controllers without which `resources` cannot be put on. Fields that ask for no limit need none.
pub(crate) fn needs(resources: &LinuxResources) -> Vec<Need> {
    let cpu = resources.cpu().as_ref();
    let network = resources.network().as_ref();
    [
        (resources.memory().as_ref().is_some_and(memory::asks), "memory", Controller::Memory),
        (cpu.is_some_and(cpu::asks), "processor time", Controller::Cpu),
        (cpu.is_some_and(cpuset::asks), "processors and memory nodes", Controller::Cpuset),
        (resources.pids().as_ref().is_some_and(pids::asks), "the number of processes", Controller::Pids),
        (resources.block_io().as_ref().is_some_and(blkio::asks), "block devices", Controller::Blkio),
        (resources.hugepage_limits().as_ref().is_some_and(|all| !all.is_empty()), "huge pages", Controller::Hugetlb),
        (network.is_some_and(network::asks_class), "the class of network packets", Controller::NetCls),
        (network.is_some_and(network::asks_priority), "the priority of network packets", Controller::NetPrio),
        (resources.rdma().as_ref().is_some_and(|rdma| !rdma.is_empty()), "RDMA handles", Controller::Rdma),
        (resources.devices().as_deref().is_some_and(devices::asks), "devices", Controller::Devices),
    ]
    .into_iter()
    .filter_map(|(asked, what, controller)| asked.then_some(Need { what, controller }))
    .collect()
}

/// Puts all of `resources` on `group`.
pub(crate) fn apply(group: &Cgroup, resources: &LinuxResources) -> Result<()> {
    let needs = needs(resources);
    let part = |controller| {
        let Some(need) = needs.iter().find(|need| need.controller == controller) else { return Ok(None) };
        group.part(controller).map(Some).ok_or(Error::NoController { what: need.what, controller, source: None })
    };
    if let (Some(memory), Some(part)) = (resources.memory(), part(Controller::Memory)?) {
        memory::set(part, memory)?;
    }
    if let (Some(cpu), Some(part)) = (resources.cpu(), part(Controller::Cpu)?) {
        cpu::set(part, cpu)?;
    }
    if let (Some(cpu), Some(part)) = (resources.cpu(), part(Controller::Cpuset)?) {
        cpuset::set(part, cpu)?;
    }
    // A limit of none is still a change where there was one.
    if let (Some(pids), Some(part)) = (resources.pids(), part(Controller::Pids)?.or(group.part(Controller::Pids))) {
        pids::set(part, pids)?;
    }
    if let (Some(block_io), Some(part)) = (resources.block_io(), part(Controller::Blkio)?) {
        blkio::set(part, block_io)?;
    }
    if let (Some(limits), Some(part)) = (resources.hugepage_limits(), part(Controller::Hugetlb)?) {
        limits.iter().try_for_each(|limit| hugetlb::set(part, limit))?;
    }
    if let (Some(network), Some(part)) = (resources.network(), part(Controller::NetCls)?) {
        network::set_class(part, network)?;
    }
    if let (Some(network), Some(part)) = (resources.network(), part(Controller::NetPrio)?) {
        network::set_priorities(part, network)?;
    }
    if let (Some(rdma), Some(part)) = (resources.rdma(), part(Controller::Rdma)?) {
        rdma::set(part, rdma)?;
    }
    if let (Some(rules), Some(part)) = (resources.devices(), part(Controller::Devices)?) {
        devices::set(part, rules)?;
    }
    match resources.unified().as_ref().filter(|unified| !unified.is_empty()) {
        Some(unified) => unified::set(group, unified),
        None => Ok(()),
    }
}

/// A field that this version of cgroups has no word for.
fn meaningless(field: &str, value: &dyn std::fmt::Display, why: &'static str) -> Error {
    Error::Value { field: field.to_owned(), value: value.to_string(), why }
}

/// A limit as v2 writes it: any negative number is none.
fn or_max(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "plain files stand for the kernel's")]
pub(crate) mod fake {
    //! A group made of plain files, to see what is written where.

    use std::path::Path;

    use crate::Controller;
    use crate::attribute::Directory;
    use crate::group::Part;

    pub(crate) struct Fake {
        directory: tempfile::TempDir,
    }

    impl Fake {
        /// A directory with these files in it.
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, content) in files {
                std::fs::write(directory.path().join(name), content).unwrap();
            }
            Self { directory }
        }

        pub(crate) fn v1(&self, controller: Controller) -> Part {
            self.part(false, controller)
        }

        pub(crate) fn v2(&self, controller: Controller) -> Part {
            self.part(true, controller)
        }

        fn part(&self, v2: bool, controller: Controller) -> Part {
            let directory = Directory::open(self.directory.path().to_owned()).unwrap();
            Part { directory, v2, controllers: vec![controller], key: controller.name().into() }
        }

        pub(crate) fn path(&self) -> &Path {
            self.directory.path()
        }

        /// What the file holds now. Kernel files take a value whole; a plain file keeps the tail of a longer one
        /// before it, so tests start from empty ones.
        pub(crate) fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.directory.path().join(name)).unwrap()
        }
    }

    /// An error with its cause, as a user would see it.
    pub(crate) fn told(error: &crate::Error) -> String {
        onggi_diag::chain(error).join(": ")
    }
}
