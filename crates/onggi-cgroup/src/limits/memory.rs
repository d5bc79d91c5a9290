//! `linux.resources.memory`.

use onggi_oci::runtime::LinuxMemory;
use onggi_sys::Errno;

use super::{meaningless, or_max};
use crate::attribute::Directory;
use crate::group::Part;
use crate::{Error, Result};

/// Whether anything is asked for. `kernel` is not: kernels since 5.16 refuse it and it has long been out of use, so
/// all runtimes pass over it; nor is `useHierarchy`, which kernels since 5.11 do always.
pub(crate) fn asks(memory: &LinuxMemory) -> bool {
    let limits = [memory.limit(), memory.swap(), memory.reservation(), memory.kernel_tcp()];
    limits.into_iter().flatten().any(|limit| limit != 0)
        || memory.swappiness().is_some()
        || memory.disable_oom_killer() == Some(true)
}

/// Puts the limits on. Zero means "not set", -1 "no limit", as everywhere in the specification's memory section.
pub(crate) fn set(part: &Part, memory: &LinuxMemory) -> Result<()> {
    if part.v2 { set_v2(&part.directory, memory) } else { set_v1(&part.directory, memory) }
}

fn set_v1(group: &Directory, memory: &LinuxMemory) -> Result<()> {
    check_usage(group, "memory.usage_in_bytes", memory)?;
    set_limits_v1(group, wanted(memory.limit()), wanted(memory.swap()))?;
    for (name, value) in
        [("memory.soft_limit_in_bytes", memory.reservation()), ("memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp())]
    {
        if let Some(value) = wanted(value) {
            group.write(name, value.to_string())?;
        }
    }
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            return Err(meaningless("memory.swappiness", &swappiness, "is more than 100"));
        }
        group.write("memory.swappiness", swappiness.to_string())?;
    }
    if memory.disable_oom_killer() == Some(true) {
        group.write("memory.oom_control", "1")?;
    }
    Ok(())
}

/// The kernel demands memory <= memory+swap at every moment, so the order depends on where the limits come from.
fn set_limits_v1(group: &Directory, limit: Option<i64>, swap: Option<i64>) -> Result<()> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    // No limit on memory and an old one on memory and swap together cannot be.
    let swap = swap.or((limit == Some(-1) && group.has(SWAP)).then_some(-1));
    let (Some(limit), Some(swap)) = (limit, swap) else {
        return [(LIMIT, limit), (SWAP, swap)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .try_for_each(|(name, value)| group.write(name, value.to_string()));
    };
    if swap >= 0 && (limit < 0 || swap < limit) {
        return Err(meaningless("memory.swap", &swap, "is less than memory.limit; it counts memory and swap together"));
    }
    let now = group.number_if_there(LIMIT)?.unwrap_or(0);
    let grows = swap < 0 || u64::try_from(swap).is_ok_and(|swap| now < swap);
    let order = if grows { [(SWAP, swap), (LIMIT, limit)] } else { [(LIMIT, limit), (SWAP, swap)] };
    order.into_iter().try_for_each(|(name, value)| group.write(name, value.to_string()))
}

fn set_v2(group: &Directory, memory: &LinuxMemory) -> Result<()> {
    if let Some(swappiness) = memory.swappiness() {
        return Err(meaningless("memory.swappiness", &swappiness, "has no meaning on cgroup v2"));
    }
    if memory.disable_oom_killer() == Some(true) {
        return Err(meaningless("memory.disableOOMKiller", &true, "has no meaning on cgroup v2"));
    }
    if let Some(kernel_tcp) = wanted(memory.kernel_tcp()) {
        return Err(meaningless("memory.kernelTCP", &kernel_tcp, "has no meaning on cgroup v2"));
    }
    check_usage(group, "memory.current", memory)?;
    if let Some(swap) = swap_v2(memory)? {
        match group.try_write("memory.swap.max", &or_max(swap)) {
            // No swap at all (no file then) is what was asked for, or less.
            Err(source) if source.is(Errno::NOENT) && swap <= 0 => {}
            Err(source) => return Err(group.not_written("memory.swap.max", &or_max(swap), source)),
            Ok(()) => {}
        }
    }
    for (name, value) in [("memory.max", memory.limit()), ("memory.low", memory.reservation())] {
        if let Some(value) = wanted(value) {
            group.write(name, or_max(value))?;
        }
    }
    Ok(())
}

/// v2 limits swap by itself, the specification memory and swap together.
fn swap_v2(memory: &LinuxMemory) -> Result<Option<i64>> {
    let refuse = |swap, why| Err(meaningless("memory.swap", &swap, why));
    match (wanted(memory.limit()), wanted(memory.swap())) {
        (Some(limit), None) if limit < 0 => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(swap)) if swap < 0 => Ok(Some(-1)),
        (None, Some(swap)) => refuse(swap, "needs memory.limit beside it"),
        (Some(limit), Some(swap)) if limit < 0 => refuse(swap, "needs a memory.limit that limits"),
        (Some(limit), Some(swap)) if swap < limit => {
            refuse(swap, "is less than memory.limit; it counts memory and swap together")
        }
        (Some(limit), Some(swap)) => Ok(Some(swap - limit)),
    }
}

