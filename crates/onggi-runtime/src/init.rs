//! The container's side of the clone: from a copy of the caller to the user's program.
//!
//! docs/adr/0005 gives the order of the steps and why each stands where it does.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use onggi_cgroup::Entry;
use onggi_fs::{Lock, Root};
use onggi_sys::file::{self, FileType, Mode, OFlags};
use onggi_sys::namespace as ns;
use onggi_sys::process::{self, CloneRequest, Forked};
use onggi_sys::{Errno, prctl, signal, socket};

use crate::channel::{Channel, Order};
use crate::failure::{During, Failure, Outcome};
use crate::plan::Plan;
use crate::privilege::{self, Filter};
use crate::rootfs::{self, Builder, Hierarchy, Sources};
use crate::state_json::StateJson;
use crate::{Rootfs, console, hook, trusted_proc};

/// Everything that the container's side needs, put together before the clone.
pub(crate) struct Job<'a> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) channel: Channel,
    /// What the caller holds and must go on holding alone: a lock would be held as long as we are there.
    pub(crate) held: Option<Lock>,
    /// Where the start comes from, if not from the channel.
    pub(crate) listener: Option<OwnedFd>,
    pub(crate) entry: Entry,
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) rootfs: Rootfs,
    /// Taken by the caller already, where the container's users may not reach them.
    pub(crate) sources: Option<Sources>,
    pub(crate) streams: Streams,
    pub(crate) filter: Option<Filter>,
    pub(crate) state: StateJson<'a>,
    pub(crate) keyring: Option<std::ffi::CString>,
    pub(crate) die_with_parent: bool,
    pub(crate) preserve_fds: u32,
    pub(crate) no_pivot: bool,
}

/// What becomes of the standard streams.
pub(crate) enum Streams {
    Inherit,
    Files([OwnedFd; 3]),
    Terminal { size: Option<(u16, u16)> },
}

/// Runs the container's side; never returns.
pub(crate) fn run(mut job: Job<'_>) -> ! {
    drop(job.held.take());
    let mut channel = Channel::from_fd(match file::dup(&job.channel) {
        Ok(fd) => fd,
        Err(_) => process::exit_now(1),
    });
    let failure = match go(job, &mut channel) {
        Err(failure) => failure,
        Ok(never) => match never {},
    };
    let code = failure.code.unwrap_or(1);
    channel.fail(failure);
    process::exit_now(code)
}

/// The joining half: enters namespaces that exist, then clones the one that goes on, as the caller's child.
///
/// Needed because a pid or time namespace holds only for children, and a new namespace belongs to the user namespace
/// that it was made in.
pub(crate) fn run_joining(mut job: Job<'_>, cgroup: Option<&OwnedFd>) -> ! {
    drop(job.held.take());
    match join_and_clone(&job, cgroup) {
        Ok(Forked::Child) => run(job),
        Ok(Forked::Parent { pid, .. }) => {
            let told = job.channel.successor(pid);
            process::exit_now(u8::from(told.is_err()))
        }
        Err(failure) => {
            job.channel.fail(failure);
            process::exit_now(1)
        }
    }
}

fn join_and_clone(job: &Job<'_>, cgroup: Option<&OwnedFd>) -> Outcome<Forked> {
    use std::os::fd::AsFd;
    let namespaces = &job.plan.namespaces;
    prctl::set_dumpable(false).during(|| "stop being dumpable")?;
    let mut opened = Vec::new();
    for (kind, path) in &namespaces.join {
        let stage = || format!("open the {} namespace {}", ns::name(*kind), path.display());
        opened.push((*kind, path, file::open(file::CWD, path, OFlags::RDONLY, Mode::empty()).during(stage)?));
    }
    // What our own rights reach goes first, then the user namespace, then the rest with the rights that it gave.
    let user = opened.iter().position(|(kind, ..)| *kind == ns::USER).map(|index| opened.remove(index));
    let join = |(kind, path, fd): &(u64, &PathBuf, OwnedFd)| {
        ns::join(fd, *kind).during(|| format!("join the {} namespace {}", ns::name(*kind), path.display()))
    };
    match user {
        None => opened.iter().try_for_each(join)?,
        Some(user) => {
            let (_, refused): (Vec<_>, Vec<_>) =
                opened.into_iter().partition(|(kind, _, fd)| ns::join(fd, *kind).is_ok());
            join(&user)?;
            become_root()?;
            refused.iter().try_for_each(join)?;
        }
    }
    if namespaces.create & ns::TIME != 0 {
        new_clocks(job.plan)?;
    }
    let parent = 0x8000;
    let flags = (namespaces.cloned() & !ns::TIME) | parent;
    process::clone3(&CloneRequest { flags, cgroup: cgroup.map(AsFd::as_fd) }).during(|| "clone into the namespaces")
}

