//! `start`, `kill`, `delete`, `pause`, `resume`.

use std::process::ExitCode;

use onggi_sys::signal;

use super::args::{Parsed, switch};
use super::global::Global;
use super::{Outcome, log};
use crate::container::from_cgroup;
use crate::store::Status;
use crate::{Error, lifecycle};

pub(crate) fn start(global: &Global, args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &[], true)?;
    let entry = global.store()?.entry(parsed.only_id()?)?;
    log::warnings(global, &lifecycle::start(&entry)?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn kill(global: &Global, args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &[switch("all", "a")], true)?;
    let (id, name) = match parsed.rest.as_slice() {
        [id] => (id, "TERM"),
        [id, name] => (id, name.as_str()),
        _ => return Err(Error::invalid("arguments", "kill takes a container id and a signal")),
    };
    let entry = global.store()?.entry(id)?;
    let number =
        signal::parse(name).ok_or_else(|| Error::invalid("signal", format!("`{}` is none", name.escape_debug())))?;
    lifecycle::kill(&entry, number, parsed.is_on("all")?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn delete(global: &Global, args: &[String]) -> Outcome {
    let parsed = Parsed::parse(args, &[switch("force", "f")], true)?;
    let force = parsed.is_on("force")?;
    let store = global.store()?;
    let entry = match store.entry(parsed.only_id()?) {
        // As `rm -f`: it is gone, which is what was asked for.
        Err(Error::NotFound(_)) if force => return Ok(ExitCode::SUCCESS),
        other => other?,
    };
    log::warnings(global, &lifecycle::delete(&store, &entry, force)?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn pause(global: &Global, args: &[String]) -> Outcome {
    let entry = global.store()?.entry(Parsed::parse(args, &[], true)?.only_id()?)?;
    let _lock = entry.lock()?;
    let state = entry.state()?;
    match entry.status(&state) {
        Status::Running | Status::Created => {}
        status => return Err(lifecycle::conflict("pause", &entry, status)),
    }
    state.open_cgroup()?.freeze().map_err(from_cgroup)?.keep();
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn resume(global: &Global, args: &[String]) -> Outcome {
    let entry = global.store()?.entry(Parsed::parse(args, &[], true)?.only_id()?)?;
    let _lock = entry.lock()?;
    let state = entry.state()?;
    match entry.status(&state) {
        Status::Paused => state.open_cgroup()?.thaw().map_err(from_cgroup).map(|()| ExitCode::SUCCESS),
        status => Err(lifecycle::conflict("resume", &entry, status)),
    }
}
