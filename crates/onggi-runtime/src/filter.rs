//! From a seccomp profile to what seccomp(2) loads.

use onggi_oci::runtime::LinuxSeccomp;

use crate::privilege::Filter;
use crate::{Error, Result};

/// Compiles the profile of `linux.seccomp`.
pub(crate) fn compile(profile: Option<&LinuxSeccomp>) -> Result<Option<Filter>> {
    match profile {
        None => Ok(None),
        Some(_) => {
            Err(Error::Unsupported { at: "linux.seccomp".into(), why: "is not supported by this version".into() })
        }
    }
}

/// What `features` prints of seccomp.
pub(crate) fn features() -> serde_json::Value {
    serde_json::json!({ "enabled": false })
}
