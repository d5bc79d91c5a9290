//! A command's own streams joined with a process' in a container, until one of them ends.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use onggi_sys::event::{self, PollFd, PollFlags};
use onggi_sys::signal::SignalFd;
use onggi_sys::{Errno, file, pty};

use crate::client::{ClientError, Event, Result, Session};
use crate::frame::{self, Kind};
use crate::keys::{DetachKeys, Scanner};
use crate::logs::Stream;
use crate::message::{Answer, Exit, Request};

/// What is joined with a session, and how.
#[derive(Debug)]
pub struct Interaction<'a> {
    /// Where input comes from, if any is to be sent.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Where output goes.
    pub stdout: BorrowedFd<'a>,
    /// Where errors go.
    pub stderr: BorrowedFd<'a>,
    /// Whether the process has a terminal: then ours, if `stdin` is one, is raw meanwhile and gives it its size.
    pub terminal: bool,
    /// Whether signals to this process are passed on.
    pub proxy_signals: bool,
    /// Keys that end the interaction and leave the process alone.
    pub detach_keys: DetachKeys,
}

/// How an interaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The process has.
    Exited(Exit),
    /// The user pressed the keys for it.
    Detached,
}

/// Signals that are passed on. The rest means this process alone: its children, its terminal, its memory.
const PASSED: [i32; 7] = [1, 2, 3, 10, 12, 14, 15];
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
const SIGWINCH: i32 = 28;

/// Input under way to the monitor beyond which no more is read.
const BACKLOG: usize = 64 * 1024;

/// Joins the streams of `interaction` with those of `session` until the process ends or the user leaves it.
///
/// The signals that are passed on stay blocked for the calling thread afterwards.
///
/// # Errors
/// [`ClientError::Output`] when the output cannot be written; the process goes on then.
pub fn interactive(session: Session, interaction: &Interaction<'_>) -> Result<Ended> {
    let raw = Raw::enter(interaction)?;
    let signals = hold_signals(interaction.proxy_signals)?;
    let mut joint = Joint {
        session,
        interaction,
        signals,
        keys: interaction.detach_keys.scanner(),
        outgoing: VecDeque::new(),
        input: interaction.stdin,
    };
    joint.resize();
    event::set_nonblocking(joint.session.socket())?;
    let ended = joint.run();
    drop(raw);
    ended
}

/// Keeps the signals that are to be passed on until [`interactive`] takes them; what this returns may be dropped.
///
/// To be called before the process is started: a signal that comes in between would end us and leave it alone.
///
/// # Errors
/// The kernel gives no descriptor.
pub fn hold_signals(proxy: bool) -> Result<SignalFd> {
    let mut held = vec![SIGWINCH];
    if proxy {
        held.extend(PASSED.into_iter().chain(REAL_TIME));
    }
    Ok(SignalFd::new(&held)?)
}

/// A terminal in raw mode; as it was when this is dropped.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    settings: pty::Settings,
}

impl<'a> Raw<'a> {
    fn enter(interaction: &Interaction<'a>) -> Result<Option<Self>> {
        let terminal = interaction.stdin.filter(|stdin| interaction.terminal && pty::is_terminal(stdin));
        let Some(terminal) = terminal else { return Ok(None) };
        Ok(Some(Self { terminal, settings: pty::make_raw(terminal)? }))
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that has been hung up needs no settings.
        drop(pty::restore(self.terminal, &self.settings));
    }
}

struct Joint<'i, 'a> {
    session: Session,
    interaction: &'i Interaction<'a>,
    signals: SignalFd,
    keys: Scanner,
    /// Bytes for the monitor that its socket has not taken. Sent as it takes them: waiting for that here, while the
    /// process waits for us to take its output, would be for ever.
    outgoing: VecDeque<u8>,
    /// Standard input, until its end.
    input: Option<BorrowedFd<'a>>,
}

impl Joint<'_, '_> {
    fn run(&mut self) -> Result<Ended> {
        // What came with the answer to the request that began the session is in no socket any more.
        if let Some(ended) = self.take_in()? {
            return Ok(ended);
        }
        loop {
            let [socket, signals, input] = self.wait()?;
            if socket.contains(PollFlags::OUT) {
                self.flush()?;
            }
            if socket.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && let Some(ended) = self.receive()?
            {
                return Ok(ended);
            }
            if !signals.is_empty() {
                self.pass_signals()?;
            }
            if !input.is_empty() && !self.send_input()? {
                return Ok(Ended::Detached);
            }
        }
    }

