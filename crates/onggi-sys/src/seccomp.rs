//! Loading a filter for system calls. seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Errno, Error, Result};

/// One instruction of a filter: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip if true.
    pub jt: u8,
    /// How many instructions to skip if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: answer a descriptor on which notifications arrive.
pub const NEW_LISTENER: u32 = 1 << 3;

/// Puts the caller under a filter, for good. seccomp(2) `SECCOMP_SET_MODE_FILTER`.
///
/// Answers the listener if `flags` holds [`NEW_LISTENER`].
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` unless no-new-privileges is set.
pub fn load(program: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    let shown = || format!("SET_MODE_FILTER, {flags:#x}, {} instructions", program.len());
    let length = u16::try_from(program.len()).map_err(|_| Error::new("seccomp", shown(), Errno::INVAL))?;
    let raw = Program { length, instructions: program.as_ptr() };
    // SAFETY: `raw` points to `length` instructions of the kernel's layout; both outlive the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const raw) };
    if answer < 0 {
        return Err(Error::last_os("seccomp", shown()));
    }
    if flags & NEW_LISTENER == 0 {
        return Ok(None);
    }
    let fd = i32::try_from(answer).map_err(|_| Error::new("seccomp", shown(), Errno::BADF))?;
    // SAFETY: with NEW_LISTENER the answer is a new descriptor, which nobody else has seen.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}
