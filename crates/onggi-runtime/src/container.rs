//! From a request to a process that waits at the gate, and from there to the user's program.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use onggi_cgroup::{Cgroup, CgroupPath};
use onggi_diag::{Diagnose, Record};
use onggi_fs::Lock;
use onggi_oci::runtime::Hook;
use onggi_sys::namespace as ns;
use onggi_sys::process::{self, CloneRequest, Forked};
use onggi_sys::{capability, file, pidfd};

use crate::channel::{Channel, Order, Report};
use crate::failure::Failure;
use crate::init::{self, Job, Streams};
use crate::plan::{NamespacePlan, Plan};
use crate::rootfs::{self, Hierarchy};
use crate::state_json::StateJson;
use crate::{CreateRequest, Error, Result, Rootfs, Stdio, console, filter, hook, maps};

/// How long a killed process has to be gone.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A container whose first process exists.
///
/// Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Container {
    pid: i32,
    start_time: u64,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
    cgroup: Cgroup,
    channel: Option<Channel>,
    poststart: Vec<Hook>,
    /// The state document for the hooks that run after the start.
    running: Vec<u8>,
}

/// What the caller does between clone and gate.
pub(crate) type OnSpawned<'f> = &'f mut dyn FnMut(i32) -> std::result::Result<(), Box<dyn Diagnose>>;

impl Container {
    /// The first process, as the caller's namespace numbers it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When the first process started, in clock ticks after boot.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The first process itself; readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The container's control group.
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Hands out the master of the container's terminal, once.
    pub fn console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// What was asked for and could not be given, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Lets a container that is started over a listener outlive the caller: it is on record now.
    pub(crate) fn keep(&self) -> Result<()> {
        let Some(channel) = &self.channel else { return Ok(()) };
        channel.order(Order::Kept).map_err(Error::step("talk to the container"))?;
        match channel.next().map_err(Error::step("hear from the container"))? {
            Some(Report::Ready) => Ok(()),
            Some(Report::Failed(record, code)) => Err(failed(record, code)),
            _ => Err(died()),
        }
    }

    /// Opens the gate: returns when the user's program runs and the poststart hooks have run.
    ///
    /// # Errors
    /// [`Error::Exec`] with 126 or 127 if it could not be executed: the first process has ended then, or is about to,
    /// and waits to be reaped. A poststart hook that fails is a warning, as the specification has it.
    pub fn start(&mut self) -> Result<()> {
        let channel = self.channel.take().ok_or_else(|| Error::Conflict {
            operation: "start",
            id: self.pid.to_string(),
            status: "started already".into(),
        })?;
        channel.order(Order::Start).map_err(Error::step("open the gate"))?;
        self.warnings.extend(await_program(&channel)?);
        if let Err(failure) = hook::run_all("poststart", &self.poststart, &self.running) {
            self.warnings.push(format!("cannot {}: {}", failure.stage, failure.causes.join(": ")));
        }
        Ok(())
    }

    /// Kills the container and takes away what it used: for a caller that gives it up.
    ///
    /// # Errors
    /// The first thing that could not be taken away; the rest was.
    pub fn destroy(self) -> Result<()> {
        drop(process::pidfd_signal(&self.pidfd, 9));
        drop(process::wait(&self.pidfd));
        remove_cgroup(self.cgroup)
    }
}

/// Reads what comes after the start until the channel closes itself, which exec does; the warnings among it.
pub(crate) fn await_program(channel: &Channel) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    loop {
        match channel.next().map_err(Error::step("hear from the container"))? {
            None => return Ok(warnings),
            Some(Report::Failed(record, code)) => return Err(failed(record, code)),
            Some(Report::Warning(warning)) => warnings.push(warning),
            Some(_) => {}
        }
    }
}

pub(crate) fn failed(record: Record, code: Option<u8>) -> Error {
    match code {
        Some(code) => Error::Exec { record, code },
        None => Error::Child { record },
    }
}

/// Makes a container: all of its world, and its first process waiting at the gate.
///
/// `on_spawned` is called with the first process's pid when its namespaces exist, while it builds its root; what it
/// fails with comes back as [`Error::Caller`].
///
/// # Errors
/// Nothing is left behind: no process, control group or mount.
pub fn create(
    request: CreateRequest<'_>,
    on_spawned: &mut dyn FnMut(i32) -> std::result::Result<(), Box<dyn Diagnose>>,
) -> Result<Container> {
    create_with(request, None, &mut None, on_spawned)
}

