//! `spec`: a `config.json` to begin from.

use std::path::Path;
use std::process::ExitCode;

use onggi_fs::{Durability, Root, create_new};
use onggi_oci::runtime::SPEC_VERSION;
use onggi_sys::{Errno, process};
use serde_json::{Value, json};

use super::Outcome;
use super::args::{Parsed, switch, value};
use crate::Error;

pub(crate) fn spec(args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &[value("bundle", "b"), switch("rootless", "rootless")], true)?;
    let dir = Path::new(parsed.value("bundle").filter(|dir| !dir.is_empty()).unwrap_or("."));
    let step = || Error::step(format!("write {}", dir.join("config.json").display()));
    let mut text = serde_json::to_vec_pretty(&template(parsed.is_on("rootless")?)).unwrap_or_default();
    text.push(b'\n');
    let root = Root::open(dir).map_err(step())?;
    match create_new(&root, "config.json", &text, 0o644, Durability::Volatile) {
        Err(error) if error.is(Errno::EXIST) => Err(Error::invalid("config.json", "exists; remove it first")),
        other => other.map_err(step()).map(|()| ExitCode::SUCCESS),
    }
}

/// What runc's `spec` gives, so that scripts that edit it keep working.
fn template(rootless: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut namespaces: Vec<Value> =
        ["pid", "network", "ipc", "uts", "mount", "cgroup"].iter().map(|kind| json!({ "type": kind })).collect();
    let mut mounts = mounts(rootless);
    let mut linux = json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if rootless {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        linux["uidMappings"] = json!([{ "containerID": 0, "hostID": process::effective_user(), "size": 1 }]);
        linux["gidMappings"] = json!([{ "containerID": 0, "hostID": process::effective_group(), "size": 1 }]);
        linux.as_object_mut().map(|linux| linux.remove("resources"));
    }
    linux["namespaces"] = Value::Array(namespaces);
    json!({
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "runc",
        "mounts": mounts,
        "linux": linux,
    })
}

fn mounts(rootless: bool) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut mount = json!({ "destination": destination, "type": kind, "source": source });
        if !options.is_empty() {
            mount["options"] = json!(options);
        }
        mount
    };
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let sys = if rootless {
        // The host's, since its network namespace is shown.
        mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    } else {
        pts.push("gid=5");
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    };
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        sys,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]
}
