//! The process: what execve(2) gets, and what it is when it gets it.

use std::ffi::CString;
use std::path::PathBuf;

use onggi_oci::runtime::{Capabilities, Capability, IOPriorityClass, LinuxCapabilities, PosixRlimitType, Process};
use onggi_sys::process::{Resource, Rlimit};

use super::schedule::{self, Affinity};
use crate::{Error, Result};

/// A process, checked.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
    pub(crate) capabilities: CapabilityPlan,
    pub(crate) rlimits: Vec<(Resource, Rlimit)>,
    pub(crate) clamp_rlimits: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) apparmor: Option<String>,
    pub(crate) selinux: Option<String>,
    /// Class and level.
    pub(crate) io_priority: Option<(u16, u16)>,
    pub(crate) scheduler: Option<onggi_sys::schedule::Attributes>,
    pub(crate) affinity: Affinity,
    /// Rows and columns.
    pub(crate) console_size: Option<(u16, u16)>,
}

/// The five sets, a bit for each capability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilityPlan {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
    pub(crate) ambient: u64,
}

impl ProcessPlan {
    /// Checks `process`, which stands at the JSON path `at`.
    pub(crate) fn new(process: &Process, at: &str, clamp_rlimits: bool) -> Result<Self> {
        let args = process.args().as_deref().unwrap_or_default();
        if args.is_empty() {
            return Err(Error::invalid(format!("{at}.args"), "is empty"));
        }
        if !process.cwd().is_absolute() {
            return Err(Error::invalid(format!("{at}.cwd"), "is not an absolute path"));
        }
        let user = process.user();
        Ok(Self {
            args: c_strings(args, &format!("{at}.args"))?,
            env: c_strings(process.env().as_deref().unwrap_or_default(), &format!("{at}.env"))?,
            cwd: process.cwd().clone(),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(0o022) & 0o777,
            capabilities: process.capabilities().as_ref().map(CapabilityPlan::new).unwrap_or_default(),
            rlimits: rlimits(process, at)?,
            clamp_rlimits,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            oom_score_adj: oom_score_adj(process, at)?,
            apparmor: process.apparmor_profile().clone().filter(|profile| !profile.is_empty()),
            selinux: process.selinux_label().clone().filter(|label| !label.is_empty()),
            io_priority: io_priority(process, at)?,
            scheduler: (process.scheduler().as_ref())
                .map(|asked| schedule::attributes(asked, &format!("{at}.scheduler")))
                .transpose()?,
            affinity: (process.exec_cpu_affinity().as_ref())
                .map_or(Ok(Affinity::default()), |asked| Affinity::new(asked, &format!("{at}.execCPUAffinity")))?,
            console_size: console_size(process),
        })
    }

    /// The value of `name` in the environment that the program will have; the first one counts, as for getenv(3).
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.env.iter().find_map(|entry| entry.to_str().ok()?.strip_prefix(name)?.strip_prefix('='))
    }
}

impl CapabilityPlan {
    fn new(capabilities: &LinuxCapabilities) -> Self {
        Self {
            bounding: bits(capabilities.bounding().as_ref()),
            effective: bits(capabilities.effective().as_ref()),
            permitted: bits(capabilities.permitted().as_ref()),
            inheritable: bits(capabilities.inheritable().as_ref()),
            ambient: bits(capabilities.ambient().as_ref()),
        }
    }

    /// Every capability that any set names.
    pub(crate) fn all(self) -> u64 {
        self.bounding | self.effective | self.permitted | self.inheritable | self.ambient
    }

    /// The same without what is not in `possible`.
    pub(crate) fn within(self, possible: u64) -> Self {
        Self {
            bounding: self.bounding & possible,
            effective: self.effective & possible,
            permitted: self.permitted & possible,
            inheritable: self.inheritable & possible,
            ambient: self.ambient & possible,
        }
    }
}

fn bits(set: Option<&Capabilities>) -> u64 {
    set.into_iter().flatten().fold(0, |bits, capability| bits | 1 << number(*capability))
}

macro_rules! capabilities {
    ($($variant:ident $number:literal $name:literal),* $(,)?) => {
        fn number(capability: Capability) -> u32 {
            match capability {
                $(Capability::$variant => $number,)*
            }
        }

        /// The kernel's name of capability number `number`.
        pub(crate) fn capability_name(number: u32) -> &'static str {
            match number {
                $($number => $name,)*
                _ => "CAP_UNKNOWN",
            }
        }

        /// Every capability's name.
        pub(crate) const CAPABILITY_NAMES: &[&str] = &[$($name),*];
    };
}

