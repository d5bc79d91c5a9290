//! What the machine allows, asked once per command and handed to what decides.

use std::path::Path;

use oci_spec::runtime::Capability;

/// Facts about this machine and this process that a specification depends on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// The capabilities that a process of ours can give away.
    pub(crate) bounding: Vec<Capability>,
    /// Whether we are an ordinary user's, root only in a user namespace of our own.
    pub(crate) rootless: bool,
    /// Whether the group of terminals exists for us: an ordinary user may have but one id.
    pub(crate) terminal_group: bool,
    /// How many processors there are for us.
    pub(crate) cpus: u32,
    /// Whether swap can be limited.
    pub(crate) swap_limit: bool,
    /// Whether clocks can be private (since Linux 5.6).
    pub(crate) time_namespaces: bool,
    /// Whether SELinux labels mean something.
    pub(crate) selinux: bool,
    /// The kernel's version, major and minor.
    pub(crate) kernel: (u32, u32),
}

impl Host {
    /// Asks the kernel.
    pub(crate) fn probe(rootless: bool) -> Self {
        Self {
            bounding: bounding_set(),
            rootless,
            terminal_group: !rootless || maps(&read("/proc/self/gid_map"), TERMINAL_GROUP),
            cpus: std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
            swap_limit: swap_limit(),
            time_namespaces: Path::new("/proc/self/ns/time").exists(),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
            kernel: kernel(&read("/proc/sys/kernel/osrelease")),
        }
    }
}

/// The group that owns terminals, in every distribution.
const TERMINAL_GROUP: u64 = 5;

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Whether `map` (user_namespaces(7)) has an id outside for `id` inside.
fn maps(map: &str, id: u64) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let (inside, _, count) = (numbers.next(), numbers.next(), numbers.next());
        inside.zip(count).is_some_and(|(inside, count)| (inside..inside.saturating_add(count)).contains(&id))
    })
}

/// Both hierarchies show a file for the limit exactly where swap is accounted.
fn swap_limit() -> bool {
    Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
        || (Path::new("/sys/fs/cgroup/cgroup.controllers").exists() && Path::new("/proc/swaps").exists())
}

/// The two numbers that a release such as `6.1.0-13-amd64` begins with; 0.0 knows nothing new.
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn bounding_set() -> Vec<Capability> {
    let set = onggi_sys::capability::bounding();
    NUMBERED.iter().filter(|(number, _)| set >> number & 1 == 1).map(|&(_, capability)| capability).collect()
}

/// Capabilities by number: linux/capability.h.
const NUMBERED: [(u32, Capability); 41] = [
    (0, Capability::Chown),
    (1, Capability::DacOverride),
    (2, Capability::DacReadSearch),
    (3, Capability::Fowner),
    (4, Capability::Fsetid),
    (5, Capability::Kill),
    (6, Capability::Setgid),
    (7, Capability::Setuid),
    (8, Capability::Setpcap),
    (9, Capability::LinuxImmutable),
    (10, Capability::NetBindService),
    (11, Capability::NetBroadcast),
    (12, Capability::NetAdmin),
    (13, Capability::NetRaw),
    (14, Capability::IpcLock),
    (15, Capability::IpcOwner),
    (16, Capability::SysModule),
    (17, Capability::SysRawio),
    (18, Capability::SysChroot),
    (19, Capability::SysPtrace),
    (20, Capability::SysPacct),
    (21, Capability::SysAdmin),
    (22, Capability::SysBoot),
    (23, Capability::SysNice),
    (24, Capability::SysResource),
    (25, Capability::SysTime),
    (26, Capability::SysTtyConfig),
    (27, Capability::Mknod),
    (28, Capability::Lease),
    (29, Capability::AuditWrite),
    (30, Capability::AuditControl),
    (31, Capability::Setfcap),
    (32, Capability::MacOverride),
    (33, Capability::MacAdmin),
    (34, Capability::Syslog),
    (35, Capability::WakeAlarm),
    (36, Capability::BlockSuspend),
    (37, Capability::AuditRead),
    (38, Capability::Perfmon),
    (39, Capability::Bpf),
    (40, Capability::CheckpointRestore),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_ids() {
        assert!(maps("         0          0 4294967295\n", 5));
        assert!(maps("0 1000 1\n1 100000 65536\n", 5));
        assert!(!maps("0 1000 1\n", 5));
        assert!(!maps("", 5));
    }

    #[test]
    fn releases() {
        for (text, expected) in
            [("6.1.0-13-amd64\n", (6, 1)), ("5.10", (5, 10)), ("7", (7, 0)), ("", (0, 0)), ("x", (0, 0))]
        {
            assert_eq!(kernel(text), expected, "{text}");
        }
    }
}