/// The same with the start coming over `listener` rather than from [`Container::start`], while `held` stays ours.
pub(crate) fn create_with(
    mut request: CreateRequest<'_>,
    listener: Option<OwnedFd>,
    held: &mut Option<Lock>,
    on_spawned: OnSpawned<'_>,
) -> Result<Container> {
    let plan = Plan::new(&request)?;
    let filter = filter::compile(plan.seccomp)?;
    let state = StateJson { id: request.id, bundle: request.bundle, annotations: request.spec.annotations().as_ref() };
    let console_socket = match &request.stdio {
        Stdio::ConsoleSocket(path) => Some(path.clone()),
        _ => None,
    };
    let (sources, rootfs) = for_others(&plan, request.rootfs)?;
    request.rootfs = Rootfs::Bundle;
    let mut making = Making { cgroup: Some(make_cgroup(&request)?), pidfd: None };
    let cgroup = making.cgroup.as_ref().expect("it was just put there");
    let keyring = CString::new(format!("_ses.{}", request.id)).unwrap_or_default();
    let (ours, theirs) = Channel::pair().map_err(Error::step("make a channel"))?;
    let into = if plan.namespaces.joins(ns::USER) { None } else { cgroup_dir(cgroup)? };
    let job = Job {
        plan: &plan,
        channel: theirs,
        held: held.take(),
        listener,
        entry: cgroup.entry(into.is_some()).map_err(from_cgroup)?,
        hierarchies: Hierarchy::all(&cgroup.paths()),
        rootfs,
        sources,
        streams: streams(request.stdio, plan.process.console_size),
        filter,
        state,
        keyring: (!request.keep_keyring).then_some(keyring),
        die_with_parent: request.parent_death_signal,
        preserve_fds: request.preserve_fds,
        no_pivot: request.no_pivot,
    };
    let pid = spawn(&plan.namespaces, job, into.as_ref(), &ours, (&mut making, held))?;
    let mut conversation =
        Conversation { channel: &ours, plan: &plan, state, pid, console: None, warnings: Vec::new() };
    conversation.lead(on_spawned)?;
    let Conversation { console, warnings, .. } = conversation;
    let console = match (console, console_socket) {
        (Some(master), Some(path)) => {
            let send = console::send_master(&path, &master);
            send.map_err(Error::step(format!("send the terminal to {}", path.display())))?;
            None
        }
        (console, _) => console,
    };
    let (start_time, _) = process::start_time(pid).map_err(Error::step("read the container's start time"))?;
    let (cgroup, pidfd) = making.done();
    Ok(Container {
        pid,
        start_time,
        pidfd,
        console,
        warnings,
        cgroup,
        channel: Some(ours),
        poststart: hook::named(plan.hooks, "poststart").to_vec(),
        running: state.render("running", pid),
    })
}

/// What is taken back if the container does not come to be.
struct Making {
    cgroup: Option<Cgroup>,
    pidfd: Option<OwnedFd>,
}

impl Making {
    fn done(mut self) -> (Cgroup, OwnedFd) {
        let both = self.cgroup.take().zip(self.pidfd.take());
        both.expect("the container was spawned")
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // The failure that brought us here is the one to tell.
        if let Some(pidfd) = self.pidfd.take() {
            drop(process::pidfd_signal(&pidfd, 9));
            drop(process::wait(&pidfd));
        }
        if let Some(cgroup) = self.cgroup.take() {
            drop(remove_cgroup(cgroup));
        }
    }
}

/// Ends whoever is left in the group and removes it.
pub(crate) fn remove_cgroup(cgroup: Cgroup) -> Result<()> {
    cgroup.destroy(PATIENCE).map_err(from_cgroup)
}

pub(crate) fn from_cgroup(error: onggi_cgroup::Error) -> Error {
    Error::Cgroup(error)
}

fn make_cgroup(request: &CreateRequest<'_>) -> Result<Cgroup> {
    let resources = request.spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    Cgroup::create(&cgroup_path(request)?, resources).map_err(from_cgroup)
}

pub(crate) fn cgroup_path(request: &CreateRequest<'_>) -> Result<CgroupPath> {
    let own = request.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    let path = match own.filter(|path| !path.as_os_str().is_empty()).or(request.default_cgroup) {
        Some(path) => path.display().to_string(),
        None => format!("/onggi/{}", request.id),
    };
    CgroupPath::parse(&path).map_err(from_cgroup)
}

/// A descriptor of the v2 group to be cloned into.
fn cgroup_dir(cgroup: &Cgroup) -> Result<Option<OwnedFd>> {
    cgroup.dir_fd().map(file::dup).transpose().map_err(Error::step("open the control group"))
}

/// What the container shows of the host, taken with our rights where its users may not have them.
fn for_others(plan: &Plan<'_>, rootfs: Rootfs) -> Result<(Option<rootfs::Sources>, Rootfs)> {
    const SYS_ADMIN: u64 = 1 << 21;
    let able = || capability::get().is_ok_and(|sets| sets.effective & SYS_ADMIN != 0);
    // The maps of a mount are a process's, whom we find in `/proc` only under our own numbers.
    let maps_mounts = plan.mounts.iter().any(|mount| mount.id_map.is_some());
    if !maps_mounts && (!plan.namespaces.maps_users() || !able()) {
        return Ok((None, rootfs));
    }
    let told = |failure: Failure| Error::Child { record: failure.into_record() };
    let sources = rootfs::open_sources(plan).map_err(told)?;
    let rootfs = match rootfs {
        Rootfs::Bundle if plan.namespaces.maps_users() => Rootfs::Mount(rootfs::open_root(plan).map_err(told)?),
        other => other,
    };
    Ok((Some(sources), rootfs))
}

