//! What each request does.

use std::time::{Duration, Instant};

use onggi_diag::{Diagnose, Kind as Fault, Record};

use super::{FIRST, PeerId, Refusal, Sandbox, Server, TaskId};
use crate::frame::Kind;
use crate::launch::Stdin;
use crate::message::{Answer, Exec, Patience, Request, Slow, Streams};
use crate::state::Status;

/// Why a request cannot be served; these are mistakes of the client's or of the moment.
#[derive(Debug, thiserror::Error)]
enum Misuse {
    #[error("a request that is none: {0}")]
    Malformed(String),
    #[error("a frame that only a monitor sends")]
    Direction,
    #[error("the container has been started already")]
    Started,
    #[error("this connection has a process' streams already")]
    Attached,
    #[error("{0} is not a signal")]
    Signal(i32),
    #[error("the container is paused")]
    Paused,
    #[error("the container is not paused")]
    NotPaused,
    #[error("the process has ended")]
    Ended,
}

impl Diagnose for Misuse {
    fn kind(&self) -> Fault {
        match self {
            Self::Malformed(_) | Self::Direction | Self::Signal(_) => Fault::Invalid,
            _ => Fault::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Paused => Some("`onggi unpause` lets it go on".into()),
            _ => None,
        }
    }
}

fn refuse(stage: &str, error: &dyn Diagnose) -> Refusal {
    Record::new(stage, error).into()
}

/// What a request is answered with at once; `None` if its answer comes later.
type Reply = Result<Option<Answer>, Refusal>;

const DONE: Reply = Ok(Some(Answer::Done));

impl<S: Sandbox> Server<S> {
    /// Serves the whole frames that a client has sent, unless its process takes no input at the moment.
    pub(super) fn on_frames(&mut self, id: PeerId) {
        while let Some(peer) = self.peers.get(&id).filter(|peer| !peer.closing) {
            if self.is_stuffed(peer) {
                return;
            }
            let Some(peer) = self.peers.get_mut(&id) else { return };
            match peer.next_frame() {
                Ok(Some((kind, payload))) => self.on_frame(id, kind, &payload),
                Ok(None) => return,
                Err(error) => return peer.dismiss(&error),
            }
        }
    }

    fn on_frame(&mut self, id: PeerId, kind: Kind, payload: &[u8]) {
        let reply = match kind {
            Kind::Stdin => {
                self.on_input(id, payload);
                Ok(None)
            }
            Kind::Request => match serde_json::from_slice(payload) {
                Ok(request) => self.on_request(id, request),
                Err(error) => Err(refuse("parse a request", &Misuse::Malformed(error.to_string()))),
            },
            Kind::Answer | Kind::Stdout | Kind::Stderr => Err(refuse("parse a frame", &Misuse::Direction)),
        };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match reply {
            Ok(None) => {}
            Ok(Some(answer)) => peer.answer(&answer),
            Err(Refusal { exit_code, error }) => peer.answer(&Answer::Failed { exit_code, error }),
        }
    }

    fn on_input(&mut self, id: PeerId, data: &[u8]) {
        let Some((task, streams)) = self.peers.get(&id).and_then(|peer| peer.streams) else { return };
        let stays_open = task == FIRST && self.habits.stdin == Stdin::Open;
        let Some(task) = self.tasks.get_mut(&task).filter(|_| streams.stdin) else { return };
        match data {
            [] if stays_open => {}
            [] => task.close_stdin(),
            data => task.feed(data),
        }
    }

    fn on_request(&mut self, id: PeerId, request: Request) -> Reply {
        match request {
            Request::Start => Err(refuse("start", &Misuse::Started)),
            Request::Attach(streams) => self.attach(id, FIRST, streams).map(|()| Some(Answer::Done)),
            Request::Exec(exec) => self.exec(id, *exec),
            Request::Kill { signal } => self.signal(self.task_of(id), signal),
            Request::Stop { signal, patience } => {
                let timeout = match patience {
                    Patience::Configured => Some(self.habits.stop_timeout),
                    Patience::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
                    Patience::Endless => None,
                };
                self.stop(signal, timeout);
                self.wait_for_end(id)
            }
            Request::Wait => self.wait_for_end(id),
            Request::Resize { rows, columns } => {
                let task = self.tasks.get(&self.task_of(id)).ok_or_else(|| refuse("resize", &Misuse::Ended))?;
                task.resize(rows, columns).map_err(|error| refuse("resize", &error))?;
                DONE
            }
            Request::Pause => self.freeze(true),
            Request::Resume => self.freeze(false),
            Request::State => Ok(Some(Answer::State(Box::new(self.sandbox.state().clone())))),
        }
    }

