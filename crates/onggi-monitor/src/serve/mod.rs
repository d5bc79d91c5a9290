//! The monitor's loop: one thread, one poll(2), nothing in it that waits for a single thing.
//!
//! It knows processes and clients. What a container is, only its [`Sandbox`] knows, so the tests run it around plain
//! shells.

mod farewell;
mod peer;
mod request;
mod task;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use onggi_diag::Record;
use onggi_sys::event::{self, PollFd, PollFlags};
use onggi_sys::process::Ended;
use onggi_sys::signal::SignalFd;
use onggi_sys::{Result, process, unix};

use crate::frame::{self, HEADER};
use crate::launch::Stdin;
use crate::logs::{Stream, Writer};
use crate::message::{Answer, Exec, Exit};
use crate::state::State;
pub(crate) use farewell::Farewell;
use peer::Peer;
pub(crate) use task::{Streams, Task};

/// What the loop cannot do by itself.
pub(crate) trait Sandbox {
    /// Puts another process into the container.
    fn exec(&mut self, exec: Exec) -> std::result::Result<Task, Refusal>;
    /// Sends SIGKILL to every process in it.
    fn kill_all(&mut self) -> std::result::Result<(), Record>;
    /// Whether the kernel kills the others when the first process ends.
    fn dies_with_first(&self) -> bool;
    /// Freezes all of them, or lets them go on.
    fn freeze(&mut self, frozen: bool) -> std::result::Result<(), Record>;
    /// What is recorded of it.
    fn state(&mut self) -> &mut State;
    /// Writes what is recorded.
    fn save(&mut self) -> std::result::Result<(), Record>;
}

/// Why something was not done, as a client hears it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) exit_code: u8,
    pub(crate) error: Record,
}

impl From<Record> for Refusal {
    fn from(error: Record) -> Self {
        Self { exit_code: 125, error }
    }
}

/// What the loop needs to know of the container's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) stdin: Stdin,
    pub(crate) stop_signal: i32,
    pub(crate) stop_timeout: Duration,
}

pub(crate) type TaskId = u32;
type PeerId = u32;

/// The container's first process.
const FIRST: TaskId = 0;

/// Clients served at the same time; others wait in the listener's queue.
const PEERS: usize = 128;

/// Quiet time after which buffers are given back.
const IDLE: Duration = Duration::from_secs(2);

/// How long nobody is let in after somebody could not be.
const DEAF: Duration = Duration::from_millis(100);

/// What happened, for whom.
#[derive(Debug, Clone, Copy)]
enum Token {
    Signal,
    Listener,
    Peer(PeerId),
    Ended(TaskId),
    Output(TaskId, usize),
    Input(TaskId),
}

/// The loop and everything it holds.
pub(crate) struct Server<S> {
    sandbox: S,
    habits: Habits,
    log: Writer,
    signals: SignalFd,
    listener: Option<OwnedFd>,
    tasks: BTreeMap<TaskId, Task>,
    peers: BTreeMap<PeerId, Peer>,
    next: u32,
    /// When a stop turns into a kill.
    kill_at: Option<Instant>,
    /// Until when nobody is let in.
    deaf_until: Option<Instant>,
    /// Room for one frame, while output flows.
    scratch: Vec<u8>,
    mood: Mood,
}

/// How long ago something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Just now.
    Busy,
    /// Long enough ago to give memory back with the next wait.
    Drowsy,
    /// Longer.
    Asleep,
}

impl<S: Sandbox> Server<S> {
    pub(crate) fn new(sandbox: S, habits: Habits, log: Writer, signals: SignalFd) -> Self {
        Self {
            sandbox,
            habits,
            log,
            signals,
            listener: None,
            tasks: BTreeMap::new(),
            peers: BTreeMap::new(),
            next: 1,
            kill_at: None,
            deaf_until: None,
            scratch: Vec::new(),
            mood: Mood::Busy,
        }
    }

    /// Serves whoever connects to `listener` from now on.
    pub(crate) fn listen(&mut self, listener: OwnedFd) {
        self.listener = Some(listener);
    }

    /// Takes in a connection that is there already: the one who started the monitor.
    pub(crate) fn adopt(&mut self, socket: OwnedFd, attached: Option<crate::message::Streams>) -> Result<()> {
        event::set_nonblocking(&socket)?;
        let mut peer = Peer::new(socket);
        peer.streams = attached.map(|streams| (FIRST, streams));
        let id = self.fresh();
        self.peers.insert(id, peer);
        Ok(())
    }

    /// Says `answer` to everybody who is connected.
    pub(crate) fn tell(&mut self, answer: &Answer) {
        self.peers.values_mut().for_each(|peer| peer.answer(answer));
    }

    /// Runs until `first`, the container's first process, and all others have ended and their output is read.
    pub(crate) fn run(&mut self, first: Task) -> Result<Ended> {
        self.tasks.insert(FIRST, first);
        loop {
            let quiet = self.turn()?;
            self.mood = match (quiet, self.mood) {
                (false, _) => Mood::Busy,
                (true, Mood::Busy) => self.shrink(),
                (true, _) => Mood::Asleep,
            };
            if let Some(ended) = self.settle() {
                return Ok(ended);
            }
            self.peers_left();
        }
    }

