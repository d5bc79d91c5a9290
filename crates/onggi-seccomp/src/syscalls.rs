//! Numbers of system calls by name.

mod table;

use crate::Architecture;
use crate::architecture::X32_BIT;
use table::{NO, TABLE};

/// A system call that some architecture has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known(&'static (&'static str, [u32; 5]));

impl Known {
    /// The call of this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        TABLE.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| Self(&TABLE[at]))
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.0
    }

    /// Its number, as it stands in `seccomp_data.nr`.
    pub(crate) fn number(self, architecture: Architecture) -> Option<u32> {
        let [x86_64, x86, x32, aarch64, arm] = self.0.1;
        let number = match architecture {
            Architecture::X86_64 => x86_64,
            Architecture::X86 => x86,
            Architecture::X32 if x32 == NO => NO,
            Architecture::X32 => x32 | X32_BIT,
            Architecture::Aarch64 => aarch64,
            Architecture::Arm => arm,
        };
        (number != NO).then_some(number)
    }
}

/// The names and numbers of an architecture, sorted by name; for tests that go through all of them.
pub fn all(architecture: Architecture) -> impl Iterator<Item = (&'static str, u32)> {
    TABLE.iter().filter_map(move |row| Some((row.0, Known(row).number(architecture)?)))
}

/// How 32-bit x86 reached calls before Linux 4.3: through one call with the wanted one in its first argument.
///
/// A rule about the call by its own name and without conditions is for this way to it too; a condition cannot be,
/// for the arguments lie in memory that a filter does not see.
pub(crate) fn multiplexed(architecture: Architecture, name: &str) -> Option<(&'static str, u64)> {
    if architecture != Architecture::X86 {
        return None;
    }
    let number = |names: &[(&str, u64)]| names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    number(&SOCKETCALLS)
        .map(|number| ("socketcall", number))
        .or_else(|| number(&IPC_CALLS).map(|number| ("ipc", number)))
}

/// `SYS_*` of linux/net.h.
const SOCKETCALLS: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The calls of linux/ipc.h.
const IPC_CALLS: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];
