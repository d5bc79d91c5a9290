//! What the commands do to a container on record.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use onggi_cgroup::Cgroup;
use onggi_fs::{Lock, Root};
use onggi_oci::runtime::{LinuxNamespaceType, Spec};
use onggi_sys::{Errno, pidfd, process};

use crate::channel::{Channel, Order};
use crate::container::{self, await_program};
use crate::state_json::StateJson;
use crate::store::{Entry, State, Status, Store};
use crate::{Container, CreateRequest, Error, Result, hook};

/// How long a killed process has to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the command line makes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Another command starts it.
    Listener,
    /// The caller does.
    Caller,
}

/// Makes a container and puts it on record; nothing of it stays if that fails.
pub(crate) fn create(store: &Store, request: CreateRequest<'_>, config: &[u8], gate: Gate) -> Result<Container> {
    let (entry, lock) = store.claim(request.id)?;
    let mut lock = Some(lock);
    let made = create_in(&entry, &mut lock, request, config, gate);
    if made.is_err() {
        // The failure is the one to tell.
        drop(store.remove(&entry));
    }
    made
}

fn create_in(
    entry: &Entry,
    lock: &mut Option<Lock>,
    request: CreateRequest<'_>,
    config: &[u8],
    gate: Gate,
) -> Result<Container> {
    let spec = request.spec;
    let mut state = new_state(entry, request.bundle, spec);
    entry.write_config(config)?;
    // The claim is on record before there is anything that a killed command could leave behind.
    state.cgroup_path = container::cgroup_path(&request)?.to_string();
    entry.write_state(&state)?;
    let listener = match gate {
        Gate::Listener => Some(entry.listen()?),
        Gate::Caller => None,
    };
    let container = container::create_with(request, listener, lock, &mut |_| Ok(()))?;
    state.pid = container.pid();
    state.start_time = container.start_time();
    state.cgroup = container.cgroup().paths();
    let kept = entry.write_state(&state).and_then(|()| match gate {
        Gate::Listener => container.keep(),
        Gate::Caller => Ok(()),
    });
    match kept {
        Ok(()) => Ok(container),
        Err(error) => {
            drop(container.destroy());
            Err(error)
        }
    }
}

fn new_state(entry: &Entry, bundle: &Path, spec: &Spec) -> State {
    let rootfs = spec.root().as_ref().map(|root| bundle.join(root.path()));
    State {
        id: entry.id.clone(),
        pid: 0,
        start_time: 0,
        bundle: bundle.to_owned(),
        rootfs: rootfs.unwrap_or_default(),
        created: jiff::Timestamp::now().to_string(),
        owner: process::effective_user(),
        cgroup_path: String::new(),
        cgroup: BTreeMap::new(),
        annotations: spec.annotations().clone().unwrap_or_default(),
    }
}

/// Starts a created container; what could not be given, one line each.
///
/// # Errors
/// [`Error::Exec`] if its program could not be executed.
pub(crate) fn start(entry: &Entry) -> Result<Vec<String>> {
    let _lock = entry.lock()?;
    let state = entry.state()?;
    let status = entry.status(&state);
    if status != Status::Created {
        return Err(conflict("start", entry, status));
    }
    let channel = match entry.connect() {
        Ok(socket) => Channel::from_fd(socket),
        Err(error) if error.is(Errno::CONNREFUSED) => return Err(conflict("start", entry, Status::Running)),
        Err(error) => return Err(error).map_err(Error::step("reach the container's gate")),
    };
    channel.order(Order::Start).map_err(Error::step("open the gate"))?;
    let mut warnings = await_program(&channel)?;
    entry.started()?;
    let spec = entry.spec()?;
    let json = document(&state, "running");
    if let Err(failure) = hook::run_all("poststart", hook::named(spec.hooks().as_ref(), "poststart"), &json) {
        warnings.push(format!("cannot {}: {}", failure.stage, failure.causes.join(": ")));
    }
    Ok(warnings)
}

