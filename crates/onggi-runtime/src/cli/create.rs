//! `create` and `run`.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use onggi_fs::{Durability, Root, write_atomic};
use onggi_oci::runtime::Spec;
use onggi_sys::process;

use super::args::{Flag, Parsed, switch, value};
use super::global::Global;
use super::{Outcome, log, relay};
use crate::lifecycle::{self, Gate};
use crate::{Container, CreateRequest, Error, Result, Rootfs, Stdio, protect, spec_file};

const FLAGS: [Flag; 9] = [
    value("bundle", "b"),
    value("console-socket", "console-socket"),
    value("pid-file", "pid-file"),
    switch("no-pivot", "no-pivot"),
    switch("no-new-keyring", "no-new-keyring"),
    value("preserve-fds", "preserve-fds"),
    switch("detach", "d"),
    switch("no-subreaper", "no-subreaper"),
    switch("keep", "keep"),
];

/// Makes a container; another command starts it.
pub(crate) fn create(global: &Global, args: &[String]) -> Outcome {
    // First of all: whatever is read before it is read twice.
    protect::ensure(&global.all_args)?;
    let asked = Asked::parse(args, false)?;
    let container = asked.make(global, Gate::Listener, asked.stdio(Detached::Yes)?)?;
    log::warnings(global, container.warnings());
    asked.write_pid_file(container.pid()).or_else(|error| give_up(global, &asked.id, container, error))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a container and starts it; in the foreground also waits for its end and takes it away.
pub(crate) fn run(global: &Global, args: &[String]) -> Outcome {
    protect::ensure(&global.all_args)?;
    let asked = Asked::parse(args, true)?;
    let detached = if asked.detach { Detached::Yes } else { Detached::No };
    let stdio = asked.stdio(detached)?;
    let foreground = (!asked.detach).then(|| relay::Foreground::begin(asked.subreaper)).transpose()?;
    let mut container = asked.make(global, Gate::Caller, stdio)?;
    let started = asked.write_pid_file(container.pid()).and_then(|()| container.start());
    log::warnings(global, container.warnings());
    if let Err(error) = started {
        return give_up(global, &asked.id, container, error).map(|()| ExitCode::FAILURE);
    }
    let Some(foreground) = foreground else { return Ok(ExitCode::SUCCESS) };
    let console = container.console();
    let ended = foreground.follow(container.pidfd(), console.as_ref())?;
    if !asked.keep {
        let store = global.store()?;
        let entry = store.entry(&asked.id)?;
        log::warnings(global, &lifecycle::delete_ended(&store, &entry, &asked.spec)?);
    }
    Ok(ExitCode::from(ended.code()))
}

/// Takes back a container that was made but is of no use, and passes on why.
fn give_up(global: &Global, id: &str, container: Container, error: Error) -> Result<()> {
    // What cannot be taken away is left for `delete`; the first failure is the one to tell.
    drop(process::pidfd_signal(container.pidfd(), 9));
    drop(process::wait(container.pidfd()));
    drop(container);
    drop(global.store().and_then(|store| {
        let entry = store.entry(id)?;
        lifecycle::delete(&store, &entry, true)
    }));
    Err(error)
}

/// What was asked for.
struct Asked {
    id: String,
    bundle: PathBuf,
    spec: Spec,
    config: Vec<u8>,
    console_socket: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    no_pivot: bool,
    keep_keyring: bool,
    preserve_fds: u32,
    detach: bool,
    subreaper: bool,
    keep: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Detached {
    Yes,
    No,
}

impl Asked {
    fn parse(args: &[String], is_run: bool) -> Result<Self> {
        let known = if is_run { &FLAGS[..] } else { &FLAGS[..6] };
        let parsed = Parsed::parse(args, known, true)?;
        let id = parsed.only_id()?.to_owned();
        crate::plan::check_id(&id)?;
        let bundle = parsed.value("bundle").unwrap_or(".");
        let bundle =
            std::fs::canonicalize(bundle).map_err(|error| Error::invalid("--bundle", format!("{bundle}: {error}")))?;
        let (spec, config) = spec_file::load(&bundle)?;
        Ok(Self {
            id,
            bundle,
            spec,
            config,
            console_socket: parsed.value("console-socket").filter(|path| !path.is_empty()).map(PathBuf::from),
            pid_file: parsed.value("pid-file").filter(|path| !path.is_empty()).map(PathBuf::from),
            no_pivot: parsed.is_on("no-pivot")?,
            keep_keyring: parsed.is_on("no-new-keyring")?,
            preserve_fds: parsed.number("preserve-fds")?.unwrap_or(0) + listen_fds(),
            detach: parsed.is_on("detach")?,
            subreaper: !parsed.is_on("no-subreaper")?,
            keep: parsed.is_on("keep")?,
        })
    }

    fn stdio(&self, detached: Detached) -> Result<Stdio> {
        let terminal = self.spec.process().as_ref().and_then(onggi_oci::runtime::Process::terminal).unwrap_or(false);
        stdio(terminal, self.console_socket.as_deref(), detached == Detached::Yes)
    }

    fn make(&self, global: &Global, gate: Gate, stdio: Stdio) -> Result<Container> {
        let mut request = CreateRequest::new(&self.id, &self.bundle, &self.spec, Rootfs::Bundle, stdio);
        request.preserve_fds = self.preserve_fds;
        request.keep_keyring = self.keep_keyring;
        request.no_pivot = self.no_pivot;
        let store = global.store()?;
        log::debug(global, &format!("creating container `{}` from {}", self.id, self.bundle.display()));
        lifecycle::create(&store, request, &self.config, gate)
    }

    fn write_pid_file(&self, pid: i32) -> Result<()> {
        self.pid_file.as_deref().map_or(Ok(()), |path| write_pid_file(path, pid))
    }
}

/// Which standard streams go with a terminal or without one.
pub(super) fn stdio(terminal: bool, console_socket: Option<&Path>, detached: bool) -> Result<Stdio> {
    match (terminal, console_socket) {
        (true, Some(path)) => Ok(Stdio::ConsoleSocket(path.to_owned())),
        (true, None) if detached => {
            Err(Error::invalid("--console-socket", "is needed: a detached process has nobody to hold its terminal"))
        }
        (true, None) => Ok(Stdio::Terminal { size: relay::own_size() }),
        (false, Some(_)) => {
            Err(Error::invalid("--console-socket", "is for a process with a terminal (process.terminal)"))
        }
        (false, None) => Ok(Stdio::Inherit),
    }
}

/// How many descriptors from 3 on a service manager passed to us (`LISTEN_FDS`), which go to the container.
pub(super) fn listen_fds() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|text| text.parse().ok()).filter(|&count: &u32| count < 1024).unwrap_or(0)
}

/// Writes a pid where a caller waits for it: whole or not at all.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let step = || Error::step(format!("write the pid file {}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| Error::invalid("--pid-file", "is no file name"))?;
    let dir = Root::open(parent).map_err(step())?;
    write_atomic(dir.as_fd(), name, pid.to_string().as_bytes(), 0o644, Durability::Volatile).map_err(step())
}
