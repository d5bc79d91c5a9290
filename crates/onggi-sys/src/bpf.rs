//! The little of bpf(2) that a device filter needs.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::{Error, Result};

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_QUERY: libc::c_long = 16;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;

/// One eBPF instruction, `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What to do.
    pub code: u8,
    /// The destination register in the low half, the source register in the high half.
    pub registers: u8,
    /// A jump's distance, a load's offset.
    pub offset: i16,
    /// The immediate value.
    pub value: i32,
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
pub fn load_device_filter(program: &[Instruction]) -> Result<OwnedFd> {
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
    }
    let attr = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: address(program.as_ptr()),
        license: address(c"Apache-2.0".as_ptr()),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    // SAFETY: `attr` is the prefix of `union bpf_attr` for BPF_PROG_LOAD, and the program and the licence that it
    // points to live until the call returns.
    let fd = unsafe { call(PROG_LOAD, "BPF_PROG_LOAD", &attr) }?;
    // SAFETY: the kernel has just given us this descriptor, close-on-exec, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches `program` to the v2 group behind `group` and takes off the device filters that were there.
pub fn replace_device_filter(group: impl AsFd, program: impl AsFd) -> Result<()> {
    let old = attached(&group)?;
    let mut attr = attachment(&group, &program);
    attr.flags = F_ALLOW_MULTI;
    // SAFETY: `attr` is the prefix of `union bpf_attr` for BPF_PROG_ATTACH and points to nothing.
    unsafe { call(PROG_ATTACH, "BPF_PROG_ATTACH", &attr) }?;
    for program in old {
        // SAFETY: the same for BPF_PROG_DETACH.
        unsafe { call(PROG_DETACH, "BPF_PROG_DETACH", &attachment(&group, &program)) }?;
    }
    Ok(())
}

/// The device filters attached to the group itself.
fn attached(group: impl AsFd) -> Result<Vec<OwnedFd>> {
    #[repr(C)]
    struct Query {
        target_fd: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        prog_ids: u64,
        prog_cnt: u32,
        pad: u32,
    }
    let mut ids = [0u32; 64];
    // SAFETY: all-zero is a value of every field.
    let mut attr: Query = unsafe { zeroed() };
    attr.target_fd = raw(&group);
    attr.attach_type = ATTACH_TYPE_CGROUP_DEVICE;
    attr.prog_ids = address(ids.as_mut_ptr());
    attr.prog_cnt = 64;
    // SAFETY: `attr` is the prefix of `union bpf_attr` for BPF_PROG_QUERY; the kernel writes at most `prog_cnt` ids to
    // the array and the count into `attr`, both of which outlive the call.
    unsafe { call(PROG_QUERY, "BPF_PROG_QUERY", &raw mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0).min(ids.len());
    ids[..count].iter().map(|&id| by_id(id)).collect()
}

fn by_id(id: u32) -> Result<OwnedFd> {
    let attr = [id, 0, 0];
    // SAFETY: `attr` is the prefix of `union bpf_attr` for BPF_PROG_GET_FD_BY_ID and points to nothing.
    let fd = unsafe { call(PROG_GET_FD_BY_ID, "BPF_PROG_GET_FD_BY_ID", &attr) }?;
    // SAFETY: the kernel has just given us this descriptor, close-on-exec, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[repr(C)]
struct Attachment {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    flags: u32,
}

fn attachment(group: impl AsFd, program: impl AsFd) -> Attachment {
    Attachment {
        target_fd: raw(&group),
        attach_bpf_fd: raw(&program),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: 0,
    }
}

/// # Safety
/// `attr` must be laid out as the kernel expects for `command`, and what it points to must live through the call.
unsafe fn call<T>(command: libc::c_long, name: &'static str, attr: *const T) -> Result<RawFd> {
    // SAFETY: the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    RawFd::try_from(answer).ok().filter(|&answer| answer >= 0).ok_or_else(|| Error::last_os("bpf", name))
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

fn raw(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}
