//! Another process beside a container's first one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use onggi_cgroup::{Cgroup, Entry};
use onggi_fs::Root;
use onggi_sys::namespace as ns;
use onggi_sys::process::{self, CloneRequest, Forked};
use onggi_sys::{Errno, file, pidfd, prctl, schedule, signal};

use crate::channel::{Channel, Report};
use crate::container::{died, failed, from_cgroup};
use crate::failure::{During, Outcome};
use crate::init::{self, Streams};
use crate::plan::ProcessPlan;
use crate::privilege::{self, Filter};
use crate::{Error, ExecRequest, Result, Stdio, Target, console, container, filter, plan, store, trusted_proc};

/// A process that was put into a container.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Child {
    /// The process, as the caller's namespace numbers it; it is the caller's child.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process itself; readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Hands out the master of its terminal, once.
    pub fn console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// What was asked for and could not be given, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Runs a process inside a container: same namespaces, control group and seccomp profile; returns when it runs.
///
/// # Errors
/// [`Error::NotFound`] if the container's first process is gone, be its pid in use again; [`Error::Exec`] with 126 or
/// 127 if the program could not be executed. No process is left behind.
pub fn exec(request: ExecRequest<'_>) -> Result<Child> {
    let target = request.target;
    let process = ProcessPlan::new(request.process, "process", request.clamp_rlimits)?;
    let linux = target.spec.linux().as_ref();
    let filter = filter::compile(linux.and_then(|linux| linux.seccomp().as_ref()))?;
    let mut warnings = Vec::new();
    let first = store::open_process(target.pid, target.start_time)?
        .ok_or_else(|| Error::NotFound(format!("process {}", target.pid)))?;
    let cgroup = Cgroup::open_paths(&target.cgroup).map_err(from_cgroup)?;
    let namespaces = namespaces(target)?;
    // A user of the container's own may not be cloned into the group; a file that we opened lets anybody in.
    let into = cgroup.dir_fd().filter(|_| namespaces & ns::USER == 0);
    let into = into.map(file::dup).transpose().map_err(Error::step("open the control group"))?;
    let console_socket = match &request.stdio {
        Stdio::ConsoleSocket(path) => Some(path.clone()),
        _ => None,
    };
    let (ours, theirs) = Channel::pair().map_err(Error::step("make a channel"))?;
    let job = Job {
        channel: theirs,
        namespaces,
        first,
        entry: cgroup.entry(into.is_some()).map_err(from_cgroup)?,
        cgroup: into,
        streams: container::streams(request.stdio, process.console_size),
        process,
        filter,
        die_with_parent: request.parent_death_signal,
        preserve_fds: request.preserve_fds,
    };
    let (pid, pidfd) = spawn(job, &ours)?;
    let followed = follow(&ours, &mut warnings).and_then(|console| match (console, console_socket) {
        (Some(master), Some(path)) => {
            let send = console::send_master(&path, &master);
            send.map(|()| None).map_err(Error::step(format!("send the terminal to {}", path.display())))
        }
        (console, _) => Ok(console),
    });
    match followed {
        Ok(console) => Ok(Child { pid, pidfd, console, warnings }),
        Err(error) => {
            drop(process::pidfd_signal(&pidfd, 9));
            drop(process::wait(&pidfd));
            Err(error)
        }
    }
}

/// Starts the joining half and takes its word for who goes on.
fn spawn(job: Job, ours: &Channel) -> Result<(i32, OwnedFd)> {
    let half = match process::clone3(&CloneRequest::default()).map_err(Error::step("clone"))? {
        Forked::Child => {
            // As in `container::spawn`: a caller that dies must be the end of the messages.
            drop(process::replace(ours, &job.channel));
            run(&job)
        }
        Forked::Parent { pidfd, .. } => pidfd,
    };
    drop(job);
    let report = ours.next_successor();
    drop(process::wait(&half));
    match report.map_err(Error::step("hear from the new process"))? {
        Some(Report::Successor(pid)) => {
            // Our child and not reaped: the number is still its own.
            let pidfd = pidfd::open(pid).map_err(Error::step("open the new process"))?;
            Ok((pid, pidfd))
        }
        Some(Report::Failed(record, code)) => Err(failed(record, code)),
        _ => Err(died()),
    }
}

/// Hears the new process out, until its channel closes itself at exec.
fn follow(channel: &Channel, warnings: &mut Vec<String>) -> Result<Option<OwnedFd>> {
    let mut console = None;
    loop {
        match channel.next().map_err(Error::step("hear from the new process"))? {
            None => return Ok(console),
            Some(Report::Failed(record, code)) => return Err(failed(record, code)),
            Some(Report::Warning(warning)) => warnings.push(warning),
            Some(Report::Console(master)) => console = Some(master),
            Some(_) => {}
        }
    }
}

