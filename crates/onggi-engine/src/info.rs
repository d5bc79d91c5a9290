//! The machine and this engine on it, in the shape that `docker info` has.

use std::path::Path;

use onggi_cgroup::{Layout, Version};
use onggi_diag::Record as Account;
use onggi_monitor::Status;
use serde_json::{Value, json};

use crate::containers::host_name;
use crate::{Engine, Error, ListContainers, Result};

impl Engine {
    /// What a user or a monitor of machines asks first.
    pub fn info(&self) -> Result<Value> {
        let containers = self.containers().list(&ListContainers { all: true, ..ListContainers::default() })?;
        let count = |wanted: &dyn Fn(Status) -> bool| containers.iter().filter(|one| wanted(one.status)).count();
        let layout = Layout::detect().map_err(|error| Error::Below {
            what: "look at the control groups".to_owned(),
            source: Box::new(Account::new("info", &error)),
        })?;
        Ok(json!({
            "ServerVersion": env!("CARGO_PKG_VERSION"),
            "Containers": containers.len(),
            "ContainersRunning": count(&|status| matches!(status, Status::Starting | Status::Running)),
            "ContainersPaused": count(&|status| status == Status::Paused),
            "ContainersStopped": count(&|status| !status.is_active()),
            "Images": self.images()?.list()?.len(),
            "Driver": "overlay",
            "LoggingDriver": "json-file",
            "DefaultRuntime": "onggi",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": cgroup_version(layout.version()),
            "CgroupControllers": controllers(&layout),
            "SecurityOptions": self.security_options(),
            "Rootless": self.rootless(),
            "KernelVersion": line("/proc/sys/kernel/osrelease"),
            "OperatingSystem": operating_system(),
            "OSType": "linux",
            "Architecture": std::env::consts::ARCH,
            "NCPU": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            "MemTotal": memory(),
            "Name": host_name(),
            "DataRoot": self.paths().data,
            "RunRoot": self.paths().run,
            "Warnings": self.warnings(),
        }))
    }

    /// What on this machine is in a container's way.
    fn warnings(&self) -> Vec<String> {
        if self.rootless() {
            return Vec::new();
        }
        let paths = self.paths();
        let chains = onggi_net::Bridge::open(&paths.data, &paths.run).and_then(|bridge| bridge.obstacles());
        let dropped = |chain: &String| format!("the firewall's chain {chain} may drop what bridged containers send");
        chains.unwrap_or_default().iter().map(dropped).collect()
    }

    fn security_options(&self) -> Vec<&'static str> {
        let rootless = self.rootless().then_some("name=rootless");
        ["name=seccomp,profile=builtin", "name=cgroupns"].into_iter().chain(rootless).collect()
    }
}

fn cgroup_version(version: Version) -> &'static str {
    match version {
        Version::V1 => "1",
        Version::Hybrid => "1 (hybrid)",
        Version::V2 => "2",
    }
}

fn controllers(layout: &Layout) -> Vec<String> {
    let old = layout.v1_mounts().flat_map(|(key, _)| key.split(',')).filter(|name| !name.starts_with("name="));
    let mut names: Vec<String> = old.map(str::to_owned).collect();
    if let Some(mount) = layout.v2_mount() {
        names.extend(line(mount.join("cgroup.controllers")).split_whitespace().map(str::to_owned));
    }
    names.sort_unstable();
    names
}

/// A file of one line; empty where there is none.
fn line(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn operating_system() -> String {
    let release = line("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Bytes of memory.
fn memory() -> u64 {
    let info = line("/proc/meminfo");
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}