    /// What is left when [`Server::run`] has returned: the sandbox, what could not be logged, the clients.
    pub(crate) fn into_parts(mut self) -> (S, Option<onggi_sys::Error>, Farewell) {
        (self.sandbox, self.log.close(), Farewell { peers: self.peers.into_values().collect() })
    }

    /// Waits once and serves what is ready; whether nothing was for a while.
    fn turn(&mut self) -> Result<bool> {
        let ready = self.wait(self.patience())?;
        let quiet = ready.is_empty();
        // Backwards, so that a stream of output that ends does not move those with smaller indices.
        for (token, flags) in ready.into_iter().rev() {
            self.serve(token, flags)?;
        }
        if self.kill_at.is_some_and(|at| Instant::now() >= at) {
            self.kill_at = None;
            self.kill_container();
        }
        self.deaf_until = self.deaf_until.filter(|&until| Instant::now() < until);
        Ok(quiet)
    }

    /// Until when to wait at most.
    fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let idle = (self.mood == Mood::Busy).then(|| now + IDLE);
        let drains = self.tasks.values().filter_map(Task::deadline);
        drains.chain(self.kill_at).chain(self.deaf_until).chain(idle).min().map(|at| at.saturating_duration_since(now))
    }

    /// Polls everything that somebody waits for.
    fn wait(&self, timeout: Option<Duration>) -> Result<Vec<(Token, PollFlags)>> {
        let mut tokens = Vec::new();
        let mut fds = Vec::new();
        let mut add = |token, fd, flags| {
            tokens.push(token);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        add(Token::Signal, self.signals.as_fd(), PollFlags::IN);
        if let Some(listener) = self.listener.as_ref().filter(|_| self.peers.len() < PEERS && self.deaf_until.is_none())
        {
            add(Token::Listener, listener.as_fd(), PollFlags::IN);
        }
        for (&id, task) in &self.tasks {
            if task.ended().is_none() {
                add(Token::Ended(id), task.pidfd(), PollFlags::IN);
            }
            if let Some(fd) = task.wanting_room() {
                add(Token::Input(id), fd, PollFlags::OUT);
            }
            // After the end the pipe is emptied whatever its readers do: it holds no more than it holds now.
            if task.ended().is_some() || !self.is_held_back(id) {
                for (index, source) in task.outputs().iter().enumerate() {
                    add(Token::Output(id, index), source.as_fd(), PollFlags::IN);
                }
            }
        }
        for (&id, peer) in &self.peers {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !peer.closing && !self.is_stuffed(peer));
            flags.set(PollFlags::OUT, peer.has_outgoing());
            add(Token::Peer(id), peer.as_fd(), flags);
        }
        if self.mood == Mood::Drowsy {
            // The very last thing before sleep, so that little is touched again. It only saves memory: where it cannot
            // be done nothing is amiss.
            drop(onggi_sys::memory::give_back());
        }
        event::poll(&mut fds, timeout)?;
        let ready = tokens.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn is_held_back(&self, task: TaskId) -> bool {
        self.peers.values().any(|peer| peer.streams.is_some_and(|(of, _)| of == task) && peer.holds_back())
    }

    fn is_stuffed(&self, peer: &Peer) -> bool {
        peer.streams.and_then(|(task, _)| self.tasks.get(&task)).is_some_and(Task::is_stuffed)
    }

    fn serve(&mut self, token: Token, flags: PollFlags) -> Result<()> {
        match token {
            Token::Signal => self.on_signals(),
            Token::Listener => self.on_connection(),
            Token::Peer(id) => {
                self.on_peer(id, flags);
                Ok(())
            }
            Token::Ended(id) => self.on_end(id),
            Token::Output(id, index) => {
                self.on_output(id, index);
                Ok(())
            }
            Token::Input(id) => {
                self.on_room(id);
                Ok(())
            }
        }
    }

    /// SIGTERM asks the container to stop, as a shutting-down machine does; the others only have to wake us.
    fn on_signals(&mut self) -> Result<()> {
        while let Some(signal) = self.signals.next()? {
            if signal == SIGTERM {
                self.stop(None, Some(self.habits.stop_timeout));
            }
        }
        Ok(())
    }

    fn on_connection(&mut self) -> Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let socket = match unix::accept(listener) {
            Ok(Some(socket)) => socket,
            Ok(None) => return Ok(()),
            Err(_) => {
                // Out of descriptors, say: who waits stays in the queue, and the loop goes on for those who are here.
                self.deaf_until = Some(Instant::now() + DEAF);
                return Ok(());
            }
        };
        let ours = [0, process::effective_user()];
        if unix::peer(&socket).is_ok_and(|peer| ours.contains(&peer.uid)) {
            let id = self.fresh();
            self.peers.insert(id, Peer::new(socket));
        }
        Ok(())
    }

    fn on_peer(&mut self, id: PeerId, flags: PollFlags) {
        let mut scratch = self.take_scratch();
        if let Some(peer) = self.peers.get_mut(&id) {
            if flags.contains(PollFlags::OUT) {
                peer.flush();
            }
            if flags.contains(PollFlags::IN) {
                peer.fill(&mut scratch);
            } else if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
                peer.gone = true;
            }
        }
        self.scratch = scratch;
        self.on_frames(id);
    }

    /// Input was written to a process, so those who waited for that go on.
    fn on_room(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.drain_input();
        }
        let waiting: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| peer.has_received()).map(|(&id, _)| id).collect();
        waiting.into_iter().for_each(|id| self.on_frames(id));
    }

    fn on_end(&mut self, id: TaskId) -> Result<()> {
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        if task.reap()? && id == FIRST {
            self.kill_at = None;
            if !self.sandbox.dies_with_first()
                && let Err(error) = self.sandbox.kill_all()
            {
                self.sandbox.state().error.get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Moves what a stream of output has to the log and to the clients.
    fn on_output(&mut self, id: TaskId, index: usize) {
        let mut scratch = self.take_scratch();
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let (count, over) = task.read(index, &mut scratch[HEADER..]);
        if count > 0 {
            self.deliver(id, index, &mut scratch, count);
        }
        if let Some(mut source) = over
            && let Some(lines) = &mut source.lines
        {
            lines.finish(&mut self.log);
            self.log.flush();
        }
        self.scratch = scratch;
    }

    fn deliver(&mut self, id: TaskId, index: usize, scratch: &mut [u8], count: usize) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let stream = task.log(index, &scratch[HEADER..HEADER + count], &mut self.log);
        self.log.flush();
        let kind = match stream {
            Stream::Stdout => frame::Kind::Stdout,
            Stream::Stderr => frame::Kind::Stderr,
        };
        scratch[..HEADER].copy_from_slice(&frame::header(kind, count));
        let wants = |streams: crate::message::Streams| match stream {
            Stream::Stdout => streams.stdout,
            Stream::Stderr => streams.stderr,
        };
        for peer in self.peers.values_mut() {
            if peer.streams.is_some_and(|(of, streams)| of == id && wants(streams)) {
                peer.output(&scratch[..HEADER + count]);
            }
        }
    }

    /// Takes clients out that are done, and what they held with them.
    fn peers_left(&mut self) {
        let over: Vec<PeerId> = self.peers.iter().filter(|(_, peer)| peer.is_over()).map(|(&id, _)| id).collect();
        for id in over {
            let Some((task, streams)) = self.peers.remove(&id).and_then(|peer| peer.streams) else { continue };
            let closes = task != FIRST || (streams.stdin && self.habits.stdin == Stdin::Once);
            if let Some(task) = self.tasks.get_mut(&task).filter(|_| closes) {
                task.close_stdin();
            }
        }
    }

    /// Takes processes out that are done; the container's end is the loop's.
    fn settle(&mut self) -> Option<Ended> {
        let now = Instant::now();
        let over: Vec<TaskId> = self.tasks.iter().filter(|(_, task)| task.is_over(now)).map(|(&id, _)| id).collect();
        for id in over.into_iter().filter(|&id| id != FIRST) {
            if let Some(mut task) = self.tasks.remove(&id) {
                self.retire(&mut task);
                self.tell_end(id, &task);
            }
        }
        // The others first: when the container ends, so do they, and each has somebody who waits for its code.
        let first = self.tasks.get(&FIRST)?;
        let late = first.ended().is_some() && first.deadline().is_some_and(|at| now >= at);
        if !(first.is_over(now) && (self.tasks.len() == 1 || late)) {
            return None;
        }
        let mut first = self.tasks.remove(&FIRST)?;
        self.retire(&mut first);
        first.ended()
    }

    /// Logs the last, unfinished lines of streams that others keep open.
    fn retire(&mut self, task: &mut Task) {
        for mut source in task.abandon_outputs() {
            if let Some(lines) = &mut source.lines {
                lines.finish(&mut self.log);
            }
        }
        self.log.flush();
    }

    fn tell_end(&mut self, id: TaskId, task: &Task) {
        let code = task.ended().map_or(255, |ended| i32::from(ended.code()));
        for peer in self.peers.values_mut().filter(|peer| peer.streams.is_some_and(|(of, _)| of == id)) {
            peer.answer(&Answer::Exited(Exit { code, oom_killed: false }));
            peer.closing = true;
        }
    }

    /// Frees what only busy times need.
    fn shrink(&mut self) -> Mood {
        self.scratch = Vec::new();
        self.log.shrink();
        self.tasks.values_mut().for_each(Task::shrink);
        Mood::Drowsy
    }

    fn take_scratch(&mut self) -> Vec<u8> {
        let scratch = std::mem::take(&mut self.scratch);
        if scratch.is_empty() { peer::scratch() } else { scratch }
    }

    fn fresh(&mut self) -> u32 {
        let id = self.next;
        // Four thousand million connections later, 0 (the first process) must not come again.
        self.next = self.next.checked_add(1).unwrap_or(1);
        id
    }
}

const SIGTERM: i32 = 15;
