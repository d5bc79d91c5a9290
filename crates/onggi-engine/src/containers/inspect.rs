//! Everything about a container, in the shape that Docker's clients read.

use onggi_monitor::{Attached, State, Status};
use serde_json::{Map, Value, json};

use super::{Containers, list, start};
use crate::record::{MountPoint, Record};
use crate::{ContainerId, NetworkMode, Paths, Result, config};

/// How Go writes a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Containers<'_> {
    /// Everything about the container: Docker's `ContainerInspect`.
    pub fn inspect(self, id: &ContainerId) -> Result<Value> {
        let (record, state) = self.known(id)?;
        Ok(shape(&record, &state, self.engine.paths()))
    }
}

fn shape(record: &Record, state: &State, paths: &Paths) -> Value {
    let dir = paths.container(&record.id);
    let words = config::arguments(&record.config);
    json!({
        "Id": record.id,
        "Created": record.created,
        "Path": words.first().cloned().unwrap_or_default(),
        "Args": words.get(1..).unwrap_or_default(),
        "State": self::state(state),
        "Image": record.image.id,
        "ResolvConfPath": dir.join(crate::spec::RESOLV_FILE),
        "HostnamePath": dir.join(crate::spec::HOSTNAME_FILE),
        "HostsPath": dir.join(crate::spec::HOSTS_FILE),
        "LogPath": dir.join(onggi_monitor::logs::FILE),
        "Name": format!("/{}", record.name),
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": record.image.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(record),
        "GraphDriver": {"Name": "overlay", "Data": {"ID": record.id}},
        "Mounts": record.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": self::config(record),
        "NetworkSettings": network(record, state.network.as_ref()),
    })
}

fn state(state: &State) -> Value {
    let running = matches!(state.status, Status::Running | Status::Paused);
    let error = state.error.as_ref().map(|record| record.chain.join(": ")).unwrap_or_default();
    json!({
        "Status": list::status_name(state.status),
        "Running": running,
        "Paused": state.status == Status::Paused,
        "Restarting": false,
        "OOMKilled": state.oom_killed,
        "Dead": false,
        "Pid": state.pid.filter(|_| running).unwrap_or(0),
        "ExitCode": state.exit_code.filter(|_| !running).unwrap_or(0),
        "Error": error,
        "StartedAt": state.started_at.as_deref().unwrap_or(NEVER),
        "FinishedAt": state.finished_at.as_deref().unwrap_or(NEVER),
    })
}

fn host_config(record: &Record) -> Value {
    let binds: Vec<&str> =
        record.mounts.iter().map(|mount| mount.given.as_str()).filter(|text| !text.is_empty()).collect();
    let (limits, rights) = (&record.resources, &record.security);
    let swap = limits.memory_swap.or_else(|| limits.memory.and_then(|memory| i64::try_from(memory * 2).ok()));
    let list = |names: &[String]| match names {
        [] => Value::Null,
        names => names.iter().map(|name| capability(name)).collect(),
    };
    let masks = |paths: &[&str]| if rights.privileged { Value::Null } else { json!(paths) };
    json!({
        "Binds": if binds.is_empty() { Value::Null } else { json!(binds) },
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {
            "max-size": record.log.max_size.to_string(),
            "max-file": record.log.max_files.to_string(),
        }},
        "NetworkMode": record.network.as_str(),
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": record.auto_remove,
        "CapAdd": list(&rights.cap_add),
        "CapDrop": list(&rights.cap_drop),
        "CgroupnsMode": "private",
        "IpcMode": "private",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "Privileged": rights.privileged,
        "ReadonlyRootfs": rights.read_only,
        "SecurityOpt": null,
        "ShmSize": 64 << 20,
        "Runtime": "onggi",
        "Isolation": "",
        "Memory": limits.memory.unwrap_or(0),
        "MemorySwap": swap.unwrap_or(0),
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "PidsLimit": limits.pids,
        "Devices": [],
        "Ulimits": [],
        "MaskedPaths": masks(&crate::defaults::masks::MASKED),
        "ReadonlyPaths": masks(&crate::defaults::masks::READ_ONLY),
    })
}

/// The kernel's name for what was written in any of the forms that are taken.
fn capability(given: &str) -> String {
    let upper = given.to_ascii_uppercase();
    if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

fn mount(mount: &MountPoint) -> Value {
    let mut shown = json!({
        "Type": if mount.volume.is_some() { "volume" } else { "bind" },
        "Source": mount.source,
        "Destination": mount.destination,
        "Mode": if mount.read_only { "ro" } else { "" },
        "RW": !mount.read_only,
        // Docker leaves the propagation of volumes empty.
        "Propagation": if mount.volume.is_some() { "" } else { mount.propagation.as_str() },
    });
    // Empty rather than not there for a path of the host: templates ask every mount for them.
    shown["Name"] = json!(mount.volume.as_deref().unwrap_or_default());
    shown["Driver"] = json!(mount.volume.as_ref().map_or("", |_| "local"));
    shown
}

fn config(record: &Record) -> Value {
    let config = &record.config;
    let host = record.network == NetworkMode::Host && record.hostname.is_none();
    let volumes: Map<String, Value> = config.volumes.keys().map(|path| (path.clone(), json!({}))).collect();
    json!({
        "Hostname": if host { start::host_name() } else { record.hostname().to_owned() },
        "Domainname": "",
        "User": config.user,
        "AttachStdin": record.attach.stdin,
        "AttachStdout": record.attach.stdout,
        "AttachStderr": record.attach.stderr,
        "Tty": record.terminal,
        "OpenStdin": record.open_stdin,
        "StdinOnce": record.open_stdin && record.attach.stdin,
        "Env": config.env,
        "Cmd": config.cmd,
        "Image": record.image.name,
        "Volumes": if volumes.is_empty() { Value::Null } else { Value::Object(volumes) },
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "OnBuild": null,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "StopTimeout": record.stop_timeout_secs,
        "ExposedPorts": config.exposed_ports,
    })
}

fn network(record: &Record, attached: Option<&Attached>) -> Value {
    let mut end = json!({
        "IPAddress": "", "IPPrefixLen": 0, "Gateway": "", "MacAddress": "",
        "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
    });
    if let Some(attached) = attached {
        end["IPAddress"] = json!(attached.address);
        end["IPPrefixLen"] = json!(attached.prefix);
        end["Gateway"] = json!(attached.gateway);
        end["MacAddress"] = json!(attached.mac);
    }
    let mut settings = json!({"Bridge": "", "SandboxID": "", "SandboxKey": "", "Ports": {}});
    settings["Networks"] = json!({ record.network.as_str(): end });
    // What old clients read at the top is the default network's.
    if let (Some(fields), Value::Object(end)) = (settings.as_object_mut(), end) {
        fields.extend(end);
    }
    settings
}