pub(crate) fn streams(stdio: Stdio, asked: Option<(u16, u16)>) -> Streams {
    match stdio {
        Stdio::Inherit => Streams::Inherit,
        Stdio::Files { stdin, stdout, stderr } => Streams::Files([stdin, stdout, stderr]),
        Stdio::Terminal { size } => Streams::Terminal { size: size.or(asked) },
        Stdio::ConsoleSocket(_) => Streams::Terminal { size: asked },
    }
}

/// Clones the container's side; its pid.
fn spawn(
    namespaces: &NamespacePlan,
    mut job: Job<'_>,
    cgroup: Option<&OwnedFd>,
    ours: &Channel,
    (making, held): (&mut Making, &mut Option<Lock>),
) -> Result<i32> {
    let joining = !namespaces.join.is_empty() || namespaces.create & ns::TIME != 0;
    let request = CloneRequest {
        flags: if joining { 0 } else { namespaces.cloned() },
        cgroup: cgroup.filter(|_| !joining).map(AsFd::as_fd),
    };
    let clone = process::clone3(&request).map_err(Error::step("clone into the container's namespaces"))?;
    let (pid, pidfd) = match clone {
        Forked::Child => {
            // While we hold the caller's end too, its death is not the end of the messages, and we would wait for ever:
            // PDEATHSIG is not set yet.
            drop(process::replace(ours, &job.channel));
            match joining {
                true => init::run_joining(job, cgroup),
                false => init::run(job),
            }
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    *held = job.held.take();
    // Our copy of the container's end: while it is open the end of the messages never comes.
    drop(job);
    if !joining {
        making.pidfd = Some(pidfd);
        return Ok(pid);
    }
    let report = ours.next_successor();
    drop(process::wait(&pidfd));
    match report.map_err(Error::step("hear from the container"))? {
        Some(Report::Successor(pid)) => {
            making.pidfd = Some(pidfd::open(pid).map_err(Error::step("open the container's process"))?);
            Ok(pid)
        }
        Some(Report::Failed(record, code)) => Err(failed(record, code)),
        _ => Err(died()),
    }
}

pub(crate) fn died() -> Error {
    Error::Child {
        record: Record {
            stage: "hear from the container".into(),
            kind: onggi_diag::Kind::Unavailable,
            chain: vec!["its first process ended without a word, perhaps killed for want of memory".into()],
            errno: None,
            hint: None,
        },
    }
}

/// The caller's side of what happens between clone and gate.
struct Conversation<'a> {
    channel: &'a Channel,
    plan: &'a Plan<'a>,
    state: StateJson<'a>,
    pid: i32,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Conversation<'_> {
    fn lead(&mut self, on_spawned: OnSpawned<'_>) -> Result<()> {
        if self.plan.namespaces.create & ns::USER != 0 {
            maps::write(self.pid, &self.plan.namespaces)?;
            self.tell(Order::Mapped)?;
        }
        if let Err(error) = on_spawned(self.pid) {
            // What the caller could not find may be missing because the container's side has given up, and said why.
            let why = Error::Caller(Record::new("prepare the container", &*error));
            return Err(self.last_words().unwrap_or(why));
        }
        loop {
            match self.channel.next().map_err(Error::step("hear from the container"))? {
                None => return Err(died()),
                Some(Report::Failed(record, code)) => return Err(failed(record, code)),
                Some(Report::Ready) => return Ok(()),
                Some(Report::Console(master)) => self.console = Some(master),
                Some(Report::Warning(warning)) => self.warnings.push(warning),
                Some(Report::AwaitingHooks) => self.run_hooks()?,
                Some(Report::Successor(_)) => {}
            }
        }
    }

    /// Ends the container's side and reads the failure that it had reported by then, if it had.
    fn last_words(&self) -> Option<Error> {
        let pidfd = pidfd::open(self.pid).ok()?;
        pidfd::send_signal(&pidfd, pidfd::Signal::KILL).ok()?;
        loop {
            if let Report::Failed(record, code) = self.channel.next().ok()?? {
                return Some(failed(record, code));
            }
        }
    }

    fn run_hooks(&self) -> Result<()> {
        let state = self.state.render("creating", self.pid);
        for name in ["prestart", "createRuntime"] {
            hook::run_all(name, hook::named(self.plan.hooks, name), &state)
                .map_err(|failure| Error::Child { record: failure.into_record() })?;
        }
        self.tell(Order::HooksDone)
    }

    /// A process that is gone has said why; that is the error to tell, not that it does not listen.
    fn tell(&self, order: Order) -> Result<()> {
        match self.channel.order(order) {
            Err(error) if error.is(onggi_sys::Errno::PIPE) => Ok(()),
            other => other.map_err(Error::step("talk to the container")),
        }
    }
}