capabilities! {
    Chown 0 "CAP_CHOWN", DacOverride 1 "CAP_DAC_OVERRIDE", DacReadSearch 2 "CAP_DAC_READ_SEARCH",
    Fowner 3 "CAP_FOWNER", Fsetid 4 "CAP_FSETID", Kill 5 "CAP_KILL", Setgid 6 "CAP_SETGID",
    Setuid 7 "CAP_SETUID", Setpcap 8 "CAP_SETPCAP", LinuxImmutable 9 "CAP_LINUX_IMMUTABLE",
    NetBindService 10 "CAP_NET_BIND_SERVICE", NetBroadcast 11 "CAP_NET_BROADCAST", NetAdmin 12 "CAP_NET_ADMIN",
    NetRaw 13 "CAP_NET_RAW", IpcLock 14 "CAP_IPC_LOCK", IpcOwner 15 "CAP_IPC_OWNER", SysModule 16 "CAP_SYS_MODULE",
    SysRawio 17 "CAP_SYS_RAWIO", SysChroot 18 "CAP_SYS_CHROOT", SysPtrace 19 "CAP_SYS_PTRACE",
    SysPacct 20 "CAP_SYS_PACCT", SysAdmin 21 "CAP_SYS_ADMIN", SysBoot 22 "CAP_SYS_BOOT", SysNice 23 "CAP_SYS_NICE",
    SysResource 24 "CAP_SYS_RESOURCE", SysTime 25 "CAP_SYS_TIME", SysTtyConfig 26 "CAP_SYS_TTY_CONFIG",
    Mknod 27 "CAP_MKNOD", Lease 28 "CAP_LEASE", AuditWrite 29 "CAP_AUDIT_WRITE", AuditControl 30 "CAP_AUDIT_CONTROL",
    Setfcap 31 "CAP_SETFCAP", MacOverride 32 "CAP_MAC_OVERRIDE", MacAdmin 33 "CAP_MAC_ADMIN", Syslog 34 "CAP_SYSLOG",
    WakeAlarm 35 "CAP_WAKE_ALARM", BlockSuspend 36 "CAP_BLOCK_SUSPEND", AuditRead 37 "CAP_AUDIT_READ",
    Perfmon 38 "CAP_PERFMON", Bpf 39 "CAP_BPF", CheckpointRestore 40 "CAP_CHECKPOINT_RESTORE",
}

fn c_strings(strings: &[String], at: &str) -> Result<Vec<CString>> {
    let one = |(index, text): (usize, &String)| {
        CString::new(text.as_bytes()).map_err(|_| Error::invalid(format!("{at}[{index}]"), "holds a NUL byte"))
    };
    strings.iter().enumerate().map(one).collect()
}

fn rlimits(process: &Process, at: &str) -> Result<Vec<(Resource, Rlimit)>> {
    let mut found: Vec<(Resource, Rlimit)> = Vec::new();
    for (index, limit) in process.rlimits().as_deref().unwrap_or_default().iter().enumerate() {
        let at = format!("{at}.rlimits[{index}]");
        let resource = resource(limit.typ());
        if limit.soft() > limit.hard() {
            return Err(Error::invalid(at, format!("soft {} is above hard {}", limit.soft(), limit.hard())));
        }
        if found.iter().any(|(known, _)| *known == resource) {
            return Err(Error::invalid(at, format!("names {} twice", limit.typ())));
        }
        let value = |number| if number == u64::MAX { None } else { Some(number) };
        found.push((resource, Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) }));
    }
    Ok(found)
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

fn oom_score_adj(process: &Process, at: &str) -> Result<Option<i32>> {
    match process.oom_score_adj() {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Error::invalid(format!("{at}.oomScoreAdj"), format!("{score} is not between -1000 and 1000")))
        }
        score => Ok(score),
    }
}

fn io_priority(process: &Process, at: &str) -> Result<Option<(u16, u16)>> {
    let Some(asked) = process.io_priority() else { return Ok(None) };
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(asked.priority()) {
        Ok(level @ 0..=7) => Ok(Some((class, level))),
        _ => Err(Error::invalid(format!("{at}.ioPriority.priority"), "is not between 0 and 7")),
    }
}

fn console_size(process: &Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    Some((u16::try_from(size.height()).ok()?, u16::try_from(size.width()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_its_number() {
        let set: Capabilities = [Capability::Chown, Capability::CheckpointRestore].into_iter().collect();
        assert_eq!(bits(Some(&set)), 1 | 1 << 40);
        assert_eq!(capability_name(21), "CAP_SYS_ADMIN");
        assert_eq!(CAPABILITY_NAMES.len(), 41);
    }
}
