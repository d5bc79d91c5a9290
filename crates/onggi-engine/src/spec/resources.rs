//! Limits.

use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder};

use super::{COMPLETE, devices};
use crate::host::Host;
use crate::record::Record;
use crate::{RequestError, Resources, defaults};

/// What the control group holds the container to.
pub(super) fn build(record: &Record, host: &Host) -> Result<LinuxResources, RequestError> {
    let limits = &record.resources;
    check(limits, host)?;
    let mut resources = LinuxResourcesBuilder::default().build().expect(COMPLETE);
    if !host.rootless {
        // An ordinary user's processes cannot open the other devices anyway, and may not load the filter.
        resources.set_devices(Some(devices::rules(record.security.privileged)));
    }
    if let Some(memory) = limits.memory {
        let mut built = LinuxMemoryBuilder::default().limit(signed(memory)).build().expect(COMPLETE);
        built.set_swap(swap(limits, memory, host));
        resources.set_memory(Some(built));
    }
    if let Some(nano_cpus) = limits.nano_cpus {
        let period = defaults::CPU_PERIOD_MICROS;
        let quota = signed(nano_cpus.saturating_mul(period) / BILLION);
        resources.set_cpu(Some(LinuxCpuBuilder::default().period(period).quota(quota).build().expect(COMPLETE)));
    }
    if let Some(pids) = limits.pids.filter(|&pids| pids > 0) {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(pids).build().expect(COMPLETE)));
    }
    Ok(resources)
}

const BILLION: u64 = 1_000_000_000;

/// What docker takes for the least: setting a container up happens inside its limit.
const LEAST_MEMORY: u64 = 6 << 20;

/// Memory and swap together: as asked, else twice the memory, where swap can be limited at all.
fn swap(limits: &Resources, memory: u64, host: &Host) -> Option<i64> {
    limits.memory_swap.filter(|&swap| swap != 0).or_else(|| host.swap_limit.then(|| signed(memory.saturating_mul(2))))
}

fn check(limits: &Resources, host: &Host) -> Result<(), RequestError> {
    let refuse = |why: String| Err(RequestError::Limit(why));
    match (limits.memory, limits.memory_swap.filter(|&swap| swap != 0)) {
        (Some(memory), _) if memory < LEAST_MEMORY => {
            return refuse(format!("a memory limit of {memory} bytes leaves no room for a process: 6m is the least"));
        }
        (None, Some(swap)) if swap > 0 => return refuse("a limit of memory and swap needs a memory limit too".into()),
        (_, Some(swap)) if swap < -1 => return refuse(format!("{swap} is no limit of memory and swap")),
        (Some(memory), Some(swap)) if swap > 0 && swap < signed(memory) => {
            return refuse("the limit of memory and swap is below the memory limit".into());
        }
        _ => {}
    }
    if let Some(nano_cpus) = limits.nano_cpus {
        // The kernel takes no quota below a hundredth of a period.
        if nano_cpus < BILLION / 100 || nano_cpus > u64::from(host.cpus) * BILLION {
            return refuse(format!(
                "the number of processors must be between 0.01 and {}.00: there are {} here",
                host.cpus, host.cpus
            ));
        }
    }
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
