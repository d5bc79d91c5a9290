//! Numbers of system calls by name.

mod aarch64;
mod arm;
mod i386;
mod x32;
mod x86_64;

use crate::Architecture;

/// The number of `name`, for x32 without the bit that marks it.
pub(crate) fn number(architecture: Architecture, name: &str) -> Option<u32> {
    let table = table(architecture);
    table.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| table[at].1)
}

fn table(architecture: Architecture) -> &'static [(&'static str, u32)] {
    match architecture {
        Architecture::X86_64 => x86_64::TABLE,
        Architecture::X86 => i386::TABLE,
        Architecture::X32 => x32::TABLE,
        Architecture::Aarch64 => aarch64::TABLE,
        Architecture::Arm => arm::TABLE,
    }
}

/// Whether any architecture knows `name`.
pub(crate) fn is_known(name: &str) -> bool {
    use Architecture::{Aarch64, Arm, X32, X86, X86_64};
    [X86_64, X86, X32, Aarch64, Arm].into_iter().any(|architecture| number(architecture, name).is_some())
}

/// The names and numbers of an architecture, sorted by name; for tests that go through all of them.
pub fn all(architecture: Architecture) -> impl Iterator<Item = (&'static str, u32)> {
    table(architecture).iter().filter_map(move |(name, _)| Some((*name, architecture.number(name)?)))
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
