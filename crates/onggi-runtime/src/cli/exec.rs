//! `exec`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use onggi_oci::runtime::{Capability, LinuxCapabilities, Process};
use onggi_sys::file::{self, CWD, Mode, OFlags};

use super::args::{Flag, Parsed, switch, value};
use super::create::{listen_fds, stdio, write_pid_file};
use super::global::Global;
use super::{Outcome, inspect, log, relay, user};
use crate::store::Store;
use crate::{Error, ExecRequest, Result, Target, protect};

const FLAGS: [Flag; 17] = [
    value("console-socket", "console-socket"),
    value("cwd", "cwd"),
    value("env", "e"),
    switch("tty", "t"),
    value("user", "u"),
    value("additional-gids", "g"),
    value("process", "p"),
    switch("detach", "d"),
    value("pid-file", "pid-file"),
    value("process-label", "process-label"),
    value("apparmor", "apparmor"),
    switch("no-new-privs", "no-new-privs"),
    value("cap", "c"),
    value("preserve-fds", "preserve-fds"),
    switch("ignore-paused", "ignore-paused"),
    switch("no-subreaper", "no-subreaper"),
    value("cgroup", "cgroup"),
];

pub(crate) fn exec(global: &Global, args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &FLAGS, false)?;
    if parsed.value("cgroup").is_some() {
        return Err(Error::Unsupported { at: "--cgroup".into(), why: "is not supported by this version".into() });
    }
    protect::ensure(&global.all_args)?;
    let (id, words) = parsed.rest.split_first().ok_or_else(|| Error::invalid("container id", "is missing"))?;
    let (target, process) = find(&global.store()?, id, &parsed, words)?;
    let detached = parsed.is_on("detach")?;
    let console_socket = parsed.value("console-socket").filter(|path| !path.is_empty()).map(PathBuf::from);
    let stdio = stdio(process.terminal().unwrap_or(false), console_socket.as_deref(), detached)?;
    let mut request = ExecRequest::new(&target, &process, stdio);
    request.preserve_fds = parsed.number("preserve-fds")?.unwrap_or(0) + listen_fds();
    let foreground = (!detached).then(|| relay::Foreground::begin(!parsed.is_on("no-subreaper")?)).transpose()?;
    let mut child = crate::exec(request)?;
    log::warnings(global, child.warnings());
    if let Some(path) = parsed.value("pid-file").filter(|path| !path.is_empty()) {
        write_pid_file(Path::new(path), child.pid())?;
    }
    let Some(foreground) = foreground else { return Ok(ExitCode::SUCCESS) };
    let console = child.console();
    foreground.follow(child.pidfd(), console.as_ref()).map(|ended| ExitCode::from(ended.code()))
}

/// The container, and the process to be put into it.
fn find(store: &Store, id: &str, parsed: &Parsed, words: &[String]) -> Result<(Target, Process)> {
    let entry = store.entry(id)?;
    let state = entry.state()?;
    inspect::require_alive(&entry, &state, parsed.is_on("ignore-paused")?)?;
    let spec = entry.spec()?;
    let process = match parsed.value("process").filter(|path| !path.is_empty()) {
        Some(path) => read_process(Path::new(path))?,
        None => {
            let base = spec.process().clone().ok_or_else(|| Error::invalid("process", "is missing"))?;
            changed(base, parsed, words)?
        }
    };
    let target = Target { pid: state.pid, start_time: state.start_time, spec, cgroup: state.cgroup };
    Ok((target, process))
}

fn read_process(path: &Path) -> Result<Process> {
    let step = || Error::step(format!("read {}", path.display()));
    let file = file::open(CWD, path, OFlags::RDONLY, Mode::empty()).map_err(step())?;
    let text = file::read_all(file, 16 << 20).map_err(step())?;
    serde_json::from_slice(&text).map_err(|error| Error::invalid(path.display().to_string(), error.to_string()))
}

/// The container's own process with what the flags change.
fn changed(mut process: Process, parsed: &Parsed, words: &[String]) -> Result<Process> {
    if words.is_empty() {
        return Err(Error::invalid("arguments", "there is no command to execute"));
    }
    process.set_args(Some(words.to_vec()));
    process.set_terminal(Some(parsed.is_on("tty")?));
    if let Some(cwd) = parsed.value("cwd") {
        process.set_cwd(PathBuf::from(cwd));
    }
    if let Some(text) = parsed.value("user") {
        let (uid, gid) = user::parse(text)?;
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    let more = parsed.values("additional-gids").map(|text| {
        text.parse::<u32>()
            .map_err(|_| Error::invalid("--additional-gids", format!("`{}` is no group", text.escape_debug())))
    });
    let more = more.collect::<Result<Vec<_>>>()?;
    if !more.is_empty() {
        let mut groups = process.user().additional_gids().clone().unwrap_or_default();
        groups.extend(more);
        process.user_mut().set_additional_gids(Some(groups));
    }
    add_environment(&mut process, parsed);
    if parsed.is_on("no-new-privs")? {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = parsed.value("apparmor") {
        process.set_apparmor_profile(Some(profile.into()));
    }
    if let Some(label) = parsed.value("process-label") {
        process.set_selinux_label(Some(label.into()));
    }
    add_capabilities(&mut process, parsed)?;
    Ok(process)
}

fn add_environment(process: &mut Process, parsed: &Parsed) {
    let mut env = process.env().clone().unwrap_or_default();
    for entry in parsed.values("env") {
        let name = entry.split_once('=').map_or(entry, |(name, _)| name);
        env.retain(|known| known.split_once('=').map_or(known.as_str(), |(known, _)| known) != name);
        env.push(entry.into());
    }
    process.set_env(Some(env));
}

/// Into every set but the inheritable and ambient ones: those would reach what the program executes (CVE-2022-29162).
fn add_capabilities(process: &mut Process, parsed: &Parsed) -> Result<()> {
    let mut added = Vec::new();
    for name in parsed.values("cap") {
        let name = name.to_ascii_uppercase();
        let full = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
        let parsed: std::result::Result<Capability, _> =
            serde_json::from_value(serde_json::Value::String(full.clone()));
        added.push(parsed.map_err(|_| Error::invalid("--cap", format!("`{}` is no capability", full.escape_debug())))?);
    }
    if added.is_empty() {
        return Ok(());
    }
    let mut capabilities = process.capabilities().clone().unwrap_or_else(none);
    let with = |set: &Option<onggi_oci::runtime::Capabilities>| {
        Some(set.iter().flatten().chain(&added).copied().collect::<onggi_oci::runtime::Capabilities>())
    };
    let (bounding, effective, permitted) =
        (with(capabilities.bounding()), with(capabilities.effective()), with(capabilities.permitted()));
    capabilities.set_bounding(bounding);
    capabilities.set_effective(effective);
    capabilities.set_permitted(permitted);
    process.set_capabilities(Some(capabilities));
    Ok(())
}

/// No capability at all; the type's own default has some.
fn none() -> LinuxCapabilities {
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(None);
    capabilities.set_effective(None);
    capabilities.set_permitted(None);
    capabilities.set_inheritable(None);
    capabilities.set_ambient(None);
    capabilities
}
