//! The container around the loop: put together, entered, taken apart.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use onggi_diag::{Diagnose, Record};
use onggi_fs::{Durability, Root};
use onggi_net::{Attachment, Bridge};
use onggi_oci::runtime::{LinuxNamespaceType, Process, Spec};
use onggi_runtime::{CreateRequest, ExecRequest, Stdio, Target};
use onggi_snapshot::Snapshots;
use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::{event, process};

use crate::launch::{Launch, Network, Rootfs, Stdin};
use crate::message::Exec;
use crate::serve::{Refusal, Sandbox, Streams, Task};
use crate::state::{State, Status, now};
use crate::{copy_up, user};

/// The OCI specification in the container's directory.
const SPEC_FILE: &str = "config.json";
const SPEC_LIMIT: usize = 16 << 20;

type Outcome<T> = std::result::Result<T, Refusal>;

/// A container that exists.
pub(crate) struct Container<'l> {
    dir: Root,
    inner: onggi_runtime::Container,
    network: Option<Lease<'l>>,
    /// Whether its first process is that of a pid namespace, and takes all others with it.
    own_pids: bool,
    state: State,
}

/// Keeps an address; gives it back when the container does not come to be.
struct Lease<'l> {
    bridge: Bridge,
    id: &'l str,
    attachment: Attachment,
    held: bool,
}

/// Turns a failure into what the one who asked hears.
trait During<T> {
    fn during(self, stage: &str) -> Outcome<T>;
}

impl<T, E: Diagnose> During<T> for Result<T, E> {
    fn during(self, stage: &str) -> Outcome<T> {
        self.map_err(|error| Record::new(stage, &error).into())
    }
}

fn from_runtime(stage: &str) -> impl Fn(onggi_runtime::Error) -> Refusal + '_ {
    move |error| Refusal { exit_code: error.exit_code().unwrap_or(125), error: Record::new(stage, &error) }
}

/// Puts the container of `launch` together and runs its program; its state is recorded at every step.
///
/// # Errors
/// Nothing is left of it then but its state, which has the error.
pub(crate) fn start(launch: &Launch, oom_score: Option<i32>) -> Outcome<(Container<'_>, Task)> {
    let dir = Root::open(&launch.dir).during("open the container's directory")?;
    let before = State::load(&dir).during("read the container's state")?;
    let status = if before.status == Status::Created { Status::Created } else { Status::Exited };
    let mut state = State { status: Status::Starting, ..fresh_state() };
    state.save(&dir, Durability::Volatile).during("write the container's state")?;
    let handle = dir.try_clone().during("open the container's directory")?;
    match assemble(launch, handle, oom_score, state.clone()) {
        Ok(running) => Ok(running),
        Err(refusal) => {
            state.status = status;
            state.exit_code = Some(refusal.exit_code.into());
            state.error = Some(refusal.error.clone());
            state.finished_at = before.finished_at;
            state.started_at = before.started_at;
            // The refusal is what is told; a state that cannot be written is the recovery's matter.
            drop(state.save(&dir, Durability::Durable));
            Err(refusal)
        }
    }
}

fn fresh_state() -> State {
    let boot = Root::open("/proc/sys/kernel/random").and_then(|dir| dir.read("boot_id", 64)).unwrap_or_default();
    State {
        monitor: Some(std::process::id()),
        boot_id: String::from_utf8_lossy(&boot).trim().to_owned(),
        ..State::created()
    }
}