/// Sends `signal` to the first process, or to every process of the container.
pub(crate) fn kill(entry: &Entry, signal: i32, all: bool) -> Result<()> {
    let state = entry.state()?;
    let process = state.process()?;
    if all {
        let cgroup = state.open_cgroup()?;
        let signal = onggi_cgroup::Signal::from_named_raw(signal)
            .ok_or_else(|| Error::invalid("signal", format!("{signal} cannot be sent to all processes")))?;
        let reached = cgroup.signal_all(signal).map_err(container::from_cgroup)?;
        if reached > 0 || process.is_some() {
            return Ok(());
        }
    }
    let Some(process) = process else { return Err(conflict("kill", entry, Status::Stopped)) };
    process::pidfd_signal(&process, signal).map_err(Error::step(format!("signal container `{}`", entry.id)))
}

/// Takes a container away: one that has ended or was never started, with `force` any.
///
/// What it warns of is answered, one line each.
pub(crate) fn delete(store: &Store, entry: &Entry, force: bool) -> Result<Vec<String>> {
    let _lock = entry.lock()?;
    let state = match entry.state() {
        Err(Error::NotFound(_)) => return store.remove(entry).map(|()| Vec::new()),
        other => other?,
    };
    let status = entry.status(&state);
    if !force && matches!(status, Status::Running | Status::Paused) {
        return Err(conflict("delete", entry, status));
    }
    let process = state.process()?;
    if let Some(process) = &process {
        process::pidfd_signal(process, 9).map_err(Error::step(format!("kill container `{}`", entry.id)))?;
        thaw(&state);
        pidfd::wait_exited(process, Some(PATIENCE)).map_err(Error::step("wait for the container's end"))?;
    }
    drop(process);
    // One whose specification is damaged can still be taken away.
    let spec = entry.spec().ok();
    take_away(store, entry, &state, spec.as_ref())
}

/// The same for a container that has ended, by who made it and so knows its specification.
pub(crate) fn delete_ended(store: &Store, entry: &Entry, spec: &Spec) -> Result<Vec<String>> {
    let _lock = entry.lock()?;
    take_away(store, entry, &entry.state()?, Some(spec))
}

fn take_away(store: &Store, entry: &Entry, state: &State, spec: Option<&Spec>) -> Result<Vec<String>> {
    let survivors = if spec.is_some_and(has_own_pids) { Survivors::None } else { Survivors::Possible };
    clear(store.dir(), entry, survivors)?;
    let json = document(state, "stopped");
    let mut warnings = Vec::new();
    for (index, hook) in hook::named(spec.and_then(|spec| spec.hooks().as_ref()), "poststop").iter().enumerate() {
        // One that fails does not keep the others from cleaning up.
        if let Err(failure) = hook::run_all("poststop", std::slice::from_ref(hook), &json) {
            warnings.push(format!("hook poststop[{index}]: {}", failure.causes.join(": ")));
        }
    }
    Ok(warnings)
}

/// Whether anybody can have outlived the first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survivors {
    /// The kernel kills a pid namespace with its first process.
    None,
    Possible,
}

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    namespaces.iter().any(|one| one.typ() == LinuxNamespaceType::Pid && one.path().is_none())
}

/// Removes a container's control group and directory.
pub(crate) fn clear(root: &Root, entry: &Entry, survivors: Survivors) -> Result<()> {
    match entry.state() {
        // Its creator was killed, and its process with it; whoever is in that group now is somebody else's.
        Ok(state) if state.pid == 0 => drop(state.open_cgroup().map(Cgroup::remove)),
        Ok(state) if survivors == Survivors::None => state.open_cgroup()?.remove().map_err(container::from_cgroup)?,
        Ok(state) => container::remove_cgroup(state.open_cgroup()?)?,
        Err(_) => {}
    }
    onggi_fs::remove_tree(root, &entry.id).map_err(Error::step(format!("remove container `{}`", entry.id)))
}

/// A frozen process does not die before it is thawed.
fn thaw(state: &State) {
    if let Ok(cgroup) = state.open_cgroup() {
        drop(cgroup.thaw());
    }
}

fn document(state: &State, status: &str) -> Vec<u8> {
    let pid = if status == "stopped" { 0 } else { state.pid };
    StateJson { id: &state.id, bundle: &state.bundle, annotations: Some(&state.annotations) }.render(status, pid)
}

pub(crate) fn conflict(operation: &'static str, entry: &Entry, status: Status) -> Error {
    Error::Conflict { operation, id: entry.id.clone(), status: status.name().into() }
}