/// A time namespace takes its offsets before the first process is in it.
fn new_clocks(plan: &Plan<'_>) -> Outcome<()> {
    ns::unshare(ns::TIME).during(|| "make a time namespace")?;
    let Some(offsets) = plan.time_offsets else { return Ok(()) };
    let stage = || "set linux.timeOffsets";
    let lines: String = offsets
        .iter()
        .map(|(clock, offset)| format!("{clock} {} {}\n", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0)))
        .collect();
    let file = file::open(file::CWD, "/proc/self/timens_offsets", OFlags::WRONLY, Mode::empty()).during(stage)?;
    file::write_all(&file, lines.as_bytes()).during(stage)
}

/// What a step that only ends in failure or another program returns.
pub(crate) enum Never {}

fn go(mut job: Job<'_>, channel: &mut Channel) -> Outcome<Never> {
    let plan = job.plan;
    // Until the gate a container without its maker is of no use to anybody.
    prctl::die_with_parent().during(|| "tie the container to its maker")?;
    signal::reset().during(|| "reset the signals")?;
    job.entry
        .enter()
        .map_err(|errno| onggi_sys::Error::new("write", "tasks", errno))
        .during(|| "enter the control group")?;
    privilege::set_oom_score(&plan.process, channel)?;
    let proc = trusted_proc::dir().during(|| "open /proc")?;
    let label = privilege::open_label(&plan.process, &proc)?;
    drop(proc);
    if plan.namespaces.create & ns::USER != 0 {
        channel.await_order(Order::Mapped).during(|| "await the user namespace's maps")?;
        become_root()?;
        // The change of user cleared it.
        prctl::die_with_parent().during(|| "tie the container to its maker")?;
        if plan.namespaces.create & ns::IPC != 0 {
            ns::unshare(ns::IPC).during(|| "make an ipc namespace")?;
        }
    }
    prctl::set_dumpable(false).during(|| "stop being dumpable")?;
    process::set_session().during(|| "begin a session")?;
    process::set_umask(0);
    if plan.namespaces.create & ns::CGROUP != 0 {
        // Only now: the new namespace's root is the group that we are in.
        ns::unshare(ns::CGROUP).during(|| "make a cgroup namespace")?;
    }
    name_host(plan)?;
    if plan.namespaces.create & ns::NET != 0 {
        ns::bring_loopback_up().during(|| "bring the loopback interface up")?;
    }
    let host_pid = host_pid().during(|| "read /proc/self")?;
    let (root, terminal) = make_root(&mut job, channel, host_pid)?;
    if let Some(name) = &job.keyring {
        join_keyring(Some(name), channel)?;
    }
    enter_directory(&root, &plan.process.cwd)?;
    let program = privilege::find_program(&plan.process)?;
    set_streams(&job, terminal)?;
    if let Some(persona) = plan.personality {
        process::set_personality(persona).during(|| "set linux.personality")?;
    }
    wait_at_gate(&mut job, channel)?;
    if let Some((file, text)) = label {
        file::write_all(&file, text.as_bytes()).during(|| "set the process's label")?;
    }
    privilege::apply(&plan.process, job.filter.as_ref(), channel, job.die_with_parent)?;
    let hooks = hook::named(plan.hooks, "startContainer");
    hook::run_all("startContainer", hooks, &job.state.render("created", host_pid))?;
    Err(privilege::execute(&plan.process, &program, job.preserve_fds))
}

/// Root in the new user namespace: the rights that the clone gave are this user's.
pub(crate) fn become_root() -> Outcome<()> {
    let stage = || "become root in the user namespace";
    match process::set_groups(&[]) {
        // Maps written without privilege deny it.
        Err(error) if error.is(Errno::PERM) => {}
        other => other.during(stage)?,
    }
    process::set_group(0).during(stage)?;
    process::set_user(0).during(stage)
}

fn name_host(plan: &Plan<'_>) -> Outcome<()> {
    if let Some(name) = plan.hostname {
        process::set_hostname(name).during(|| format!("set the host name {name}"))?;
    }
    match plan.domainname {
        Some(name) => process::set_domainname(name).during(|| format!("set the domain name {name}")),
        None => Ok(()),
    }
}

/// Our pid as the caller's `/proc`, which is still ours, numbers it.
fn host_pid() -> onggi_sys::Result<i32> {
    let text = file::read_link(file::CWD, "/proc/self")?;
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| onggi_sys::Error::new("readlink", "/proc/self", Errno::INVAL))
}

