//! `linux.resources.cpu`, without the choice of processors.

use onggi_oci::runtime::LinuxCpu;
use onggi_sys::Errno;

use super::meaningless;
use crate::Result;
use crate::attribute::Directory;
use crate::group::Part;

/// The period of a fresh group.
const USUAL_PERIOD: u64 = 100_000;
/// The shares that the kernel takes as they are; beyond them v1 clamps in silence.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// Whether processor time is limited or weighed.
pub(crate) fn asks(cpu: &LinuxCpu) -> bool {
    let numbers = [cpu.shares(), cpu.period(), cpu.realtime_period()];
    let signed = [cpu.quota(), cpu.realtime_runtime()];
    numbers.into_iter().flatten().any(|number| number != 0)
        || signed.into_iter().flatten().any(|number| number != 0)
        || cpu.burst().is_some()
        || cpu.idle().is_some()
}

/// Puts the limits on. Zero shares, quota or period mean "not set"; a negative quota is none.
pub(crate) fn set(part: &Part, cpu: &LinuxCpu) -> Result<()> {
    if let Some(idle) = cpu.idle().filter(|idle| ![0, 1].contains(idle)) {
        return Err(meaningless("cpu.idle", &idle, "is neither 0 nor 1"));
    }
    if let Some(shares) = shares(cpu).filter(|shares| !SHARES.contains(shares)) {
        return Err(meaningless("cpu.shares", &shares, "is not between 2 and 262144"));
    }
    if part.v2 { set_v2(&part.directory, cpu) } else { set_v1(&part.directory, cpu) }
}

fn set_v1(group: &Directory, cpu: &LinuxCpu) -> Result<()> {
    set_weight(group, cpu, "cpu.shares", |shares| shares)?;
    set_realtime(group, cpu)?;
    let period = cpu.period().filter(|&period| period != 0).map(|period| ("cpu.cfs_period_us", period.to_string()));
    let quota = cpu.quota().filter(|&quota| quota != 0).map(|quota| ("cpu.cfs_quota_us", quota.max(-1).to_string()));
    let burst = cpu.burst().map(|burst| ("cpu.cfs_burst_us", burst.to_string()));
    let mut writes: Vec<(&str, String)> = [period, quota, burst].into_iter().flatten().collect();
    in_some_order(group, &mut writes)
}

/// Writes values of which each must fit the others at every moment: one that is refused now goes last.
fn in_some_order(group: &Directory, writes: &mut Vec<(&str, String)>) -> Result<()> {
    let mut refused_in_a_row = 0;
    while !writes.is_empty() {
        let (name, value) = writes.remove(0);
        match group.try_write(name, &value) {
            Ok(()) => refused_in_a_row = 0,
            Err(source) if source.is(Errno::INVAL) && refused_in_a_row < writes.len() => {
                refused_in_a_row += 1;
                writes.push((name, value));
            }
            Err(source) => return Err(group.not_written(name, &value, source)),
        }
    }
    Ok(())
}

fn set_realtime(group: &Directory, cpu: &LinuxCpu) -> Result<()> {
    let period = cpu.realtime_period().filter(|&period| period != 0);
    let runtime = cpu.realtime_runtime().filter(|&runtime| runtime != 0);
    let period = period.map(|period| ("cpu.rt_period_us", period.to_string()));
    let runtime = runtime.map(|runtime| ("cpu.rt_runtime_us", runtime.to_string()));
    in_some_order(group, &mut [period, runtime].into_iter().flatten().collect())
}

fn set_v2(group: &Directory, cpu: &LinuxCpu) -> Result<()> {
    if let Some(runtime) = cpu.realtime_runtime().filter(|&runtime| runtime != 0) {
        return Err(meaningless("cpu.realtimeRuntime", &runtime, "has no meaning on cgroup v2"));
    }
    if let Some(period) = cpu.realtime_period().filter(|&period| period != 0) {
        return Err(meaningless("cpu.realtimePeriod", &period, "has no meaning on cgroup v2"));
    }
    set_weight(group, cpu, "cpu.weight", weight)?;
    let burst = cpu.burst().map(|burst| ("cpu.max.burst", burst.to_string()));
    let bandwidth = bandwidth(group, cpu)?.map(|bandwidth| ("cpu.max", bandwidth));
    in_some_order(group, &mut [bandwidth, burst].into_iter().flatten().collect())
}

