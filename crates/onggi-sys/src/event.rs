//! Descriptors that are waited for, many at a time: poll(2) and what goes with it.

use std::os::fd::{AsFd, OwnedFd};
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

/// A pipe, both ends closed on exec: what reads and what writes. pipe2(2).
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|errno| Error::new("pipe2", "O_CLOEXEC", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_is_ready_and_gives_up_in_time() {
        let (ours, theirs) = crate::unix::pair().unwrap();
        assert!(!readable(&ours, Duration::from_millis(1)).unwrap());
        crate::unix::write(&theirs, b"x").unwrap();
        assert!(readable(&ours, Duration::from_secs(5)).unwrap());
    }
}
