//! What a process says about itself. prctl(2).

use rustix::process::{DumpableBehavior, Signal};

use crate::{Error, Result};

/// Whether others of the same user may trace this process and read its `/proc/PID`. `PR_SET_DUMPABLE`.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    rustix::process::set_dumpable_behavior(behavior)
        .map_err(|errno| Error::new("prctl", format!("PR_SET_DUMPABLE, {dumpable}"), errno))
}

/// Has the kernel kill this process when its parent thread ends. `PR_SET_PDEATHSIG`; a change of user clears it.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| Error::new("prctl", "PR_SET_PDEATHSIG, KILL", errno))
}

/// Has the kernel let this process live when its parent ends. `PR_SET_PDEATHSIG` 0.
pub fn outlive_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(None)
        .map_err(|errno| Error::new("prctl", "PR_SET_PDEATHSIG, 0", errno))
}

/// Gives up, for good, that exec may bring more rights. `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).map_err(|errno| Error::new("prctl", "PR_SET_NO_NEW_PRIVS", errno))
}

/// Whether the permitted set outlives a change of user from 0 to another; exec clears it. `PR_SET_KEEPCAPS`.
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    rustix::thread::set_keep_capabilities(keep).map_err(|errno| Error::new("prctl", "PR_SET_KEEPCAPS", errno))
}

/// Makes the caller the one that orphans below it fall to. `PR_SET_CHILD_SUBREAPER`.
pub fn set_child_subreaper() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| Error::new("prctl", "PR_SET_CHILD_SUBREAPER", errno))
}

/// Names the calling thread, 15 bytes at most. `PR_SET_NAME`.
pub fn set_name(name: &std::ffi::CStr) -> Result<()> {
    rustix::thread::set_name(name).map_err(|errno| Error::new("prctl", "PR_SET_NAME", errno))
}