fn assemble<'l>(
    launch: &'l Launch,
    dir: Root,
    oom_score: Option<i32>,
    mut state: State,
) -> Outcome<(Container<'l>, Task)> {
    let mut spec = load_spec(&dir)?;
    let rootfs = open_rootfs(launch)?;
    let root = root_of(launch, &spec, &rootfs)?;
    prepare(launch, &root, &mut spec, oom_score)?;
    drop(root);
    let terminal = spec.process().as_ref().and_then(Process::terminal).unwrap_or(false);
    let stdin = launch.stdin != Stdin::Null;
    let (stdio, ours) = if terminal { terminal_stdio(launch.terminal_size) } else { pipes(stdin)? };
    let mut network = None;
    let request = CreateRequest {
        parent_death_signal: true,
        ..CreateRequest::new(&launch.id, &launch.dir, &spec, rootfs, stdio)
    };
    let mut inner = onggi_runtime::create(request, &mut |pid| {
        network = connect(launch, pid)?;
        Ok(())
    })
    .map_err(from_runtime("create the container"))?;
    state.pid = u32::try_from(inner.pid()).ok();
    state.pid_start = inner.start_time();
    if let Err(error) = inner.start() {
        let refusal = from_runtime("start the container")(error);
        // The reason for giving up is the one to tell.
        drop(inner.destroy());
        return Err(refusal);
    }
    let task = task(inner.pid(), inner.pidfd().try_clone_to_owned(), inner.console(), ours, true)?;
    state.status = Status::Running;
    state.started_at = Some(now());
    state.network = network.as_ref().map(|lease| lease.attachment.clone());
    let mut this = Container { dir, inner, network, own_pids: has_own_pids(&spec), state };
    this.save()?;
    Ok((this, task))
}

fn load_spec(dir: &Root) -> Outcome<Spec> {
    let bytes = dir.read(SPEC_FILE, SPEC_LIMIT).during("read config.json")?;
    onggi_oci::runtime::load(&bytes).during("read config.json")
}

fn open_rootfs(launch: &Launch) -> Outcome<onggi_runtime::Rootfs> {
    match &launch.rootfs {
        Rootfs::Directory => Ok(onggi_runtime::Rootfs::Bundle),
        Rootfs::Snapshot { dir, id } => {
            // What --rm takes away at the end need not be on the disk before it.
            let durability = if launch.auto_remove { Durability::Volatile } else { Durability::Durable };
            let mount = Snapshots::open(dir).and_then(|snapshots| snapshots.mount(id, durability));
            mount.map(onggi_runtime::Rootfs::Mount).during("mount the root file system")
        }
    }
}

/// The root file system, to look things up in.
fn root_of(launch: &Launch, spec: &Spec, rootfs: &onggi_runtime::Rootfs) -> Outcome<Root> {
    let opened = match rootfs {
        onggi_runtime::Rootfs::Mount(mount) => file::dup(mount).map(Root::from),
        onggi_runtime::Rootfs::Bundle => {
            let path = spec.root().as_ref().map_or(Path::new("rootfs"), |root| root.path().as_path());
            Root::open(launch.dir.join(path))
        }
    };
    opened.during("open the root file system")
}

/// Completes the specification with what only the root file system knows, and fills new volumes from it.
fn prepare(launch: &Launch, root: &Root, spec: &mut Spec, oom_score: Option<i32>) -> Outcome<()> {
    let mut process = spec.process().clone().unwrap_or_default();
    become_user(&mut process, root, &launch.user, &launch.groups)?;
    if process.oom_score_adj().is_none() {
        // The monitor has lowered its own, which is not the container's to inherit.
        process.set_oom_score_adj(oom_score);
    }
    spec.set_process(Some(process));
    launch.copy_up.iter().try_for_each(|copy| copy_up::fill(root, copy)).during("fill a new volume from the image")
}

/// Makes `process` that of `user`, with the home that it has there.
fn become_user(process: &mut Process, root: &Root, user: &str, groups: &[String]) -> Outcome<()> {
    let identity = user::resolve(root, user, groups).during("look up the user")?;
    let mut whom = process.user().clone();
    whom.set_uid(identity.uid);
    whom.set_gid(identity.gid);
    whom.set_additional_gids((!identity.groups.is_empty() && groups_can_be_set()).then_some(identity.groups));
    process.set_user(whom);
    let mut env = process.env().clone().unwrap_or_default();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
        process.set_env(Some(env));
    }
    Ok(())
}

/// Whether our user namespace lets anybody choose groups: one that an ordinary user made without subordinate ids
/// does not, and there only the user's own group is to be had anyway.
fn groups_can_be_set() -> bool {
    let read = file::open(CWD, "/proc/self/setgroups", OFlags::RDONLY, Mode::empty());
    !read.and_then(|fd| file::read_all(fd, 64)).is_ok_and(|text| text.starts_with(b"deny"))
}

