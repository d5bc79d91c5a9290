//! The five capability sets of a thread. capabilities(7).

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::{Error, Result};

/// Permitted, effective and inheritable sets, a bit for each capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// What may be made effective.
    pub permitted: u64,
    /// What the kernel asks.
    pub effective: u64,
    /// What survives exec of a file that has it in its inheritable set.
    pub inheritable: u64,
}

/// The caller's sets. capget(2).
pub fn get() -> Result<Sets> {
    let sets = rustix::thread::capabilities(None).map_err(|errno| Error::new("capget", "", errno))?;
    Ok(Sets {
        permitted: sets.permitted.bits(),
        effective: sets.effective.bits(),
        inheritable: sets.inheritable.bits(),
    })
}

/// Gives the caller these sets. capset(2).
pub fn set(sets: Sets) -> Result<()> {
    let raw = CapabilitySets {
        permitted: CapabilitySet::from_bits_retain(sets.permitted),
        effective: CapabilitySet::from_bits_retain(sets.effective),
        inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
    };
    rustix::thread::set_capabilities(None, raw).map_err(|errno| Error::new("capset", format!("{sets:x?}"), errno))
}

/// Whether the bounding set holds capability number `number`; `None` if this kernel has no such. prctl(2) `PR_CAPBSET_READ`.
pub fn is_bounding(number: u32) -> Option<bool> {
    // SAFETY: takes numbers.
    match unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) } {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The caller's bounding set.
pub fn bounding() -> u64 {
    let known = (0..64).map_while(|number| is_bounding(number).map(|held| (number, held)));
    known.filter(|(_, held)| *held).fold(0, |set, (number, _)| set | 1 << number)
}

/// Takes capability number `number` out of the bounding set, for good. prctl(2) `PR_CAPBSET_DROP`.
pub fn drop_bounding(number: u32) -> Result<()> {
    // SAFETY: takes numbers.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(Error::last_os("prctl", format!("PR_CAPBSET_DROP, {number}"))),
    }
}

/// Empties the ambient set. prctl(2) `PR_CAP_AMBIENT_CLEAR_ALL`.
pub fn clear_ambient() -> Result<()> {
    match rustix::thread::clear_ambient_capability_set() {
        // Kernels before 4.3 have none.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(Error::new("prctl", "PR_CAP_AMBIENT_CLEAR_ALL", errno)),
    }
}

/// Puts capability number `number` into the ambient set. prctl(2) `PR_CAP_AMBIENT_RAISE`.
pub fn raise_ambient(number: u32) -> Result<()> {
    let (ambient, raise) = (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE);
    let raise = libc::c_ulong::try_from(raise).unwrap_or(2);
    // SAFETY: takes numbers.
    match unsafe { libc::prctl(ambient, raise, libc::c_ulong::from(number), 0, 0) } {
        0 => Ok(()),
        _ => Err(Error::last_os("prctl", format!("PR_CAP_AMBIENT_RAISE, {number}"))),
    }
}