/// The namespaces in which the container is not with us.
fn namespaces(target: &Target) -> Result<u64> {
    let linux = target.spec.linux().as_ref();
    let kinds = linux.map_or(0, plan::namespace::kinds);
    if kinds & ns::USER == 0 {
        return Ok(kinds);
    }
    // To join one's own user namespace is an error.
    let of =
        |pid: &str| file::stat(file::open(file::CWD, format!("/proc/{pid}/ns/user"), file::OFlags::RDONLY, 0.into())?);
    let step = || Error::step("compare user namespaces");
    let (ours, theirs) = (of("self").map_err(step())?, of(&target.pid.to_string()).map_err(step())?);
    let same = (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino);
    Ok(if same { kinds & !ns::USER } else { kinds })
}

/// Everything that the container's side needs, put together before the clone.
struct Job {
    channel: Channel,
    namespaces: u64,
    first: OwnedFd,
    entry: Entry,
    cgroup: Option<OwnedFd>,
    process: ProcessPlan,
    streams: Streams,
    filter: Option<Filter>,
    die_with_parent: bool,
    preserve_fds: u32,
}

/// The joining half: a pid namespace holds only for children, so it clones the one that goes on.
fn run(job: &Job) -> ! {
    match join(job) {
        Ok((Forked::Child, proc)) => run_joined(job, &proc),
        Ok((Forked::Parent { pid, .. }, _)) => {
            let told = job.channel.successor(pid);
            process::exit_now(u8::from(told.is_err()))
        }
        Err(failure) => {
            job.channel.fail(failure);
            process::exit_now(1)
        }
    }
}

fn join(job: &Job) -> Outcome<(Forked, OwnedFd)> {
    // Before anything of the container's can see us: from here on its root cannot trace us.
    privilege::set_oom_score(&job.process, &job.channel)?;
    prctl::set_dumpable(false).during(|| "stop being dumpable")?;
    let proc = trusted_proc::dir().during(|| "open /proc")?;
    enter_namespaces(job)?;
    let parent = 0x8000;
    let request = CloneRequest { flags: parent, cgroup: job.cgroup.as_ref().map(AsFd::as_fd) };
    let forked = process::clone3(&request).during(|| "clone into the container")?;
    Ok((forked, proc))
}

fn enter_namespaces(job: &Job) -> Outcome<()> {
    let stage = || "join the container's namespaces";
    match ns::join(&job.first, job.namespaces) {
        Err(error) if error.is(Errno::PERM) && job.namespaces & ns::USER != 0 => {}
        other => {
            other.during(stage)?;
            return match job.namespaces & ns::USER {
                0 => Ok(()),
                _ => init::become_root(),
            };
        }
    }
    // Some belong to our user namespace and some to the container's: ours first, with our rights, then the rest.
    let mut rest = job.namespaces & !ns::USER;
    for kind in plan::namespace::each(rest) {
        if kind != ns::MOUNT && ns::join(&job.first, kind).is_ok() {
            rest &= !kind;
        }
    }
    ns::join(&job.first, ns::USER).during(stage)?;
    init::become_root()?;
    ns::join(&job.first, rest).during(stage)
}

fn run_joined(job: &Job, proc: &OwnedFd) -> ! {
    let failure = match go(job, proc) {
        Err(failure) => failure,
        Ok(never) => match never {},
    };
    let code = failure.code.unwrap_or(1);
    job.channel.fail(failure);
    process::exit_now(code)
}

fn run_on(processors: Option<&[usize]>, name: &str) -> Outcome<()> {
    let Some(processors) = processors else { return Ok(()) };
    schedule::set_affinity(processors).during(|| format!("set process.execCPUAffinity.{name}"))
}

fn go(job: &Job, proc: &OwnedFd) -> Outcome<init::Never> {
    prctl::die_with_parent().during(|| "tie the process to its maker")?;
    signal::reset().during(|| "reset the signals")?;
    let affinity = &job.process.affinity;
    run_on(affinity.initial.as_deref(), "initial")?;
    job.entry
        .enter()
        .map_err(|errno| onggi_sys::Error::new("write", "tasks", errno))
        .during(|| "enter the control group")?;
    run_on(affinity.lasting.as_deref(), "final")?;
    process::set_session().during(|| "begin a session")?;
    let label = privilege::open_label(&job.process, proc)?;
    init::join_keyring(None, &job.channel)?;
    let root = Root::open("/").during(|| "open the container's root")?;
    let terminal = match job.streams {
        Streams::Terminal { .. } => {
            let (master, peer) = console::open(&root)?;
            job.channel.console(master.as_fd()).during(|| "hand out the terminal")?;
            Some(peer)
        }
        _ => None,
    };
    init::enter_directory(&root, &job.process.cwd)?;
    let program = privilege::find_program(&job.process)?;
    init::install_streams(&job.streams, terminal, job.process.uid)?;
    if let Some((file, text)) = label {
        file::write_all(&file, text.as_bytes()).during(|| "set the process's label")?;
    }
    if !job.die_with_parent {
        prctl::outlive_parent().during(|| "outlive the process's maker")?;
    }
    privilege::apply(&job.process, job.filter.as_ref(), &job.channel, job.die_with_parent)?;
    Err(privilege::execute(&job.process, &program, job.preserve_fds))
}
