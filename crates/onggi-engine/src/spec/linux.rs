//! The Linux part: namespaces, masks, devices, limits, system calls.

use std::path::Path;

use oci_spec::runtime::{
    Capability, Linux, LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccomp,
};

use super::{COMPLETE, devices, resources};
use crate::defaults::masks;
use crate::host::Host;
use crate::record::Record;
use crate::{NetworkMode, RequestError};

/// The directory of our control groups, below each hierarchy's root.
pub(crate) const CGROUP_PARENT: &str = "/onggi";

pub(super) fn build(record: &Record, capabilities: &[Capability], host: &Host) -> Result<Linux, RequestError> {
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(record, host))
        .cgroups_path(Path::new(CGROUP_PARENT).join(record.id.as_str()))
        .resources(resources::build(record, host)?)
        .build()
        .expect(COMPLETE);
    if record.security.privileged {
        linux.set_masked_paths(None).set_readonly_paths(None).set_seccomp(None);
        // Nobody makes device nodes in a user namespace; the runtime binds the harmless ones there.
        linux.set_devices((!host.rootless).then(devices::of_host));
    } else {
        linux.set_masked_paths(Some(masked()));
        linux.set_readonly_paths(Some(masks::READ_ONLY.map(str::to_owned).to_vec()));
        linux.set_seccomp(Some(seccomp(capabilities, host)?));
        linux.set_devices(None);
    }
    Ok(linux)
}

fn seccomp(capabilities: &[Capability], host: &Host) -> Result<LinuxSeccomp, RequestError> {
    let architecture = onggi_seccomp::Architecture::host().map_err(|_| RequestError::Architecture)?;
    let environment = onggi_seccomp::Environment { architecture, capabilities, kernel: host.kernel };
    Ok(onggi_seccomp::default_profile(&environment))
}

fn namespaces(record: &Record, host: &Host) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType as Type;
    let mut kinds = vec![Type::Mount, Type::Pid, Type::Ipc, Type::Uts, Type::Cgroup];
    if record.network != NetworkMode::Host {
        kinds.push(Type::Network);
    }
    if host.time_namespaces {
        kinds.push(Type::Time);
    }
    kinds.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build().expect(COMPLETE)).collect()
}

/// The masks, and the one that each processor has.
fn masked() -> Vec<String> {
    let throttles = std::fs::read_dir(masks::CPUS).into_iter().flatten().flatten().filter_map(|entry| {
        let path = entry.path().join(masks::CPU_THROTTLE);
        let name = entry.file_name();
        let is_cpu = name.to_str()?.strip_prefix("cpu")?.bytes().all(|byte| byte.is_ascii_digit());
        (is_cpu && path.exists()).then(|| path.to_string_lossy().into_owned())
    });
    masks::MASKED.iter().map(|&path| path.to_owned()).chain(throttles).collect()
}
