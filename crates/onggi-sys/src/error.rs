//! A failed system call, told as strace would tell it.

use std::fmt;

use onggi_diag::{Diagnose, Kind};
use rustix::io::Errno;

/// Result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

/// A system call that failed: its name, its arguments and the kernel's answer.
///
/// Displays as `openat(memory.max, WRONLY): EACCES, permission denied`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    args: String,
    errno: Errno,
}

impl Error {
    /// Names the failed call. `args` is what a reader needs to find the object, not every argument.
    pub fn new(call: &'static str, args: impl Into<String>, errno: Errno) -> Self {
        Self { call, args: args.into(), errno }
    }

    /// The same for a call whose error number is in the thread's `errno`.
    pub fn last_os(call: &'static str, args: impl Into<String>) -> Self {
        let raw = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        Self::new(call, args, Errno::from_raw_os_error(raw))
    }

    /// The kernel's answer.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The number of the kernel's answer, for a [`onggi_diag::Record`].
    pub fn raw(&self) -> i32 {
        self.errno.raw_os_error()
    }

    /// Whether the kernel answered `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from(self.errno).to_string();
        let text = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        write!(f, "{}({}): {}, {text}", self.call, self.args, errno_name(self.errno))
    }
}

impl std::error::Error for Error {}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self.errno {
            Errno::NOENT | Errno::SRCH | Errno::NXIO | Errno::NODEV => Kind::NotFound,
            Errno::EXIST | Errno::ADDRINUSE => Kind::Exists,
            Errno::ACCESS | Errno::PERM => Kind::Denied,
            Errno::INVAL | Errno::NOTDIR | Errno::ISDIR | Errno::NAMETOOLONG => Kind::Invalid,
            Errno::BUSY | Errno::NOTEMPTY | Errno::TXTBSY => Kind::Conflict,
            Errno::NOSYS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT => Kind::Unsupported,
            Errno::LOOP | Errno::XDEV => Kind::Hostile,
            Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
                Kind::Unavailable
            }
            Errno::TIMEDOUT | Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH => Kind::Unavailable,
            _ => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self.errno {
            Errno::NOSPC => Some("the file system is full; `onggi system prune` frees what nothing uses".into()),
            Errno::MFILE => Some("this process may not open more files; raise `ulimit -n`".into()),
            _ => None,
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::new(std::io::Error::from(error.errno).kind(), error)
    }
}

macro_rules! names {
    ($($name:ident)*) => {
        /// The name of an error number, as errno(3) writes it.
        pub fn errno_name(errno: Errno) -> String {
            match errno.raw_os_error() {
                $(libc::$name => stringify!($name).into(),)*
                other => format!("errno {other}"),
            }
        }
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST
    EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE
    EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ENODATA ETIME ENOLINK EPROTO EBADMSG EOVERFLOW
    EILSEQ EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP
    EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS
    EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EDQUOT ENOMEDIUM
    ECANCELED ENOKEY EKEYREJECTED EOWNERDEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_strace() {
        let error = Error::new("openat", "memory.max, WRONLY", Errno::ACCESS);
        assert_eq!(error.to_string(), "openat(memory.max, WRONLY): EACCES, permission denied");
    }
}