    fn wait(&self) -> Result<[PollFlags; 3]> {
        let mut socket = PollFlags::IN;
        socket.set(PollFlags::OUT, !self.outgoing.is_empty());
        let mut fds =
            vec![PollFd::from_borrowed_fd(self.session.socket(), socket), PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(input) = self.input.filter(|_| self.outgoing.len() < BACKLOG) {
            fds.push(PollFd::from_borrowed_fd(input, PollFlags::IN));
        }
        event::poll(&mut fds, None)?;
        let ready = |index: usize| fds.get(index).map_or(PollFlags::empty(), PollFd::revents);
        Ok([ready(0), ready(1), ready(2)])
    }

    /// Writes what the process has written; its end, if that has come.
    fn receive(&mut self) -> Result<Option<Ended>> {
        // The end of the connection may stand behind the answer that we wait for: look at that first.
        let filled = self.session.fill();
        match self.take_in()? {
            Some(ended) => Ok(Some(ended)),
            None => filled.map(|()| None),
        }
    }

    /// Writes what has arrived whole.
    fn take_in(&mut self) -> Result<Option<Ended>> {
        while let Some(event) = self.session.pending()? {
            match event {
                Event::Output(Stream::Stdout, data) => write(self.interaction.stdout, &data)?,
                Event::Output(Stream::Stderr, data) => write(self.interaction.stderr, &data)?,
                Event::Answer(Answer::Exited(exit)) => return Ok(Some(Ended::Exited(exit))),
                Event::Answer(_) => {}
            }
        }
        Ok(None)
    }

    fn pass_signals(&mut self) -> Result<()> {
        while let Some(signal) = self.signals.next()? {
            if signal == SIGWINCH {
                self.resize();
                continue;
            }
            match self.session.aside(&Request::Kill { signal }) {
                Ok(aside) => self.outgoing.extend(aside),
                // It has ended meanwhile; that is about to be read.
                Err(ClientError::NotRunning(_) | ClientError::Gone | ClientError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the process' terminal the size of ours; a size that cannot be told is no reason to end.
    fn resize(&mut self) {
        let ours = [self.interaction.stdin, Some(self.interaction.stdout)];
        let size = ours.into_iter().flatten().find_map(|fd| pty::size(fd).ok());
        if let Some((rows, columns)) = size.filter(|_| self.interaction.terminal)
            && let Ok(aside) = self.session.aside(&Request::Resize { rows, columns })
        {
            self.outgoing.extend(aside);
        }
    }

    /// Takes input along; `false` if the user asked to leave.
    fn send_input(&mut self) -> Result<bool> {
        let Some(input) = self.input else { return Ok(true) };
        let mut buffer = [0; 16 * 1024];
        let count = match file::read(input, &mut buffer) {
            Ok(count) => count,
            Err(error) if error.is(Errno::AGAIN) => return Ok(true),
            // A terminal that was hung up: for the process it is the end of input.
            Err(_) => 0,
        };
        if count == 0 {
            self.input = None;
            self.push(&[]);
            return self.flush().map(|()| true);
        }
        let (data, leave) = match self.interaction.terminal {
            true => self.keys.scan(&buffer[..count]),
            false => (buffer[..count].to_vec(), false),
        };
        if !data.is_empty() {
            self.push(&data);
        }
        self.flush()?;
        Ok(!leave)
    }

    fn push(&mut self, data: &[u8]) {
        self.outgoing.extend(frame::encode(Kind::Stdin, data));
    }

    fn flush(&mut self) -> Result<()> {
        while !self.outgoing.is_empty() {
            let (front, _) = self.outgoing.as_slices();
            match onggi_sys::unix::write(self.session.socket(), front) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.is(Errno::AGAIN) => return Ok(()),
                // The process has ended and takes nothing; its last words are still to be read.
                Err(error) if error.is(Errno::PIPE) || error.is(Errno::CONNRESET) => {
                    self.outgoing.clear();
                    self.input = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn write(to: BorrowedFd<'_>, mut data: &[u8]) -> Result<()> {
    // Ours or not, a stream may be non-blocking: whoever shares it may have made it so.
    while !data.is_empty() {
        match event::try_write(to, data).map_err(ClientError::Output)? {
            Some(count) => data = &data[count..],
            None => {
                event::poll(&mut [PollFd::new(&to.as_fd(), PollFlags::OUT)], None)?;
            }
        }
    }
    Ok(())
}
