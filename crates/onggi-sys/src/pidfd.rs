//! Processes by descriptor: pidfd_open(2) and what it serves. A pid may name another process a moment later, a pidfd
//! never does.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags};

use crate::{Error, Result, file};

pub use rustix::process::Signal;

/// A descriptor of the process `pid`. pidfd_open(2).
///
/// # Errors
/// `ESRCH` if there is no such process, or the caller's mistake of a pid below 1.
pub fn open(pid: i32) -> Result<OwnedFd> {
    let failed = |errno| Error::new("pidfd_open", pid.to_string(), errno);
    let id = Pid::from_raw(pid).filter(|_| pid > 0).ok_or_else(|| failed(Errno::SRCH))?;
    rustix::process::pidfd_open(id, PidfdFlags::empty()).map_err(failed)
}

/// Sends `signal` to the process behind `pidfd`. pidfd_send_signal(2).
pub fn send_signal(pidfd: impl AsFd, signal: Signal) -> Result<()> {
    rustix::process::pidfd_send_signal(&pidfd, signal)
        .map_err(|errno| Error::new("pidfd_send_signal", format!("{signal:?}"), errno))
}

/// Waits until the process behind `pidfd` has ended, at most `timeout` (`None` is without end); says whether it has.
/// poll(2).
pub fn wait_exited(pidfd: impl AsFd, timeout: Option<std::time::Duration>) -> Result<bool> {
    let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
    retry_on_intr(|| {
        let left = deadline.map(|at| at.saturating_duration_since(std::time::Instant::now()));
        let left =
            left.map(|left| file::Timespec::try_from(left).unwrap_or(file::Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, left.as_ref())
    })
    .map(|ready| ready > 0)
    .map_err(|errno| Error::new("poll", "pidfd", errno))
}
