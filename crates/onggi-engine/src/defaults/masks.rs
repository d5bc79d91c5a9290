//! Paths of `/proc` and `/sys` that tell of the host or change it.

/// Covered by something empty.
pub(crate) const MASKED: [&str; 12] = [
    // Hardware, interrupts and power: side channels, and knobs.
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// The part of a processor's path below [`CPUS`] that tells how hot the neighbours run.
pub(crate) const CPU_THROTTLE: &str = "thermal_throttle";

/// Where processors are listed.
pub(crate) const CPUS: &str = "/sys/devices/system/cpu";

/// Left to read.
pub(crate) const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
