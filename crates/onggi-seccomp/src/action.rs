//! What a filter answers.

use onggi_oci::runtime::LinuxSeccompAction;

use crate::{Error, Result};

/// `EPERM`, which the specification makes the answer where none is given.
const EPERM: u32 = 1;
/// `ENOSYS`.
const ENOSYS: u32 = 38;
/// What fits into the kernel's error numbers.
const LARGEST_ERRNO: u32 = 4095;

/// What a filter answers: the action in the high half and its data in the low one, see seccomp(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Action(pub u32);

impl Action {
    /// Kills the whole process.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// Lets the call pass.
    pub const ALLOW: Self = Self(0x7fff_0000);
    /// Says that there is no such call.
    pub const NO_SUCH_CALL: Self = Self(0x0005_0000 | ENOSYS);
    const KILL_THREAD: Self = Self(0);
    const TRAP: u32 = 0x0003_0000;
    const ERRNO: u32 = 0x0005_0000;
    const NOTIFY: Self = Self(0x7fc0_0000);
    const TRACE: u32 = 0x7ff0_0000;
    const LOG: Self = Self(0x7ffc_0000);

    pub(crate) fn parse(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Self> {
        use LinuxSeccompAction as A;
        let (parsed, name) = match action {
            A::ScmpActErrno => return Self::with_data(Self::ERRNO, errno),
            A::ScmpActTrace => return Self::with_data(Self::TRACE, errno),
            A::ScmpActKill => (Self::KILL_THREAD, "SCMP_ACT_KILL"),
            A::ScmpActKillThread => (Self::KILL_THREAD, "SCMP_ACT_KILL_THREAD"),
            A::ScmpActKillProcess => (Self::KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"),
            A::ScmpActTrap => (Self(Self::TRAP), "SCMP_ACT_TRAP"),
            A::ScmpActNotify => (Self::NOTIFY, "SCMP_ACT_NOTIFY"),
            A::ScmpActLog => (Self::LOG, "SCMP_ACT_LOG"),
            A::ScmpActAllow => (Self::ALLOW, "SCMP_ACT_ALLOW"),
        };
        match errno {
            Some(errno) => Err(Error::Errno { errno, action: name }),
            None => Ok(parsed),
        }
    }

    fn with_data(action: u32, errno: Option<u32>) -> Result<Self> {
        let errno = errno.unwrap_or(EPERM);
        if errno > LARGEST_ERRNO {
            return Err(Error::ErrnoTooLarge { errno });
        }
        Ok(Self(action | errno))
    }

    pub(crate) fn is_notify(self) -> bool {
        self == Self::NOTIFY
    }

    /// Whether a call that the profile does not know goes on its way: a tracer counts as one who lets it.
    pub(crate) fn lets_pass(self) -> bool {
        self == Self::ALLOW || self == Self::LOG || self.0 & 0xffff_0000 == Self::TRACE
    }
}
