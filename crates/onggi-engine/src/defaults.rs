//! Policy as data: what a container gets that nobody asked for.

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod masks;
pub(crate) mod mounts;
pub(crate) mod words;

/// The search path where neither image nor request has one; Docker's.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The terminal type of a container with a terminal; the one every terminfo has.
pub(crate) const TERM: &str = "xterm";

/// What `stop` sends where neither image nor request says so.
pub(crate) const STOP_SIGNAL: &str = "SIGTERM";

/// How many seconds `stop` then waits before SIGKILL; Docker's.
pub(crate) const STOP_TIMEOUT_SECS: u32 = 10;

/// The period that processor quotas are counted in, in microseconds: the kernel's own default.
pub(crate) const CPU_PERIOD_MICROS: u64 = 100_000;