    /// The process that a connection is about.
    fn task_of(&self, id: PeerId) -> TaskId {
        self.peers.get(&id).and_then(|peer| peer.streams).map_or(FIRST, |(task, _)| task)
    }

    fn attach(&mut self, id: PeerId, task: TaskId, streams: Streams) -> Result<(), Refusal> {
        match self.peers.get_mut(&id) {
            Some(peer) if peer.streams.is_none() => {
                peer.streams = Some((task, streams));
                Ok(())
            }
            _ => Err(refuse("attach", &Misuse::Attached)),
        }
    }

    fn exec(&mut self, id: PeerId, exec: Exec) -> Reply {
        if self.task_of(id) != FIRST || self.peers.get(&id).is_some_and(|peer| peer.streams.is_some()) {
            return Err(refuse("exec", &Misuse::Attached));
        }
        if self.sandbox.state().status == Status::Paused {
            return Err(refuse("exec", &Misuse::Paused));
        }
        if self.tasks.get(&FIRST).is_none_or(|first| first.ended().is_some()) {
            return Err(refuse("exec", &Misuse::Ended));
        }
        let (detach, stdin) = (exec.detach, exec.stdin);
        let task = self.sandbox.exec(exec)?;
        let pid = task.pid;
        let number = self.fresh();
        self.tasks.insert(number, task);
        if !detach {
            // The one who runs a program waits for its output as for any pipe; only this process is held back.
            self.attach(id, number, Streams { stdin, stdout: true, stderr: true, slow: Slow::Wait })?;
        }
        Ok(Some(Answer::Started { pid }))
    }

    fn wait_for_end(&mut self, id: PeerId) -> Reply {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.waits += 1;
        }
        Ok(None)
    }

    fn signal(&mut self, task: TaskId, signal: i32) -> Reply {
        if !(0..=64).contains(&signal) {
            return Err(refuse("kill", &Misuse::Signal(signal)));
        }
        let Some(task) = self.tasks.get(&task) else { return Err(refuse("kill", &Misuse::Ended)) };
        task.signal(signal).map_err(|error| refuse("kill", &error))?;
        if signal == SIGKILL {
            self.thaw();
        }
        DONE
    }

    /// Asks the container to end; without a timeout it has all the time it wants.
    pub(super) fn stop(&mut self, signal: Option<i32>, timeout: Option<Duration>) {
        let number = signal.filter(|number| (1..=64).contains(number)).unwrap_or(self.habits.stop_signal);
        // What is frozen cannot see a signal.
        self.thaw();
        let sent = self.tasks.get(&FIRST).map(|first| first.signal(number));
        let failed = sent.is_some_and(|sent| sent.is_err());
        let timeout = if failed { Some(Duration::ZERO) } else { timeout };
        // A second stop may shorten the first one's time, never lengthen it.
        let asked = timeout.map(|timeout| Instant::now() + timeout);
        self.kill_at = self.kill_at.into_iter().chain(asked).min();
    }

    /// Ends every process of the container at once.
    pub(super) fn kill_container(&mut self) {
        if let Some(first) = self.tasks.get(&FIRST)
            && let Err(error) = first.signal(SIGKILL)
        {
            self.sandbox.state().error.get_or_insert(Record::new("kill", &error));
        }
        if let Err(error) = self.sandbox.kill_all() {
            self.sandbox.state().error.get_or_insert(error);
        }
        self.thaw();
    }

    fn thaw(&mut self) {
        if self.sandbox.state().status == Status::Paused {
            // Whoever asked wants the end, which is seen to come or not; the freezer's complaint helps nobody.
            drop(self.freeze(false));
        }
    }

    fn freeze(&mut self, frozen: bool) -> Reply {
        match (self.sandbox.state().status, frozen) {
            (Status::Paused, true) => return Err(refuse("pause", &Misuse::Paused)),
            (Status::Running, false) => return Err(refuse("unpause", &Misuse::NotPaused)),
            _ => {}
        }
        self.sandbox.freeze(frozen)?;
        self.sandbox.state().status = if frozen { Status::Paused } else { Status::Running };
        self.sandbox.save()?;
        DONE
    }
}

const SIGKILL: i32 = 9;
