//! The file systems that every container has.

/// A mount: where, what type, from what, how.
pub(crate) struct Entry {
    /// Where.
    pub(crate) destination: &'static str,
    /// The file system's type.
    pub(crate) kind: &'static str,
    /// What mount(8) shows as its source.
    pub(crate) source: &'static str,
    /// As fstab(5) writes them.
    pub(crate) options: &'static [&'static str],
}

/// The option of `/dev/pts` that gives terminals to the group `tty`; left out where that group is not mapped.
pub(crate) const TERMINAL_GROUP: &str = "gid=5";

/// In the order they are mounted.
pub(crate) const DEFAULT: [Entry; 7] = [
    Entry { destination: "/proc", kind: "proc", source: "proc", options: &["nosuid", "noexec", "nodev"] },
    Entry {
        destination: "/dev",
        kind: "tmpfs",
        source: "tmpfs",
        options: &["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    Entry {
        destination: "/dev/pts",
        kind: "devpts",
        source: "devpts",
        // Group 5 is tty in every distribution; mode 620 lets write(1) in and nobody else.
        options: &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", TERMINAL_GROUP],
    },
    Entry { destination: "/sys", kind: "sysfs", source: "sysfs", options: &["nosuid", "noexec", "nodev", "ro"] },
    Entry {
        destination: "/sys/fs/cgroup",
        kind: "cgroup",
        source: "cgroup",
        options: &["ro", "nosuid", "noexec", "nodev"],
    },
    Entry { destination: "/dev/mqueue", kind: "mqueue", source: "mqueue", options: &["nosuid", "noexec", "nodev"] },
    Entry {
        destination: "/dev/shm",
        kind: "tmpfs",
        source: "shm",
        options: &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
];

/// The host's `/sys`, bound read-only with everything below it: sysfs itself cannot be mounted in a user namespace
/// that does not own the network namespace.
pub(crate) const SYS_OF_HOST: Entry = Entry {
    destination: "/sys",
    kind: "none",
    source: "/sys",
    options: &["rbind", "nosuid", "noexec", "nodev", "rro"],
};
