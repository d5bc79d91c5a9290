//! A descriptor of our own binary that nothing inside a container can write through (CVE-2019-5736).

use std::os::fd::OwnedFd;

use crate::{Error, Result};

/// Opens our own binary on a mount that is read-only and that no namespace contains.
///
/// Executed by this descriptor, `/proc/self/exe` of the new process leads to that mount.
pub fn exe() -> Result<OwnedFd> {
    Err(Error::Unsupported { at: "/proc/self/exe".into(), why: "this build cannot protect its binary".into() })
}
