//! The monitor's life, from its first instruction to its last.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use onggi_diag::{Diagnose, Record};
use onggi_fs::{Durability, Root};
use onggi_sys::file::{self, AtFlags, CWD, Mode, OFlags};
use onggi_sys::process::Ended;
use onggi_sys::signal::SignalFd;
use onggi_sys::{Errno, prctl, process, spawn, unix};

use crate::client::SOCKET;
use crate::container::{self, Container};
use crate::frame::{self, Kind};
use crate::launch::Launch;
use crate::logs::Writer;
use crate::message::{Answer, Exit, Request, Streams};
use crate::serve::{Habits, Refusal, Server};
use crate::spawn::{LOCK_FD, STARTER_FD};
use crate::state::State;
use crate::{Cleanup, Rest};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// What the monitor's badness is set to where that is allowed: it goes after everything that it looks after.
const OOM_SCORE: &[u8] = b"-900";

/// The only signal that the monitor acts on: it stops its container. All others stay blocked, as [`crate::spawn`]
/// started it; a broken pipe is seen where it is written to.
const SIGTERM: i32 = 15;

/// Is the monitor of the container whose directory is the second of `args`, as [`crate::spawn`] started it.
///
/// The exit code tells nobody anything: what happened is in the container's state and was told to whoever asked.
pub fn main(args: impl IntoIterator<Item = OsString>, cleanup: &dyn Cleanup) -> ExitCode {
    let Some(dir) = args.into_iter().nth(1).map(PathBuf::from) else { return ExitCode::from(2) };
    let (Ok(starter), Ok(lock)) = (spawn::inherited(STARTER_FD), spawn::inherited(LOCK_FD)) else {
        return ExitCode::from(2);
    };
    match serve(&dir, starter, lock, cleanup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(dir: &Path, starter: OwnedFd, lock: OwnedFd, cleanup: &dyn Cleanup) -> onggi_sys::Result<()> {
    let Some(attach) = await_start(&starter)? else { return Ok(()) };
    let launch = match Launch::load(dir) {
        Ok(launch) => launch,
        Err(error) => return tell(&starter, &failed(Record::new("read monitor.json", &error).into())),
    };
    let oom_score = settle_in();
    let made = Tools::new(&launch).and_then(|tools| Ok((tools, container::start(&launch, oom_score)?)));
    let (tools, (container, first)) = match made {
        Ok(made) => made,
        Err(refusal) => {
            // The refusal is what is told; what is left behind is found by the next prune.
            drop(unlisten(&launch));
            if launch.auto_remove {
                drop(cleanup.remove(&launch).and_then(|rest| rest()));
            }
            drop(lock);
            return tell(&starter, &failed(refusal));
        }
    };
    let mut server = Server::new(container, habits(&launch), tools.log, tools.signals);
    server.listen(tools.listener);
    server.adopt(starter, attach)?;
    server.tell(&Answer::Started { pid: first.pid });
    let ended = server.run(first)?;
    let (container, log_failure, mut farewell) = server.into_parts();
    let (exit, rests) = end(&launch, container, ended, log_failure, cleanup);
    farewell.say(exit);
    // If this fails the next command's sweep goes on with it.
    drop(rests.clear());
    // From here on the container may be started again while a slow client still reads the end of this run.
    drop(lock);
    farewell.stay()
}

/// What nobody can miss any more of a container that is gone.
#[derive(Default)]
struct Rests {
    group: Option<onggi_runtime::Container>,
    rest: Option<Rest>,
}

impl Rests {
    fn clear(self) -> Result<(), Box<dyn Diagnose>> {
        let group = self.group.map_or(Ok(()), onggi_runtime::Container::destroy);
        let rest = self.rest.map_or(Ok(()), |rest| rest());
        group.map_err(|error| Box::new(error) as Box<dyn Diagnose>).and(rest)
    }
}

/// What is needed around the container, got before there is one: a failure has nothing to take back then.
struct Tools {
    signals: SignalFd,
    log: Writer,
    listener: OwnedFd,
}

impl Tools {
    fn new(launch: &Launch) -> Result<Self, Refusal> {
        let refused = |stage: &str, error: &onggi_sys::Error| Refusal::from(Record::new(stage, error));
        let log = Root::open(&launch.dir).and_then(|dir| Writer::open(dir, launch.log));
        Ok(Self {
            signals: SignalFd::new(&[SIGTERM]).map_err(|error| refused("read signals", &error))?,
            log: log.map_err(|error| refused("open the log", &error))?,
            listener: listen(launch).map_err(|error| refused("listen for clients", &error))?,
        })
    }
}

fn habits(launch: &Launch) -> Habits {
    Habits {
        stdin: launch.stdin,
        stop_signal: launch.stop_signal,
        stop_timeout: Duration::from_secs(launch.stop_timeout_secs.into()),
    }
}

/// Takes everything apart and records the end, or removes the container; what of that can wait comes back.
fn end(
    launch: &Launch,
    container: Container<'_>,
    ended: Ended,
    log: Option<onggi_sys::Error>,
    cleanup: &dyn Cleanup,
) -> (Exit, Rests) {
    let mut rests = Rests::default();
    let (mut state, group) = container.finish(ended, launch.auto_remove);
    rests.group = group;
    let mut failure = log.map(|error| Record::new("write the log", &error)).or_else(|| unlisten(launch).err());
    if launch.auto_remove {
        match cleanup.remove(launch) {
            Ok(rest) => rests.rest = Some(rest),
            Err(error) => failure = failure.or(Some(Record::new("remove the container", &*error))),
        }
    }
    if let Some(record) = failure {
        state.error.get_or_insert(record);
        // If even this fails there is nobody left to tell.
        drop(Root::open(&launch.dir).and_then(|dir| state.save(dir, Durability::Durable)));
    }
    (exit_of(&state), rests)
}

fn exit_of(state: &State) -> Exit {
    Exit { code: state.exit_code.unwrap_or(255), oom_killed: state.oom_killed }
}

/// Reads what the one who started us asks: to attach, perhaps, and to start. `None` if it has gone away.
fn await_start(starter: &OwnedFd) -> onggi_sys::Result<Option<Option<Streams>>> {
    let mut received = Vec::new();
    let mut attach = None;
    loop {
        while let Some((request, size)) = request(&received)? {
            received.drain(..size);
            match request {
                Request::Attach(streams) => {
                    attach = Some(streams);
                    tell(starter, &Answer::Done)?;
                }
                Request::Start => return Ok(Some(attach)),
                _ => return Ok(None),
            }
        }
        let mut buffer = [0; 1024];
        match unix::read(starter, &mut buffer)? {
            0 => return Ok(None),
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
}

fn request(received: &[u8]) -> onggi_sys::Result<Option<(Request, usize)>> {
    let garbled = |what: String| onggi_sys::Error::new("start", what, Errno::PROTO);
    let Some(frame) = frame::parse(received).map_err(|error| garbled(error.to_string()))? else { return Ok(None) };
    if frame.kind != Kind::Request {
        return Err(garbled("not a request".into()));
    }
    let request = serde_json::from_slice(frame.payload).map_err(|error| garbled(error.to_string()))?;
    Ok(Some((request, frame.size())))
}

fn tell(starter: &OwnedFd, answer: &Answer) -> onggi_sys::Result<()> {
    let frame = frame::encode_json(Kind::Answer, answer)
        .map_err(|error| onggi_sys::Error::new("answer", error.to_string(), Errno::MSGSIZE))?;
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        rest = &rest[unix::write(starter, rest)?..];
    }
    Ok(())
}

fn failed(Refusal { exit_code, error }: Refusal) -> Answer {
    Answer::Failed { exit_code, error }
}

/// Makes this process one that stays; the badness that it had before, if it could be changed.
fn settle_in() -> Option<i32> {
    // A name in ps and a directory that can be unmounted are comforts; nothing depends on them.
    drop(prctl::set_name(c"onggi-monitor"));
    drop(file::open(CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).and_then(process::change_dir));
    process::set_umask(0o022);
    let open = |flags| file::open(CWD, "/proc/self/oom_score_adj", flags, Mode::empty());
    let before = open(OFlags::RDONLY).and_then(|fd| file::read_all(fd, 32)).ok()?;
    let before = std::str::from_utf8(&before).ok()?.trim().parse().ok()?;
    open(OFlags::WRONLY).and_then(|fd| file::write_all(fd, OOM_SCORE)).ok().map(|()| before)
}

fn listen(launch: &Launch) -> onggi_sys::Result<OwnedFd> {
    let dir = onggi_fs::ensure_dir(&launch.run_dir, 0o700)?;
    // A monitor that was killed left its socket; we hold the lock, so nobody listens there.
    remove_socket(&dir)?;
    unix::listen_at(&dir, SOCKET, Mode::RUSR | Mode::WUSR, BACKLOG)
}

fn unlisten(launch: &Launch) -> Result<(), Record> {
    let removed = Root::open(&launch.run_dir).and_then(|dir| remove_socket(&dir));
    removed.map_err(|error| Record::new("remove the monitor's socket", &error))
}

fn remove_socket(dir: &Root) -> onggi_sys::Result<()> {
    match file::unlink(dir, SOCKET, AtFlags::empty()) {
        Err(error) if error.is(Errno::NOENT) => Ok(()),
        other => other,
    }
}
