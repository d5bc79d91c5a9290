use oci_spec::runtime::{Capability, LinuxNamespaceType};
use onggi_oci::image::Config;

use super::*;
use crate::record::{Image, MountPoint};
use crate::{ContainerId, Resources, Security};

fn host() -> Host {
    Host {
        bounding: crate::defaults::capabilities::DEFAULT.to_vec(),
        rootless: false,
        terminal_group: true,
        cpus: 4,
        swap_limit: true,
        time_namespaces: true,
        selinux: false,
        kernel: (6, 1),
    }
}

fn record() -> Record {
    let id: ContainerId = "ab".repeat(32).parse().unwrap();
    Record {
        name: "keen-plum".parse().unwrap(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        image: Image { name: "alpine".to_owned(), id: "sha256:0".to_owned(), platform: "linux".to_owned() },
        config: Config { cmd: Some(vec!["sh".to_owned()]), ..Config::default() },
        hostname: None,
        terminal: false,
        open_stdin: false,
        attach: crate::Streams::default(),
        stop_timeout_secs: None,
        mounts: Vec::new(),
        network: NetworkMode::Bridge,
        resources: Resources::default(),
        security: Security::default(),
        auto_remove: false,
        log: crate::LogLimits::default(),
        id,
    }
}

fn built(record: &Record) -> Spec {
    build(record, Path::new("/data/containers/ID"), &host()).unwrap()
}

fn refused(record: &Record) -> String {
    build(record, Path::new("/x"), &host()).unwrap_err().to_string()
}

fn mount_of<'s>(spec: &'s Spec, destination: &str) -> &'s oci_spec::runtime::Mount {
    let mounts = spec.mounts().as_ref().unwrap();
    let mut found = mounts.iter().filter(|mount| mount.destination() == Path::new(destination));
    let first = found.next().unwrap_or_else(|| panic!("no mount at {destination}"));
    assert!(found.next().is_none(), "two mounts at {destination}");
    first
}

fn options(spec: &Spec, destination: &str) -> String {
    mount_of(spec, destination).options().as_ref().unwrap().join(",")
}

#[test]
fn what_nobody_asked_for() {
    let spec = built(&record());
    let linux = spec.linux().as_ref().unwrap();
    assert_eq!(spec.hostname().as_deref(), Some("abababababab"));
    assert_eq!(linux.cgroups_path().as_deref(), Some(Path::new("/onggi").join("ab".repeat(32)).as_path()));
    assert_eq!(linux.namespaces().as_ref().unwrap().len(), 7);
    assert!(linux.masked_paths().as_ref().unwrap().iter().any(|path| path == "/proc/kcore"));
    assert!(linux.readonly_paths().as_ref().unwrap().iter().any(|path| path == "/proc/sys"));
    assert!(linux.seccomp().is_some());
    assert!(linux.devices().is_none());
    let rules = linux.resources().as_ref().unwrap().devices().as_ref().unwrap();
    assert!(!rules[0].allow() && rules[1..].iter().all(|rule| rule.allow()));
    assert!(rules.iter().all(|rule| (rule.major(), rule.minor()) != (Some(10), Some(229))), "fuse stays closed");
    let process = spec.process().as_ref().unwrap();
    let sets = process.capabilities().as_ref().unwrap();
    assert_eq!(sets.bounding().as_ref().unwrap().len(), 14);
    assert!(sets.inheritable().as_ref().unwrap().is_empty() && sets.ambient().as_ref().unwrap().is_empty());
    assert_eq!(process.cwd(), Path::new("/"));
    assert!(process.rlimits().is_none());
    assert_eq!(options(&spec, "/sys"), "nosuid,noexec,nodev,ro");
    assert_eq!(options(&spec, "/dev/shm"), "nosuid,noexec,nodev,mode=1777,size=65536k");
    for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        assert!(mount_of(&spec, file).source().as_ref().unwrap().starts_with("/data/containers/ID"));
    }
    // What is written is what is read: the document survives its own format.
    let text = serde_json::to_vec(&spec).unwrap();
    assert_eq!(onggi_oci::runtime::load(&text).unwrap(), spec);
}

#[test]
fn privileged_has_no_walls_left() {
    let mut record = record();
    record.security.privileged = true;
    let spec = built(&record);
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.masked_paths().is_none() && linux.readonly_paths().is_none() && linux.seccomp().is_none());
    let paths: Vec<_> = linux.devices().as_ref().unwrap().iter().map(|device| device.path().clone()).collect();
    assert!(paths.iter().any(|path| path == Path::new("/dev/null")));
    assert!(paths.iter().all(|path| !path.starts_with("/dev/pts") && path != Path::new("/dev/console")));
    let rules = linux.resources().as_ref().unwrap().devices().as_ref().unwrap();
    assert!(rules.len() == 1 && rules[0].allow());
    assert_eq!(options(&spec, "/sys"), "nosuid,noexec,nodev");
    assert_eq!(options(&spec, "/sys/fs/cgroup"), "nosuid,noexec,nodev");
    assert_eq!(
        spec.process().as_ref().unwrap().capabilities().as_ref().unwrap().effective().as_ref().unwrap().len(),
        14
    );
}

