//! `state`, `list`, `ps`, `features`.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use onggi_oci::runtime::SPEC_VERSION;
use serde::Serialize;

use super::args::{Parsed, switch, value};
use super::global::Global;
use super::{Outcome, print};
use crate::container::from_cgroup;
use crate::store::{Entry, State, Status};
use crate::{Error, Result, plan};

/// One container as runc prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'a str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    annotations: &'a HashMap<String, String>,
    owner: String,
}

impl<'a> Shown<'a> {
    fn new(state: &'a State, status: Status) -> Self {
        Self {
            oci_version: SPEC_VERSION,
            id: &state.id,
            // A process that has ended has no pid that would mean anything.
            pid: if status == Status::Stopped { 0 } else { state.pid },
            status: status.name(),
            bundle: &state.bundle,
            rootfs: &state.rootfs,
            created: &state.created,
            annotations: &state.annotations,
            owner: owner_name(state.owner),
        }
    }
}

/// Only root has a name here: the others' would have to be looked up through the C library's plugins.
fn owner_name(uid: u32) -> String {
    if uid == 0 { "root".into() } else { format!("#{uid}") }
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn state(global: &Global, args: &[String]) -> Outcome {
    let entry = global.store()?.entry(Parsed::parse(args, &[], true)?.only_id()?)?;
    let state = entry.state()?;
    print(&pretty(&Shown::new(&state, entry.status(&state))))
}

pub(crate) fn list(global: &Global, args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &[value("format", "f"), switch("quiet", "q")], true)?;
    let store = global.store()?;
    let found: Vec<(State, Status)> = store
        .ids()?
        .iter()
        // What is being made, or taken away meanwhile, is not there.
        .filter_map(|id| known(&store.entry(id).ok()?))
        .collect();
    if parsed.is_on("quiet")? {
        return print(&found.iter().map(|(state, _)| format!("{}\n", state.id)).collect::<String>());
    }
    let shown: Vec<_> = found.iter().map(|(state, status)| Shown::new(state, *status)).collect();
    match parsed.value("format") {
        None | Some("table") => print(&table(&shown)),
        Some("json") => print(&format!("{}\n", serde_json::to_string(&shown).unwrap_or_default())),
        Some(other) => Err(Error::invalid("--format", format!("`{}` is not table or json", other.escape_debug()))),
    }
}

fn known(entry: &Entry) -> Option<(State, Status)> {
    let state = entry.state().ok()?;
    let status = entry.status(&state);
    Some((state, status))
}

fn table(shown: &[Shown<'_>]) -> String {
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = shown.iter().map(|one| {
        let bundle = one.bundle.display().to_string();
        [one.id.into(), one.pid.to_string(), one.status.into(), bundle, one.created.into(), one.owner.clone()]
    });
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(rows).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 6]| {
        let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}   ")).collect();
        format!("{}\n", cells.trim_end())
    };
    rows.iter().map(line).collect()
}

/// The container's processes as pids, or as `ps` (the host's) shows them.
pub(crate) fn ps(global: &Global, args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &[value("format", "f")], true)?;
    let entry = global.store()?.entry(parsed.only_id()?)?;
    let state = entry.state()?;
    if !state.is_alive() {
        return Err(crate::lifecycle::conflict("list the processes of", &entry, Status::Stopped));
    }
    let mut pids = state.open_cgroup()?.procs().map_err(from_cgroup)?;
    pids.sort_unstable();
    match parsed.value("format") {
        Some("json") => print(&format!("{}\n", serde_json::to_string(&pids).unwrap_or_default())),
        None | Some("table") => {
            let rows: String = pids.iter().map(|pid| format!("{pid:>8} {}\n", command_of(*pid))).collect();
            print(&format!("     PID CMD\n{rows}"))
        }
        Some(other) => Err(Error::invalid("--format", format!("`{}` is not table or json", other.escape_debug()))),
    }
}

fn command_of(pid: i32) -> String {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ")
}

pub(crate) fn features(args: &[String]) -> Outcome {
    if let Some(extra) = args.first() {
        return Err(Error::invalid("arguments", format!("`{}` is one too many", extra.escape_debug())));
    }
    let enabled = serde_json::json!({ "enabled": true });
    let disabled = serde_json::json!({ "enabled": false });
    let features = serde_json::json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": plan::mount::known_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": plan::process::CAPABILITY_NAMES,
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
            "seccomp": crate::filter::features(),
            "apparmor": enabled,
            "selinux": enabled,
            "intelRdt": disabled,
            "mountExtensions": { "idmap": enabled },
            "netDevices": disabled,
        },
        "annotations": { "io.onggi.version": env!("CARGO_PKG_VERSION") },
    });
    print(&pretty(&features)).map(|_| ExitCode::SUCCESS)
}

/// The status of `id`, for `exec`.
pub(super) fn require_alive(entry: &Entry, state: &State, ignore_paused: bool) -> Result<()> {
    match entry.status(state) {
        Status::Created | Status::Running => Ok(()),
        Status::Paused if ignore_paused => Ok(()),
        status => Err(crate::lifecycle::conflict("execute in", entry, status)),
    }
}
