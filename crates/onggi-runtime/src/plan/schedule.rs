//! When and where the process runs: `process.scheduler` and `process.execCPUAffinity`.

use onggi_oci::runtime::{ExecCPUAffinity, LinuxSchedulerFlag, LinuxSchedulerPolicy, Scheduler};
use onggi_sys::schedule::Attributes;

use crate::{Error, Result};

/// The processors that a process added to a container may run on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Before it is in the control group.
    pub(crate) initial: Option<Vec<usize>>,
    /// From then on.
    pub(crate) lasting: Option<Vec<usize>>,
}

impl Affinity {
    pub(crate) fn new(asked: &ExecCPUAffinity, at: &str) -> Result<Self> {
        let list = |text: Option<&String>, name: &str| match text.map(String::as_str) {
            None | Some("") => Ok(None),
            Some(text) => processors(text)
                .map(Some)
                .ok_or_else(|| Error::invalid(format!("{at}.{name}"), format!("`{}` is no list", text.escape_debug()))),
        };
        let (initial, lasting) = (asked.initial().as_ref(), asked.cpu_affinity_final().as_ref());
        Ok(Self { initial: list(initial, "initial")?, lasting: list(lasting, "final")? })
    }
}

/// The numbers of a list like `0-3,7`.
fn processors(text: &str) -> Option<Vec<usize>> {
    const MOST: usize = 65_536;
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|&number| number < MOST);
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

/// The scheduler's attributes as the kernel takes them.
pub(crate) fn attributes(asked: &Scheduler, at: &str) -> Result<Attributes> {
    let priority = asked.priority().unwrap_or(0);
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    Ok(Attributes {
        policy,
        flags: asked.flags().iter().flatten().fold(0, |flags, flag| flags | bit(*flag)),
        nice: asked.nice().unwrap_or(0),
        priority: u32::try_from(priority)
            .map_err(|_| Error::invalid(format!("{at}.priority"), format!("{priority} is negative")))?,
        runtime: asked.runtime().unwrap_or(0),
        deadline: asked.deadline().unwrap_or(0),
        period: asked.period().unwrap_or(0),
        ..Attributes::default()
    })
}

fn bit(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(processors("0-3,7"), Some(vec![0, 1, 2, 3, 7]));
        for text in ["", "x", "3-1", "1-", "0,,1", "99999999"] {
            assert_eq!(processors(text), None, "{text}");
        }
    }
}