/// Builds the root and enters it; the new root, and the terminal where there is one.
fn make_root(job: &mut Job<'_>, channel: &Channel, host_pid: i32) -> Outcome<(Root, Option<OwnedFd>)> {
    let plan = job.plan;
    let sources = match job.sources.take() {
        Some(sources) => sources,
        None => rootfs::open_sources(plan)?,
    };
    let root = match std::mem::replace(&mut job.rootfs, Rootfs::Bundle) {
        Rootfs::Mount(root) => root,
        Rootfs::Bundle => rootfs::open_root(plan)?,
    };
    let mut builder = Builder::begin(plan, root, &job.hierarchies, channel)?;
    builder.fill(sources)?;
    if plan.hooks.is_some() {
        channel.awaiting_hooks().during(|| "ask for hooks")?;
        channel.await_order(Order::HooksDone).during(|| "await the hooks")?;
        let hooks = hook::named(plan.hooks, "createContainer");
        hook::run_all("createContainer", hooks, &job.state.render("creating", host_pid))?;
    }
    let terminal = match job.streams {
        Streams::Terminal { .. } => Some(builder.terminal()?),
        _ => None,
    };
    let root = builder.enter(job.no_pivot)?;
    let Some((master, peer)) = terminal else { return Ok((root, None)) };
    channel.console(std::os::fd::AsFd::as_fd(&master)).during(|| "hand out the terminal")?;
    Ok((root, Some(peer)))
}

/// A session keyring of the container's own; without a name one of the process's own.
pub(crate) fn join_keyring(name: Option<&std::ffi::CStr>, channel: &Channel) -> Outcome<()> {
    let stage = || "join a session keyring";
    match process::join_session_keyring(name) {
        Err(error) if error.is(Errno::NOSYS) => Ok(()),
        Err(error) if error.is(Errno::DQUOT) => channel
            .warn("the quota of keyrings is used up; this container shares its caller's session keyring")
            .during(stage),
        other => other.map(drop).during(stage),
    }
}

/// Resolved inside the root and entered by descriptor, then asked of the kernel whether it is inside: a path through
/// `/proc/self/fd` leads nowhere (CVE-2024-21626).
pub(crate) fn enter_directory(root: &Root, cwd: &std::path::Path) -> Outcome<()> {
    let stage = || format!("enter the working directory {}", cwd.display());
    let dir = root.dir(cwd).during(stage)?;
    process::change_dir(OwnedFd::from(dir)).during(stage)?;
    match process::current_dir().during(stage)?.first() {
        Some(b'/') => Ok(()),
        _ => Err(Failure::new(stage(), onggi_diag::Kind::Hostile, "it is outside of the container's root")),
    }
}

fn set_streams(job: &Job<'_>, terminal: Option<OwnedFd>) -> Outcome<()> {
    install_streams(&job.streams, terminal, job.plan.process.uid)
}

/// Puts the standard streams where they belong, and makes them the user's.
pub(crate) fn install_streams(streams: &Streams, terminal: Option<OwnedFd>, owner: u32) -> Outcome<()> {
    match (streams, terminal) {
        (Streams::Terminal { size }, Some(peer)) => return console::take(&peer, *size, owner),
        (Streams::Files([stdin, stdout, stderr]), _) => {
            console::install(stdin, stdout, stderr).during(|| "install the standard streams")?;
        }
        _ => {}
    }
    if owner != 0 {
        [0, 1, 2].into_iter().for_each(|number| give_pipe(number, owner));
    }
    Ok(())
}

/// A user other than root opens `/dev/stdout` only if the pipe behind it is his. Files and terminals of the host's are
/// left alone, and so is what cannot be given.
fn give_pipe(number: i32, owner: u32) {
    let Ok(fd) = file::dup_number(number) else { return };
    if file::stat(&fd).is_ok_and(|found| file::type_of(&found) == FileType::Fifo && found.st_uid != owner) {
        drop(file::chown_user(&fd, owner));
    }
}

fn outlive(job: &Job<'_>) -> Outcome<()> {
    match job.die_with_parent {
        true => Ok(()),
        false => prctl::outlive_parent().during(|| "outlive the container's maker"),
    }
}

/// Says that everything is there and waits for the start; from then on reports go to who started it.
fn wait_at_gate(job: &mut Job<'_>, channel: &mut Channel) -> Outcome<()> {
    let stage = || "wait at the gate";
    channel.ready().during(stage)?;
    let Some(listener) = job.listener.take() else {
        channel.await_order(Order::Start).during(stage)?;
        return outlive(job);
    };
    channel.await_order(Order::Kept).during(stage)?;
    outlive(job)?;
    // The maker waits for this word: ended earlier, it would take us along.
    channel.ready().during(stage)?;
    loop {
        let caller = Channel::from_fd(socket::accept(&listener).during(stage)?);
        // Somebody who only looks whether we still listen sends nothing.
        if caller.await_order(Order::Start).is_ok() {
            *channel = caller;
            return Ok(());
        }
    }
}
