//! The kernel, as onggi asks it: thin wrappers that take borrowed descriptors, return owned ones, retry `EINTR` and
//! fail with an [`Error`] that names the call, its object and the kernel's answer.
//!
//! rustix does the calling where it can, libc where it must; this is the only crate that may say `unsafe`. A wrapper
//! holds no policy: it never picks a flag for its caller. The flag types are rustix's own, re-exported beside the
//! calls that take them.
#![allow(unsafe_code, reason = "this crate is where unsafe lives")]

pub mod bpf;
pub mod capability;
pub mod event;
pub mod file;
pub mod idmap;
pub mod memory;
pub mod memory_file;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod overlay;
pub mod pidfd;
pub mod prctl;
pub mod process;
pub mod pty;
pub mod random;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod unix;

mod error;

pub use error::{Error, Result, errno_name};
pub use rustix::io::Errno;
