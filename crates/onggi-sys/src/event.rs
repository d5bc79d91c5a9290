//! Waiting for descriptors: poll(2), and signals as one of them: signalfd(2).

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::{Error, Result};

pub use rustix::event::{PollFd, PollFlags, Timespec};

/// Waits until something in `fds` is ready, a signal arrives or `timeout` is over; how many are ready (0: time over
/// or a signal). ppoll(2).
///
/// Without a timeout it waits for ever.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize> {
    let limit = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    match rustix::event::poll(fds, limit.as_ref()) {
        Ok(ready) => Ok(ready),
        Err(Errno::INTR) => Ok(0),
        Err(errno) => Err(Error::new("ppoll", format!("{} descriptors", fds.len()), errno)),
    }
}

/// Whether `fd` becomes readable (or its other end closes) within `timeout`.
pub fn readable(fd: impl AsFd, timeout: Duration) -> Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(timeout)).map(|ready| ready > 0)
}

/// Makes reads and writes on the open file answer `EAGAIN` rather than wait. fcntl(2) `F_SETFL`.
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let failed = |errno| Error::new("fcntl", "O_NONBLOCK", errno);
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(failed)?;
    rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK).map_err(failed)
}

/// Reads from a non-blocking file: 0 at the end, `None` if there is nothing now. read(2).
pub fn try_read(fd: impl AsFd, buffer: &mut [u8]) -> Result<Option<usize>> {
    match rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *buffer)) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(Error::new("read", crate::file::name_of(&fd).display().to_string(), errno)),
    }
}

/// Writes to a non-blocking file as much as it takes; `None` if it takes nothing now. write(2).
pub fn try_write(fd: impl AsFd, data: &[u8]) -> Result<Option<usize>> {
    match rustix::io::retry_on_intr(|| rustix::io::write(&fd, data)) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(Error::new("write", crate::file::name_of(&fd).display().to_string(), errno)),
    }
}

/// Signals that are read rather than handled; the mask before is put back when this is dropped.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl Signals {
    /// Takes `wanted` out of their usual course: they stay blocked for the calling thread and are read here.
    pub fn take(wanted: &[i32]) -> Result<Self> {
        Self::with_mask(wanted, libc::SIG_BLOCK)
    }

    /// The same, with every other signal unblocked: for a program that began with all of them blocked.
    pub fn take_only(wanted: &[i32]) -> Result<Self> {
        Self::with_mask(wanted, libc::SIG_SETMASK)
    }

    fn with_mask(wanted: &[i32], how: libc::c_int) -> Result<Self> {
        // SAFETY: both sets are plain memory that the calls fill; the descriptor is new and nobody else's.
        unsafe {
            let (mut set, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigemptyset(&raw mut set);
            for &signal in wanted {
                libc::sigaddset(&raw mut set, signal);
            }
            match libc::pthread_sigmask(how, &raw const set, &raw mut before) {
                0 => {}
                errno => return Err(Error::new("pthread_sigmask", "", Errno::from_raw_os_error(errno))),
            }
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                fd if fd < 0 => Err(Error::last_os("signalfd4", format!("{wanted:?}"))),
                fd => Ok(Self { fd: OwnedFd::from_raw_fd(fd), before }),
            }
        }
    }

    /// The next signal that has arrived; `None` if none has.
    pub fn next(&self) -> Result<Option<i32>> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match crate::file::read(&self.fd, &mut info) {
            // The number is the first field of the structure.
            Ok(_) => Ok(info.first_chunk().map(|&number| i32::from_ne_bytes(number))),
            Err(error) if error.is(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: `before` was filled when this was made.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Leaves `signal` without effect on this process and those it becomes. signal(2) `SIG_IGN`.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: no handler of ours is involved.
    match unsafe { libc::signal(signal, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(Error::last_os("signal", format!("{signal}, SIG_IGN"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read() {
        let signals = Signals::take(&[libc::SIGUSR2]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        // SAFETY: goes to this thread, where it is blocked.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        assert!(readable(&signals, Duration::from_secs(5)).unwrap());
        assert_eq!(signals.next().unwrap(), Some(libc::SIGUSR2));
    }

    #[test]
    fn sees_what_is_ready_and_gives_up_in_time() {
        let (ours, theirs) = crate::unix::pair().unwrap();
        assert!(!readable(&ours, Duration::from_millis(1)).unwrap());
        crate::unix::write(&theirs, b"x").unwrap();
        assert!(readable(&ours, Duration::from_secs(5)).unwrap());
    }
}
