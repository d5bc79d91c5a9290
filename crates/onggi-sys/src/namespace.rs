//! Namespaces: left for a new one, joined by descriptor.

use std::os::fd::{AsFd, AsRawFd};

use crate::{Error, Result};

/// `CLONE_NEWNS`: mount points.
pub const MOUNT: u64 = 0x0002_0000;
/// `CLONE_NEWCGROUP`: the root of the control group paths.
pub const CGROUP: u64 = 0x0200_0000;
/// `CLONE_NEWUTS`: host and domain name.
pub const UTS: u64 = 0x0400_0000;
/// `CLONE_NEWIPC`: System V IPC and POSIX message queues.
pub const IPC: u64 = 0x0800_0000;
/// `CLONE_NEWUSER`: users, groups and capabilities.
pub const USER: u64 = 0x1000_0000;
/// `CLONE_NEWPID`: process ids.
pub const PID: u64 = 0x2000_0000;
/// `CLONE_NEWNET`: network devices and all that hangs on them.
pub const NET: u64 = 0x4000_0000;
/// `CLONE_NEWTIME`: monotonic and boot time.
pub const TIME: u64 = 0x0000_0080;

/// Leaves the namespaces in `set` for new ones. unshare(2).
pub fn unshare(set: u64) -> Result<()> {
    let flags = i32::try_from(set).map_err(|_| Error::new("unshare", format!("{set:#x}"), crate::Errno::INVAL))?;
    // SAFETY: takes a number. No memory or descriptor table is unshared by namespace flags.
    if unsafe { libc::unshare(flags) } == 0 { Ok(()) } else { Err(Error::last_os("unshare", format!("{set:#x}"))) }
}

/// Joins the namespace behind `fd`, or those in `set` of the process behind a pidfd (Linux 5.8). setns(2).
pub fn join(fd: impl AsFd, set: u64) -> Result<()> {
    let flags = i32::try_from(set).map_err(|_| Error::new("setns", format!("{set:#x}"), crate::Errno::INVAL))?;
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: takes numbers; the descriptor is open.
    if unsafe { libc::setns(fd, flags) } == 0 {
        Ok(())
    } else {
        Err(Error::last_os("setns", format!("{fd}, {set:#x}")))
    }
}

/// The kernel's name for a kind of namespace, as in `/proc/PID/ns`.
pub fn name(kind: u64) -> &'static str {
    match kind {
        MOUNT => "mnt",
        CGROUP => "cgroup",
        UTS => "uts",
        IPC => "ipc",
        USER => "user",
        PID => "pid",
        NET => "net",
        TIME => "time",
        _ => "unknown",
    }
}

/// Brings the interface `lo` of the caller's network namespace up. ioctl `SIOCSIFFLAGS`.
pub fn bring_loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| Error::new("socket", "AF_INET, DGRAM", errno))?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or(0);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the request is a whole ifreq and outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } == 0 {
        Ok(())
    } else {
        Err(Error::last_os("ioctl", "SIOCSIFFLAGS, lo, UP"))
    }
}
