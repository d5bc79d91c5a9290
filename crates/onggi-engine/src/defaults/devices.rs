//! What the device controller lets a container do.

/// A rule of the device controller; `None` stands for every number.
pub(crate) struct Rule {
    /// `c` or `b`.
    pub(crate) kind: char,
    /// Major number.
    pub(crate) major: Option<i64>,
    /// Minor number.
    pub(crate) minor: Option<i64>,
    /// Of `r`ead, `w`rite, `m`knod.
    pub(crate) access: &'static str,
}

const fn rule(kind: char, major: Option<i64>, minor: Option<i64>, access: &'static str) -> Rule {
    Rule { kind, major, minor, access }
}

/// Allowed, after everything was denied.
pub(crate) const ALLOWED: [Rule; 11] = [
    // Any node may be made (image builders unpack them), none of these may be opened.
    rule('c', None, None, "m"),
    rule('b', None, None, "m"),
    // null, zero, full, random, urandom
    rule('c', Some(1), Some(3), "rwm"),
    rule('c', Some(1), Some(5), "rwm"),
    rule('c', Some(1), Some(7), "rwm"),
    rule('c', Some(1), Some(8), "rwm"),
    rule('c', Some(1), Some(9), "rwm"),
    // tty, console, ptmx, and the terminals of the container's own devpts
    rule('c', Some(5), Some(0), "rwm"),
    rule('c', Some(5), Some(1), "rwm"),
    rule('c', Some(5), Some(2), "rwm"),
    rule('c', Some(136), None, "rwm"),
];

/// Names in the host's `/dev` that a privileged container does not get: mounts with a life of their own, and the
/// console that the runtime makes.
pub(crate) const NOT_FROM_HOST: [&str; 9] =
    ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "hugepages"];