fn check_usage(group: &Directory, name: &str, memory: &LinuxMemory) -> Result<()> {
    let limit = wanted(memory.limit()).and_then(|limit| u64::try_from(limit).ok());
    let (Some(true), Some(limit)) = (memory.check_before_update(), limit) else { return Ok(()) };
    let usage = group.number_if_there(name)?.unwrap_or(0);
    if usage < limit {
        return Ok(());
    }
    Err(Error::Value {
        field: "memory.limit".into(),
        value: limit.to_string(),
        why: "is below what the group uses now",
    })
}

fn wanted(value: Option<i64>) -> Option<i64> {
    value.filter(|&value| value != 0).map(|value| value.max(-1))
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::LinuxMemoryBuilder;

    use super::*;
    use crate::Controller;
    use crate::limits::fake::{Fake, told};

    const V1: [(&str, &str); 5] = [
        ("memory.limit_in_bytes", ""),
        ("memory.memsw.limit_in_bytes", ""),
        ("memory.soft_limit_in_bytes", ""),
        ("memory.swappiness", ""),
        ("memory.oom_control", ""),
    ];
    const V2: [(&str, &str); 3] = [("memory.max", ""), ("memory.swap.max", ""), ("memory.low", "")];

    fn memory(limit: i64, swap: i64) -> LinuxMemory {
        LinuxMemoryBuilder::default().limit(limit).swap(swap).build().unwrap()
    }

    #[test]
    fn v1_writes_each_value_to_its_file() {
        let mut files = V1;
        files[0].1 = "0";
        let fake = Fake::new(&files);
        let memory = LinuxMemoryBuilder::default()
            .limit(64 << 20)
            .swap(128 << 20)
            .reservation(32 << 20)
            .swappiness(10u64)
            .disable_oom_killer(true)
            .kernel(1 << 20)
            .build()
            .unwrap();
        set(&fake.v1(Controller::Memory), &memory).unwrap();
        let found = V1.map(|(name, _)| fake.read(name));
        assert_eq!(found, ["67108864", "134217728", "33554432", "10", "1"]);
    }

    #[test]
    fn v2_takes_memory_from_swap() {
        let fake = Fake::new(&V2);
        set(&fake.v2(Controller::Memory), &memory(64 << 20, 64 << 20)).unwrap();
        assert_eq!((fake.read("memory.max"), fake.read("memory.swap.max")), ("67108864".into(), "0".into()));
        let fake = Fake::new(&V2);
        set(&fake.v2(Controller::Memory), &memory(64 << 20, -1)).unwrap();
        assert_eq!(fake.read("memory.swap.max"), "max");
        let fake = Fake::new(&V2);
        set(&fake.v2(Controller::Memory), &memory(-1, 0)).unwrap();
        assert_eq!((fake.read("memory.max"), fake.read("memory.swap.max")), ("max".into(), "max".into()));
    }

    #[test]
    fn swap_below_memory_is_refused_on_both() {
        let (v1, v2) = (Fake::new(&V1), Fake::new(&V2));
        for part in [v1.v1(Controller::Memory), v2.v2(Controller::Memory)] {
            let error = set(&part, &memory(64 << 20, 1 << 20)).unwrap_err();
            assert!(told(&error).starts_with("memory.swap of 1048576 is less than memory.limit"), "{}", told(&error));
        }
    }

    #[test]
    fn a_machine_without_swap_takes_no_swap() {
        let fake = Fake::new(&[("memory.max", "")]);
        set(&fake.v2(Controller::Memory), &memory(64 << 20, 64 << 20)).unwrap();
        let error = set(&fake.v2(Controller::Memory), &memory(64 << 20, 65 << 20)).unwrap_err();
        assert!(told(&error).contains("cannot write \"1048576\" to"), "{}", told(&error));
    }

    #[test]
    fn an_update_below_the_usage_can_be_refused() {
        let fake = Fake::new(&[("memory.max", ""), ("memory.current", "5000000\n")]);
        let memory = LinuxMemoryBuilder::default().limit(4_000_000).check_before_update(true).build().unwrap();
        let error = set(&fake.v2(Controller::Memory), &memory).unwrap_err();
        assert_eq!(told(&error), "memory.limit of 4000000 is below what the group uses now");
        assert_eq!(fake.read("memory.max"), "");
    }

    #[test]
    fn empty_sections_ask_for_nothing() {
        assert!(!asks(&LinuxMemory::default()));
        assert!(!asks(&LinuxMemoryBuilder::default().disable_oom_killer(false).limit(0).build().unwrap()));
        assert!(asks(&memory(1, 0)));
    }
}
