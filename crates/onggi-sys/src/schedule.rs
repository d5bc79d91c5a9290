//! When and where a thread runs. sched(7).

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{Errno, Error, Result};

/// `struct sched_attr` of the kernel, version 1.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Set by [`set`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For the ordinary policies.
    pub nice: i32,
    /// For the real-time policies.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, in nanoseconds, as the next two.
    pub runtime: u64,
    /// See `runtime`.
    pub deadline: u64,
    /// See `runtime`.
    pub period: u64,
}

/// Sets the caller's policy and what goes with it. sched_setattr(2).
pub fn set(attributes: Attributes) -> Result<()> {
    let raw = Attributes { size: u32::try_from(size_of::<Attributes>()).unwrap_or(0), ..attributes };
    // SAFETY: the structure is of the size that it says and outlives the call; pid 0 is the caller.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) } {
        0 => Ok(()),
        _ => Err(Error::last_os("sched_setattr", format!("policy {}, nice {}", raw.policy, raw.nice))),
    }
}

/// Lets the caller run on these processors alone. sched_setaffinity(2).
///
/// # Errors
/// `EINVAL` for a number that no machine has.
pub fn set_affinity(processors: &[usize]) -> Result<()> {
    let failed = |errno| Error::new("sched_setaffinity", format!("{processors:?}"), errno);
    let mut set = CpuSet::new();
    for &number in processors {
        if number >= CpuSet::MAX_CPU {
            return Err(failed(Errno::INVAL));
        }
        set.set(number);
    }
    sched_setaffinity(None, &set).map_err(failed)
}

/// The processor that the caller runs on. getcpu(2).
pub fn current_processor() -> usize {
    rustix::thread::sched_getcpu()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_where_it_is_told() {
        std::thread::spawn(|| {
            set_affinity(&[0]).unwrap();
            assert_eq!(current_processor(), 0);
            assert!(set_affinity(&[]).unwrap_err().is(Errno::INVAL));
            assert!(set_affinity(&[100_000]).unwrap_err().is(Errno::INVAL));
            set(Attributes { nice: 3, ..Attributes::default() }).unwrap();
        })
        .join()
        .unwrap();
    }
}