/// The container's side of its streams, and ours; a terminal's comes later.
fn pipes(stdin: bool) -> Outcome<(Stdio, Option<Streams>)> {
    let make = || -> onggi_sys::Result<(Stdio, Option<Streams>)> {
        let (input, feed) = if stdin {
            let (read, write) = pipe()?;
            (read, Some(write))
        } else {
            (null()?, None)
        };
        let ((stdout, write_out), (stderr, write_err)) = (pipe()?, pipe()?);
        let theirs = Stdio::Files { stdin: input, stdout: write_out, stderr: write_err };
        Ok((theirs, Some(Streams::Pipes { stdin: feed, stdout: Some(stdout), stderr: Some(stderr) })))
    };
    make().during("make pipes")
}

/// A pipe whose ends can be opened again through `/proc/self/fd`, as images do that link a log file to
/// `/dev/stdout`, by whatever user the container runs as; who else could reach that link may trace the process anyway.
fn pipe() -> onggi_sys::Result<(OwnedFd, OwnedFd)> {
    let ends = event::pipe()?;
    file::chmod(&ends.0, Mode::from_raw_mode(0o666))?;
    Ok(ends)
}

fn null() -> onggi_sys::Result<OwnedFd> {
    file::open(CWD, "/dev/null", OFlags::RDWR, Mode::empty())
}

fn terminal_stdio(size: Option<(u16, u16)>) -> (Stdio, Option<Streams>) {
    (Stdio::Terminal { size }, None)
}

fn task(
    pid: i32,
    pidfd: io::Result<OwnedFd>,
    console: Option<OwnedFd>,
    pipes: Option<Streams>,
    logged: bool,
) -> Outcome<Task> {
    let streams = match (console, pipes) {
        (Some(master), _) => Streams::Terminal { master },
        (None, Some(pipes)) => pipes,
        (None, None) => Streams::Pipes { stdin: None, stdout: None, stderr: None },
    };
    let pidfd = pidfd.map_err(|error| {
        let errno = error.raw_os_error().map_or(onggi_sys::Errno::IO, onggi_sys::Errno::from_raw_os_error);
        onggi_sys::Error::new("fcntl", "F_DUPFD_CLOEXEC", errno)
    });
    let pid = u32::try_from(pid).unwrap_or_default();
    pidfd.and_then(|pidfd| Task::new(pid, pidfd, streams, logged)).during("watch the process")
}

/// Gives the container's network namespace what the launch says.
fn connect(launch: &Launch, pid: i32) -> Result<Option<Lease<'_>>, Box<dyn Diagnose>> {
    let namespace = || file::open(CWD, format!("/proc/{pid}/ns/net"), OFlags::RDONLY, Mode::empty());
    match &launch.network {
        // The runtime has brought up loopback where the namespace is new.
        Network::Host | Network::None => Ok(None),
        Network::Bridge { state, run } => {
            let bridge = Bridge::open(state, run).map_err(boxed)?;
            let attachment = bridge.attach(namespace().map_err(boxed)?.as_fd(), &launch.id).map_err(boxed)?;
            let lease = Lease { bridge, id: &launch.id, attachment, held: true };
            name_in_hosts(launch, &lease.attachment).map_err(boxed)?;
            Ok(Some(lease))
        }
    }
}

fn boxed(error: impl Diagnose + 'static) -> Box<dyn Diagnose> {
    Box::new(error)
}

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.is_some_and(|all| all.iter().any(|one| one.typ() == LinuxNamespaceType::Pid && one.path().is_none()))
}

/// Adds the container's own names to its `/etc/hosts`: appended, since the file may be mounted already.
fn name_in_hosts(launch: &Launch, attachment: &Attachment) -> onggi_sys::Result<()> {
    let Some(hosts) = &launch.hosts else { return Ok(()) };
    let opened = file::open(CWD, &hosts.file, OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW, Mode::empty())?;
    file::write_all(opened, format!("{}\t{}\n", attachment.address, hosts.names.join(" ")).as_bytes())
}

