//! From a seccomp profile to what seccomp(2) loads.

use onggi_oci::runtime::LinuxSeccomp;
use onggi_seccomp::Architecture;
use onggi_sys::seccomp::Instruction;

use crate::privilege::Filter;
use crate::{Error, Result};

/// Compiles the profile of `linux.seccomp`.
///
/// Names of calls that this kernel does not have are passed over without a word: the usual profiles name those of every
/// architecture and version.
pub(crate) fn compile(profile: Option<&LinuxSeccomp>) -> Result<Option<Filter>> {
    let Some(profile) = profile else { return Ok(None) };
    let program =
        Architecture::host().and_then(|native| onggi_seccomp::compile(profile, native)).map_err(Error::Seccomp)?;
    if program.notify {
        return Err(Error::Unsupported {
            at: "linux.seccomp.listenerPath".into(),
            why: "SCMP_ACT_NOTIFY is not supported by this version".into(),
        });
    }
    let instructions =
        program.instructions.iter().map(|one| Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k });
    Ok(Some(Filter { program: instructions.collect(), flags: program.flags }))
}

/// What `features` prints of seccomp.
pub(crate) fn features() -> serde_json::Value {
    serde_json::json!({
        "enabled": true,
        "actions": [
            "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
            "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
        ],
        "operators": [
            "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
            "SCMP_CMP_NE"
        ],
        "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
        "knownFlags": [
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
        ],
        "supportedFlags": [
            "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"
        ],
    })
}