#[test]
fn a_users_mount_takes_the_place_of_ours() {
    let mut record = record();
    let mount = |destination: &str, read_only| MountPoint {
        volume: None,
        anonymous: false,
        source: "/host".into(),
        destination: destination.into(),
        read_only,
        propagation: "rprivate".to_owned(),
        copy_up: false,
        given: String::new(),
    };
    record.mounts = vec![mount("/dev/shm", false), mount("/etc/hosts", true)];
    let spec = built(&record);
    assert_eq!(options(&spec, "/dev/shm"), "rbind,rw,rprivate");
    assert_eq!(options(&spec, "/etc/hosts"), "rbind,rro,rprivate");
}

#[test]
fn parents_are_mounted_first() {
    let mut record = record();
    let mount = |destination: &str| MountPoint {
        volume: Some("v".to_owned()),
        anonymous: false,
        source: "/data/volumes/v/_data".into(),
        destination: destination.into(),
        read_only: false,
        propagation: "rprivate".to_owned(),
        copy_up: true,
        given: String::new(),
    };
    record.mounts = vec![mount("/data/deep"), mount("/etc"), mount("/data")];
    let spec = built(&record);
    let places: Vec<_> = spec.mounts().as_ref().unwrap().iter().map(oci_spec::runtime::Mount::destination).collect();
    let at = |place: &str| places.iter().position(|found| *found == Path::new(place)).unwrap();
    assert!(at("/etc") < at("/etc/hosts"));
    assert!(at("/data") < at("/data/deep"));
    assert!(at("/dev") < at("/dev/pts") && at("/sys") < at("/sys/fs/cgroup"));
}

#[test]
fn the_hosts_network_brings_the_hosts_name() {
    let mut record = record();
    record.network = NetworkMode::Host;
    let spec = built(&record);
    assert_eq!(*spec.hostname(), None);
    let namespaces = spec.linux().as_ref().unwrap().namespaces().as_ref().unwrap();
    assert!(namespaces.iter().all(|namespace| namespace.typ() != LinuxNamespaceType::Network));
    let rootless = Host { rootless: true, terminal_group: false, ..host() };
    let spec = build(&record, Path::new("/x"), &rootless).unwrap();
    assert_eq!(options(&spec, "/sys"), "rbind,nosuid,noexec,nodev,rro");
    assert!(!options(&spec, "/dev/pts").contains("gid"));
    assert!(spec.linux().as_ref().unwrap().resources().as_ref().unwrap().devices().is_none());
}

#[test]
fn limits() {
    let mut record = record();
    record.resources =
        Resources { memory: Some(8 << 20), memory_swap: None, nano_cpus: Some(1_500_000_000), pids: Some(10) };
    let spec = built(&record);
    let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    let memory = resources.memory().as_ref().unwrap();
    assert_eq!((memory.limit(), memory.swap()), (Some(8 << 20), Some(16 << 20)));
    let cpu = resources.cpu().as_ref().unwrap();
    assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
    assert_eq!(resources.pids().as_ref().unwrap().limit(), 10);
    for limits in [
        Resources { memory: Some(0), ..Resources::default() },
        Resources { memory: Some((6 << 20) - 1), ..Resources::default() },
        Resources { memory_swap: Some(1 << 20), ..Resources::default() },
        Resources { memory: Some(8 << 20), memory_swap: Some(7 << 20), ..Resources::default() },
        Resources { nano_cpus: Some(9_999_999), ..Resources::default() },
        Resources { nano_cpus: Some(4_000_000_001), ..Resources::default() },
    ] {
        record.resources = limits.clone();
        assert!(build(&record, Path::new("/x"), &host()).is_err(), "{limits:?}");
    }
}

#[test]
fn rights_that_are_not_there() {
    let mut record = record();
    record.security.cap_add = vec!["SYS_ADMIN".to_owned()];
    assert_eq!(refused(&record), "CAP_SYS_ADMIN is not ours to give");
    record.security.cap_add = vec!["ALL".to_owned()];
    let spec = built(&record);
    let sets = spec.process().as_ref().unwrap().capabilities().as_ref().unwrap();
    assert!(!sets.bounding().as_ref().unwrap().contains(&Capability::SysAdmin));
}

#[test]
fn host_names() {
    let mut record = record();
    for (name, good) in [("web", true), ("a.b.c", true), ("", false), ("a/b", false), (&"x".repeat(65), false)] {
        record.hostname = Some(name.to_owned());
        assert_eq!(build(&record, Path::new("/x"), &host()).is_ok(), good, "{name}");
    }
}