impl Lease<'_> {
    fn release(mut self) -> Result<(), Record> {
        self.held = false;
        self.bridge.release(self.id).map_err(|error| Record::new("release the container's address", &error))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.held {
            // Dropped on the way out of a failure, which is the one to tell.
            drop(self.bridge.release(self.id));
        }
    }
}

impl Container<'_> {
    /// Takes away what the container had of the kernel and records its end. Goes on past every failure; the first
    /// one is in the state.
    ///
    /// Of one that is `going` for good the control group comes back, for [`onggi_runtime::Container::destroy`], where
    /// nobody can be in it any more; and its state need not survive a power cut.
    pub(crate) fn finish(mut self, ended: process::Ended, going: bool) -> (State, Option<onggi_runtime::Container>) {
        let mut note = |failure: Option<Record>| {
            if let Some(record) = failure {
                self.state.error.get_or_insert(record);
            }
        };
        let oom = self.inner.cgroup().oom_killed();
        note(oom.as_ref().err().map(|error| Record::new("read the control group", error)));
        let mut group = Some(self.inner);
        // With its first process the kernel has killed all that were in its pid namespace.
        if !(going && self.own_pids) {
            let destroyed = group.take().map_or(Ok(()), onggi_runtime::Container::destroy);
            note(destroyed.err().map(|error| Record::new("clean up", &error)));
        }
        note(self.network.and_then(|lease| lease.release().err()));
        self.state.oom_killed = oom.unwrap_or(false);
        self.state.status = Status::Exited;
        self.state.exit_code = Some(ended.code().into());
        self.state.finished_at = Some(now());
        self.state.monitor = None;
        self.state.pid = None;
        self.state.network = None;
        let durability = if going { Durability::Volatile } else { Durability::Durable };
        if let Err(error) = self.state.save(&self.dir, durability) {
            self.state.error.get_or_insert(Record::new("write the container's state", &error));
        }
        (self.state, group)
    }
}

impl Sandbox for Container<'_> {
    fn exec(&mut self, exec: Exec) -> Outcome<Task> {
        let mut process = exec.process;
        // Our own child, not reaped yet: its pid cannot be another's.
        let root = Root::open(format!("/proc/{}/root", self.inner.pid())).during("open the container's root")?;
        become_user(&mut process, &root, &exec.user, &[])?;
        drop(root);
        let terminal = process.terminal().unwrap_or(false);
        let (stdio, ours) = match (terminal, exec.detach) {
            (true, _) => terminal_stdio(exec.terminal_size),
            (false, true) => (nowhere().during("open /dev/null")?, None),
            (false, false) => pipes(exec.stdin)?,
        };
        let target = Target {
            pid: self.inner.pid(),
            start_time: self.inner.start_time(),
            cgroup: self.inner.cgroup().paths(),
            spec: load_spec(&self.dir)?,
        };
        let request = ExecRequest { parent_death_signal: true, ..ExecRequest::new(&target, &process, stdio) };
        let mut child = onggi_runtime::exec(request).map_err(from_runtime("exec"))?;
        let (pidfd, console) = (child.pidfd().try_clone_to_owned(), child.console());
        task(child.pid(), pidfd, console, ours, false)
    }

    fn kill_all(&mut self) -> Result<(), Record> {
        let sent = self.inner.cgroup().signal_all(onggi_sys::pidfd::Signal::KILL);
        sent.map(drop).map_err(|error| Record::new("kill the container's processes", &error))
    }

    fn dies_with_first(&self) -> bool {
        self.own_pids
    }

    fn freeze(&mut self, frozen: bool) -> Result<(), Record> {
        let cgroup = self.inner.cgroup();
        let done = if frozen { cgroup.freeze().map(|guard| guard.keep()) } else { cgroup.thaw() };
        done.map_err(|error| Record::new(if frozen { "pause" } else { "unpause" }, &error))
    }

    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn save(&mut self) -> Result<(), Record> {
        let saved = self.state.save(&self.dir, Durability::Volatile);
        saved.map_err(|error| Record::new("write the container's state", &error))
    }
}

fn nowhere() -> onggi_sys::Result<Stdio> {
    Ok(Stdio::Files { stdin: null()?, stdout: null()?, stderr: null()? })
}
