//! A record becomes an OCI specification: a function of the record and the machine, nothing else.

mod capabilities;
mod devices;
mod linux;
mod mounts;
mod resources;

use std::path::Path;

use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, Process, ProcessBuilder, RootBuilder, Spec,
    SpecBuilder,
};
use onggi_oci::runtime::SPEC_VERSION;

use crate::host::Host;
use crate::record::Record;
use crate::{NetworkMode, RequestError, config};

pub(crate) use linux::CGROUP_PARENT;
pub(crate) use mounts::{HOSTNAME_FILE, HOSTS_FILE, RESOLV_FILE};

/// Why a builder of the specification's types cannot fail here.
const COMPLETE: &str = "every field without a default was set";

/// The specification of the container of `record`, whose directory is `dir`.
///
/// # Errors
/// What the machine cannot give, or nobody could.
pub(crate) fn build(record: &Record, dir: &Path, host: &Host) -> Result<Spec, RequestError> {
    let capabilities = capabilities::chosen(&record.security, &host.bounding)?;
    let root = RootBuilder::default().path("rootfs").readonly(record.security.read_only).build().expect(COMPLETE);
    let mut spec = SpecBuilder::default()
        .version(SPEC_VERSION)
        .root(root)
        .process(process(record, &capabilities))
        .mounts(mounts::all(record, dir, host))
        .linux(linux::build(record, &capabilities, host)?)
        .build()
        .expect(COMPLETE);
    spec.set_hostname(hostname(record)?);
    Ok(spec)
}

/// The name that the runtime sets, none where the UTS namespace is the host's.
fn hostname(record: &Record) -> Result<Option<String>, RequestError> {
    /// `__NEW_UTS_LEN`: the kernel takes no more.
    const LONGEST: usize = 64;
    // It becomes a line of /etc/hosts.
    let unfit = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    match &record.hostname {
        Some(name) if name.is_empty() || name.len() > LONGEST || name.contains(unfit) => {
            Err(RequestError::Hostname(name.escape_debug().to_string()))
        }
        Some(name) => Ok(Some(name.clone())),
        None if record.network == NetworkMode::Host => Ok(None),
        None => Ok(Some(record.hostname().to_owned())),
    }
}

/// `capabilities` in the sets that a process starts with.
pub(crate) fn capability_sets(capabilities: &[Capability]) -> LinuxCapabilities {
    let set: Capabilities = capabilities.iter().copied().collect();
    // Inheritable and ambient stay empty: what is in them reaches programs that nobody gave it to.
    let none = Capabilities::new();
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(none.clone())
        .ambient(none)
        .build()
        .expect(COMPLETE)
}

fn process(record: &Record, capabilities: &[Capability]) -> Process {
    let config = &record.config;
    let cwd = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
    let mut process = ProcessBuilder::default()
        .terminal(record.terminal)
        .args(config::arguments(config))
        .env(config::process_environment(config, record.hostname(), record.terminal))
        .cwd(cwd)
        .capabilities(capability_sets(capabilities))
        .no_new_privileges(false)
        .build()
        .expect(COMPLETE);
    process.set_rlimits(None);
    process
}

#[cfg(test)]
mod tests;
