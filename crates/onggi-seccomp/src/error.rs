//! Why a profile makes no program.

use onggi_diag::{Diagnose, Kind};

/// Result of compiling a profile.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a profile makes no program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An error number beside an action that returns none.
    #[error("seccomp: errnoRet {errno} is given for {action}, which returns no error number")]
    Errno {
        /// The number.
        errno: u32,
        /// The action.
        action: &'static str,
    },
    /// An error number that the kernel has no room for.
    #[error("seccomp: errnoRet {errno} is larger than 4095")]
    ErrnoTooLarge {
        /// The number.
        errno: u32,
    },
    /// A system call has six arguments.
    #[error("seccomp: a rule for `{syscall}` looks at argument {index}; arguments are counted from 0 to 5")]
    Argument {
        /// The first name of the rule.
        syscall: String,
        /// The index.
        index: usize,
    },
    /// A rule without a name means nothing.
    #[error("seccomp: a rule names no system call")]
    NoNames,
    /// Notifying about everything would include the notifying.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be {what}")]
    Notify {
        /// What it cannot be.
        what: &'static str,
    },
    /// A filter that notifies needs somebody to notify.
    #[error("seccomp: SCMP_ACT_NOTIFY is used and no listenerPath is given")]
    NoListener,
    /// The kernel takes 4096 instructions.
    #[error("seccomp: the profile becomes {instructions} instructions, and the kernel takes at most 4096")]
    TooLong {
        /// How many it would be.
        instructions: usize,
    },
    /// No table of system calls for the machine.
    #[error("seccomp: there is no table of system calls for the architecture {name}")]
    Architecture {
        /// What the machine calls itself.
        name: String,
    },
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Architecture { .. } => Kind::Unsupported,
            _ => Kind::Invalid,
        }
    }
}
