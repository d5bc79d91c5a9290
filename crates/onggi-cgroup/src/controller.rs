//! The names of what a control group can control.

use std::fmt;

/// A resource controller of the kernel, under the name that cgroup v1 has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Accounting of processor time (a part of `cpu` on v2).
    Cpuacct,
    /// Which processors and memory nodes.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Number of tasks.
    Pids,
    /// Block devices; `io` on v2.
    Blkio,
    /// Which device nodes (a BPF program on v2).
    Devices,
    /// Stops all tasks (every group can on v2).
    Freezer,
    /// Huge pages.
    Hugetlb,
    /// Class of network packets (v1 only).
    NetCls,
    /// Priority of network packets (v1 only).
    NetPrio,
    /// RDMA handles.
    Rdma,
    /// Sampling (every group can on v2).
    PerfEvent,
    /// Scalar resources of other kinds.
    Misc,
}

impl Controller {
    const ALL: [Self; 14] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Pids,
        Self::Blkio,
        Self::Devices,
        Self::Freezer,
        Self::Hugetlb,
        Self::NetCls,
        Self::NetPrio,
        Self::Rdma,
        Self::PerfEvent,
        Self::Misc,
    ];

    /// The name in `/proc/self/cgroup` and in the mount options of a v1 hierarchy.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Blkio => "blkio",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Hugetlb => "hugetlb",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::Rdma => "rdma",
            Self::PerfEvent => "perf_event",
            Self::Misc => "misc",
        }
    }

    /// The controller that v1 calls `name`.
    pub fn from_v1(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|controller| controller.name() == name)
    }

    /// The controller that `cgroup.controllers` calls `name`.
    pub fn from_v2(name: &str) -> Option<Self> {
        if name == "io" { Some(Self::Blkio) } else { Self::from_v1(name) }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
