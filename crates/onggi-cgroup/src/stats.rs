//! What a group has used.

use std::time::Duration;

use crate::attribute::Directory;
use crate::group::{Cgroup, Part};
use crate::{Controller, Result};

/// What a group and the groups below it have used. Parts whose controller is not there are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<CpuStats>,
    /// Memory and swap.
    pub memory: Option<MemoryStats>,
    /// Tasks.
    pub pids: Option<PidsStats>,
}

/// Processor time used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub total: Duration,
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// Periods in which the quota ran out.
    pub throttled_periods: u64,
    /// How long processes waited for the next period.
    pub throttled: Duration,
}

/// Memory used, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// All that is charged to the group, page cache included.
    pub usage: u64,
    /// The most that has been, where the kernel keeps it.
    pub peak: Option<u64>,
    /// The limit; `None` is no limit.
    pub limit: Option<u64>,
    /// Page cache that could go at once; tools show `usage` without it.
    pub inactive_file: u64,
    /// Swap.
    pub swap: Option<u64>,
    /// How often the kernel has killed for lack of memory.
    pub oom_kills: u64,
}

/// Tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` is no limit.
    pub limit: Option<u64>,
}

impl Cgroup {
    /// What the group has used up to now.
    pub fn stats(&self) -> Result<Stats> {
        Ok(Stats { cpu: self.cpu()?, memory: self.memory()?, pids: self.pids()? })
    }

    /// Whether the kernel has killed a process of this group for lack of memory.
    pub fn oom_killed(&self) -> Result<bool> {
        self.part(Controller::Memory).map_or(Ok(false), |part| Ok(oom_kills(part)? > 0))
    }

    fn cpu(&self) -> Result<Option<CpuStats>> {
        let usage = self.parts.iter().find(|part| part.v2 && part.directory.has("cpu.stat"));
        match (self.part(Controller::Cpu), self.part(Controller::Cpuacct), usage) {
            (_, Some(cpuacct), _) => {
                let throttling = self.part(Controller::Cpu).map(|part| &part.directory);
                cpu_v1(&cpuacct.directory, throttling).map(Some)
            }
            (_, None, Some(part)) => cpu_v2(&part.directory).map(Some),
            _ => Ok(None),
        }
    }

    fn memory(&self) -> Result<Option<MemoryStats>> {
        let Some(part) = self.part(Controller::Memory) else { return Ok(None) };
        let mut stats = if part.v2 { memory_v2(&part.directory)? } else { memory_v1(&part.directory)? };
        stats.oom_kills = oom_kills(part)?;
        Ok(Some(stats))
    }

    fn pids(&self) -> Result<Option<PidsStats>> {
        let Some(part) = self.part(Controller::Pids) else { return Ok(None) };
        let current = part.directory.number_if_there("pids.current")?.unwrap_or_default();
        let limit = part.directory.number_if_there("pids.max")?.filter(|&limit| limit != u64::MAX);
        Ok(Some(PidsStats { current, limit }))
    }
}

fn cpu_v1(cpuacct: &Directory, cpu: Option<&Directory>) -> Result<CpuStats> {
    let number =
        |name| -> Result<Duration> { Ok(Duration::from_nanos(cpuacct.number_if_there(name)?.unwrap_or_default())) };
    let throttling = cpu.map(|cpu| cpu.keyed("cpu.stat", &["nr_throttled", "throttled_time"])).transpose()?;
    let throttling = throttling.unwrap_or_default();
    let of = |index: usize| throttling.get(index).copied().flatten().unwrap_or_default();
    Ok(CpuStats {
        total: number("cpuacct.usage")?,
        user: number("cpuacct.usage_user")?,
        system: number("cpuacct.usage_sys")?,
        throttled_periods: of(0),
        throttled: Duration::from_nanos(of(1)),
    })
}

fn cpu_v2(group: &Directory) -> Result<CpuStats> {
    let keys = ["usage_usec", "user_usec", "system_usec", "nr_throttled", "throttled_usec"];
    let found: Vec<u64> = group.keyed("cpu.stat", &keys)?.into_iter().map(Option::unwrap_or_default).collect();
    Ok(CpuStats {
        total: Duration::from_micros(found[0]),
        user: Duration::from_micros(found[1]),
        system: Duration::from_micros(found[2]),
        throttled_periods: found[3],
        throttled: Duration::from_micros(found[4]),
    })
}

fn memory_v1(group: &Directory) -> Result<MemoryStats> {
    let keys = ["total_inactive_file", "total_swap", "hierarchical_memory_limit"];
    let found = group.keyed("memory.stat", &keys)?;
    Ok(MemoryStats {
        usage: group.number_if_there("memory.usage_in_bytes")?.unwrap_or_default(),
        peak: group.number_if_there("memory.max_usage_in_bytes")?,
        // "No limit" is the largest number of whole pages here.
        limit: found[2].filter(|&limit| limit < i64::MAX.unsigned_abs() - (1 << 20)),
        inactive_file: found[0].unwrap_or_default(),
        swap: found[1],
        oom_kills: 0,
    })
}

fn memory_v2(group: &Directory) -> Result<MemoryStats> {
    Ok(MemoryStats {
        usage: group.number_if_there("memory.current")?.unwrap_or_default(),
        peak: group.number_if_there("memory.peak")?,
        limit: group.number_if_there("memory.max")?.filter(|&limit| limit != u64::MAX),
        inactive_file: group.keyed("memory.stat", &["inactive_file"])?[0].unwrap_or_default(),
        swap: group.number_if_there("memory.swap.current")?,
        oom_kills: 0,
    })
}

fn oom_kills(part: &Part) -> Result<u64> {
    let name = if part.v2 { "memory.events" } else { "memory.oom_control" };
    Ok(part.directory.keyed(name, &["oom_kill"])?[0].unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fake::Fake;

    #[test]
    fn v2_files() {
        let fake = Fake::new(&[
            ("cpu.stat", "usage_usec 2500\nuser_usec 2000\nsystem_usec 500\nnr_throttled 3\nthrottled_usec 7\n"),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 1\nfile 2\ninactive_file 1024\n"),
            ("memory.events", "low 0\noom 1\noom_kill 2\n"),
        ]);
        let group = Cgroup { parts: vec![fake.v2(Controller::Memory)] };
        let stats = group.stats().unwrap();
        let memory = stats.memory.unwrap();
        assert_eq!((memory.usage, memory.limit, memory.inactive_file, memory.oom_kills), (4096, None, 1024, 2));
        assert_eq!(stats.cpu.unwrap().total, Duration::from_micros(2500));
        assert_eq!(stats.pids, None);
        assert!(group.oom_killed().unwrap());
    }

    #[test]
    fn v1_files() {
        let fake = Fake::new(&[
            ("memory.usage_in_bytes", "8192\n"),
            ("memory.max_usage_in_bytes", "9000\n"),
            ("memory.stat", "total_inactive_file 100\ntotal_swap 5\nhierarchical_memory_limit 9223372036854771712\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"),
        ]);
        let group = Cgroup { parts: vec![fake.v1(Controller::Memory)] };
        let memory = group.stats().unwrap().memory.unwrap();
        assert_eq!((memory.usage, memory.peak, memory.limit, memory.swap), (8192, Some(9000), None, Some(5)));
        assert!(!group.oom_killed().unwrap());
    }
}
