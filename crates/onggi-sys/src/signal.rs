//! Signals: blocked and read from a descriptor, put back to how a new program expects them, named.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};

use crate::{Error, Result};

/// Signals that arrive as reads of a descriptor rather than as interruptions. signalfd(2).
///
/// They stay blocked when it is dropped: one that is still pending would kill.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks `signals` for this thread, and so for threads it starts, and reads them from now on.
    pub fn new(signals: &[i32]) -> Result<Self> {
        let failed = |call| Error::last_os(call, format!("{signals:?}"));
        // SAFETY: the set is initialised by sigemptyset before it is used; the calls take pointers to it only for
        // their duration.
        let fd = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                if libc::sigaddset(&raw mut set, signal) != 0 {
                    return Err(failed("sigaddset"));
                }
            }
            let errno = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if errno != 0 {
                return Err(Error::new("pthread_sigmask", "BLOCK", Errno::from_raw_os_error(errno)));
            }
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(failed("signalfd"));
        }
        // SAFETY: a new descriptor that nobody else has seen.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal that has arrived; `None` if none has.
    pub fn next(&self) -> Result<Option<i32>> {
        let mut buffer = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match retry_on_intr(|| rustix::io::read(&self.fd, &mut buffer)) {
            Ok(count) if count == buffer.len() => {
                let number = u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                Ok(i32::try_from(number).ok())
            }
            Ok(_) | Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(Error::new("read", "signalfd", errno)),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

/// Puts every signal back to its default action and unblocks all: both would be inherited over exec, and Rust itself
/// ignores `SIGPIPE`. For a process that is about to become another program.
pub fn reset() -> Result<()> {
    // The kernel's own sigaction (handler, flags, restorer, mask), all zero: the default action.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // The call itself, because libc keeps two signals from its callers that may be ignored all the same.
        // SAFETY: the structure is at least as long as the kernel reads; the default action runs no code of ours.
        // KILL and STOP refuse, rightly.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), size_of::<u64>());
        }
    }
    // SAFETY: the set is initialised by sigemptyset before it is used.
    let errno = unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    match errno {
        0 => Ok(()),
        errno => Err(Error::new("pthread_sigmask", "none", Errno::from_raw_os_error(errno))),
    }
}

macro_rules! names {
    ($($short:literal $name:ident)*) => {
        /// The number of a signal by name (`SIGTERM`, `term`), number or real-time name (`RTMIN+3`).
        pub fn parse(text: &str) -> Option<i32> {
            if let Ok(number) = text.parse::<i32>() {
                return (0..=libc::SIGRTMAX()).contains(&number).then_some(number);
            }
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            match name {
                $($short => Some(libc::$name),)*
                "IOT" => Some(libc::SIGABRT),
                "POLL" => Some(libc::SIGIO),
                "CLD" => Some(libc::SIGCHLD),
                _ => real_time(name),
            }
        }

        /// The name of a signal, as `SIGTERM`; `None` for real-time and unknown ones.
        pub fn name(signal: i32) -> Option<&'static str> {
            match signal {
                $(libc::$name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

names! {
    "HUP" SIGHUP "INT" SIGINT "QUIT" SIGQUIT "ILL" SIGILL "TRAP" SIGTRAP "ABRT" SIGABRT "BUS" SIGBUS "FPE" SIGFPE
    "KILL" SIGKILL "USR1" SIGUSR1 "SEGV" SIGSEGV "USR2" SIGUSR2 "PIPE" SIGPIPE "ALRM" SIGALRM "TERM" SIGTERM
    "STKFLT" SIGSTKFLT "CHLD" SIGCHLD "CONT" SIGCONT "STOP" SIGSTOP "TSTP" SIGTSTP "TTIN" SIGTTIN "TTOU" SIGTTOU
    "URG" SIGURG "XCPU" SIGXCPU "XFSZ" SIGXFSZ "VTALRM" SIGVTALRM "PROF" SIGPROF "WINCH" SIGWINCH "IO" SIGIO
    "PWR" SIGPWR "SYS" SIGSYS
}

fn real_time(name: &str) -> Option<i32> {
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let number = match name {
        "RTMIN" => first,
        "RTMAX" => last,
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(offset), _) => first.checked_add(offset.parse().ok()?)?,
            (_, Some(offset)) => last.checked_sub(offset.parse().ok()?)?,
            _ => return None,
        },
    };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in
            [("KILL", Some(9)), ("sigterm", Some(15)), ("15", Some(15)), ("0", Some(0)), ("NOPE", None), ("99", None)]
        {
            assert_eq!(parse(text), number, "{text}");
        }
        assert_eq!(parse("RTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(parse("RTMIN+99"), None);
        assert_eq!(name(9), Some("SIGKILL"));
    }
}