/// The line for `cpu.max`; the half that is not asked for stays what it is.
fn bandwidth(group: &Directory, cpu: &LinuxCpu) -> Result<Option<String>> {
    let quota = cpu.quota().filter(|&quota| quota != 0).map(super::or_max);
    let period = cpu.period().filter(|&period| period != 0);
    if quota.is_none() && period.is_none() {
        return Ok(None);
    }
    let now = group.read_if_there("cpu.max")?.unwrap_or_default();
    let mut now = now.split_whitespace();
    let quota = quota.or_else(|| now.next().map(str::to_owned)).unwrap_or_else(|| "max".to_owned());
    Ok(Some(format!("{quota} {}", period.unwrap_or(USUAL_PERIOD))))
}

/// An idle group has no weight of its own, and the kernel refuses to give it one.
fn set_weight(group: &Directory, cpu: &LinuxCpu, name: &str, convert: fn(u64) -> u64) -> Result<()> {
    if let Some(idle) = cpu.idle() {
        group.write("cpu.idle", idle.to_string())?;
    }
    match shares(cpu) {
        Some(shares) if cpu.idle() != Some(1) => group.write(name, convert(shares).to_string()),
        _ => Ok(()),
    }
}

fn shares(cpu: &LinuxCpu) -> Option<u64> {
    cpu.shares().filter(|&shares| shares != 0)
}

/// v1's shares as v2's weight, by the curve through (2, 1), (1024, 100) and (262144, 10000) on which runtimes agree
/// since 2025: unlike the straight line before it, it keeps the default at the default.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 262144")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::LinuxCpuBuilder;

    use super::*;
    use crate::Controller;
    use crate::limits::fake::{Fake, told};

    #[test]
    fn the_curve_goes_through_its_three_points() {
        for (shares, expected) in [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (2048, 174), (100, 17)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn v1_writes_each_value_to_its_file() {
        let fake = Fake::new(&[
            ("cpu.shares", ""),
            ("cpu.cfs_period_us", ""),
            ("cpu.cfs_quota_us", ""),
            ("cpu.cfs_burst_us", ""),
            ("cpu.rt_period_us", ""),
            ("cpu.rt_runtime_us", ""),
        ]);
        let cpu = LinuxCpuBuilder::default()
            .shares(512u64)
            .quota(50_000)
            .period(200_000u64)
            .burst(1000u64)
            .realtime_period(1_000_000u64)
            .realtime_runtime(5000)
            .build()
            .unwrap();
        set(&fake.v1(Controller::Cpu), &cpu).unwrap();
        let names = ["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us", "cpu.rt_runtime_us"];
        assert_eq!(names.map(|name| fake.read(name)), ["512", "200000", "50000", "1000", "5000"]);
    }

    #[test]
    fn v2_keeps_the_half_of_cpu_max_that_is_not_asked_for() {
        for (now, quota, period, expected) in [
            ("", 50_000, 0u64, "50000 100000"),
            ("20000 100000", 0, 50_000, "20000 50000"),
            ("", -1, 0, "max 100000"),
            ("", 7, 8, "7 8"),
        ] {
            let fake = Fake::new(&[("cpu.max", now)]);
            let cpu = LinuxCpuBuilder::default().quota(quota).period(period).build().unwrap();
            assert_eq!(bandwidth(&fake.v2(Controller::Cpu).directory, &cpu).unwrap().as_deref(), Some(expected));
        }
    }

    #[test]
    fn an_idle_group_gets_no_weight() {
        let fake = Fake::new(&[("cpu.idle", ""), ("cpu.weight", "")]);
        let cpu = LinuxCpuBuilder::default().idle(1).shares(1024u64).build().unwrap();
        set(&fake.v2(Controller::Cpu), &cpu).unwrap();
        assert_eq!((fake.read("cpu.idle"), fake.read("cpu.weight")), ("1".into(), String::new()));
    }

    #[test]
    fn values_that_the_kernel_would_bend_are_refused() {
        let fake = Fake::new(&[]);
        let refused = |cpu: &LinuxCpu, v2: bool| {
            let part = if v2 { fake.v2(Controller::Cpu) } else { fake.v1(Controller::Cpu) };
            told(&set(&part, cpu).unwrap_err())
        };
        let shares = LinuxCpuBuilder::default().shares(1u64).build().unwrap();
        assert_eq!(refused(&shares, false), "cpu.shares of 1 is not between 2 and 262144");
        let idle = LinuxCpuBuilder::default().idle(2).build().unwrap();
        assert_eq!(refused(&idle, false), "cpu.idle of 2 is neither 0 nor 1");
        let realtime = LinuxCpuBuilder::default().realtime_runtime(5).build().unwrap();
        assert_eq!(refused(&realtime, true), "cpu.realtimeRuntime of 5 has no meaning on cgroup v2");
    }
}
