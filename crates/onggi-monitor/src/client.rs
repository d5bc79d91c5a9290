//! The side that asks: a connection to one container's monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use onggi_diag::{Diagnose, Kind, Record};
use onggi_fs::Root;
use onggi_sys::{self as sys, Errno, file, unix};

use crate::frame::{self, EncodeError, FrameError};
use crate::logs::Stream;
use crate::message::{Answer, Exec, Exit, Patience, Request, Streams};
use crate::state::State;

/// The name of the monitor's socket in [`crate::Launch::run_dir`].
pub const SOCKET: &str = "monitor.sock";

/// Why a monitor could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: the container does not run.
    #[error("no monitor listens in {}", .0.display())]
    NotRunning(PathBuf),
    /// The socket failed.
    #[error("cannot talk to the container's monitor")]
    Socket(#[source] sys::Error),
    /// The monitor went away without an answer.
    #[error("the container's monitor ended without an answer")]
    Gone,
    /// What arrived is not the protocol.
    #[error("cannot understand the container's monitor: {0}")]
    Garbled(String),
    /// The request cannot be sent.
    #[error("cannot ask the container's monitor: {0}")]
    Unsendable(String),
    /// What the process wrote cannot be written on.
    #[error("cannot write the container's output")]
    Output(#[source] sys::Error),
    /// The monitor could not do it.
    #[error("{error}")]
    Refused {
        /// What a command that ran into this exits with: 125, 126 or 127.
        exit_code: u8,
        /// Why; its first message is this error's.
        #[source]
        error: Record,
    },
}

impl ClientError {
    /// What a command that ran into this exits with: 126 and 127 where the program is to blame, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { exit_code, .. } => *exit_code,
            _ => 125,
        }
    }
}

impl Diagnose for ClientError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotRunning(_) => Kind::Conflict,
            Self::Socket(error) | Self::Output(error) => error.kind(),
            Self::Gone => Kind::Unavailable,
            Self::Garbled(_) => Kind::Internal,
            Self::Unsendable(_) => Kind::Invalid,
            Self::Refused { error, .. } => error.kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Socket(error) | Self::Output(error) => error.hint(),
            Self::Refused { error, .. } => error.hint.clone(),
            _ => None,
        }
    }
}

impl From<sys::Error> for ClientError {
    fn from(error: sys::Error) -> Self {
        match error.errno() {
            Errno::PIPE | Errno::CONNRESET => Self::Gone,
            _ => Self::Socket(error),
        }
    }
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Garbled(error.to_string())
    }
}

impl From<EncodeError> for ClientError {
    fn from(error: EncodeError) -> Self {
        Self::Unsendable(error.to_string())
    }
}

/// Result of asking a monitor.
pub type Result<T> = std::result::Result<T, ClientError>;

/// A connection over which one request after the other is asked.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    received: Vec<u8>,
    run_dir: PathBuf,
}

/// What a monitor sends.
#[derive(Debug)]
pub enum Event {
    /// Output of the process.
    Output(Stream, Vec<u8>),
    /// An answer.
    Answer(Answer),
}

impl Client {
    /// Connects to the monitor that listens in `run_dir`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] if there is none.
    pub fn connect(run_dir: &Path) -> Result<Self> {
        let absent = || ClientError::NotRunning(run_dir.to_owned());
        let connected = Root::open(run_dir).and_then(|dir| unix::connect_at(dir, SOCKET));
        match connected {
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::CONNREFUSED) => Err(absent()),
            other => Ok(Self::over(other?, run_dir)),
        }
    }

    /// A client over a socket that is connected already.
    pub(crate) fn over(socket: OwnedFd, run_dir: &Path) -> Self {
        Self { socket, received: Vec::new(), run_dir: run_dir.to_owned() }
    }

    /// Sends `signal` to the container's first process.
    pub fn kill(&mut self, signal: i32) -> Result<()> {
        self.done(&Request::Kill { signal })
    }

    /// Asks the container to end, kills it when `patience` is over, and waits until it is gone.
    pub fn stop(&mut self, signal: Option<i32>, patience: Patience) -> Result<Exit> {
        self.exit(&Request::Stop { signal, patience })
    }

    /// Waits until the container ends.
    pub fn wait(&mut self) -> Result<Exit> {
        self.exit(&Request::Wait)
    }

    /// Tells the container's terminal its size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        self.done(&Request::Resize { rows, columns })
    }

    /// Freezes the container.
    pub fn pause(&mut self) -> Result<()> {
        self.done(&Request::Pause)
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.done(&Request::Resume)
    }

    /// What the monitor knows.
    pub fn state(&mut self) -> Result<State> {
        match self.ask(&Request::State)? {
            Answer::State(state) => Ok(*state),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes part in the container's streams.
    pub fn attach(mut self, streams: Streams) -> Result<Session> {
        self.done(&Request::Attach(streams))?;
        Ok(Session { client: self, target: Target::Container })
    }

    /// Runs another process in the container, with its streams on this connection.
    pub fn exec(mut self, exec: Exec) -> Result<Session> {
        match self.ask(&Request::Exec(Box::new(exec)))? {
            Answer::Started { pid } => Ok(Session { client: self, target: Target::Process(pid) }),
            other => Err(unexpected(&other)),
        }
    }

    /// The descriptor to wait on for [`Client::receive`].
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends `request` without waiting for its answer.
    pub(crate) fn send(&mut self, request: &Request) -> Result<()> {
        let frame = frame::encode_json(frame::Kind::Request, request)?;
        self.send_frame(&frame)
    }

    pub(crate) fn send_frame(&mut self, mut frame: &[u8]) -> Result<()> {
        while !frame.is_empty() {
            let sent = unix::write(&self.socket, frame)?;
            frame = &frame[sent..];
        }
        Ok(())
    }

    /// What the monitor sends next; waits for it.
    pub(crate) fn receive(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.parsed()? {
                return Ok(event);
            }
            self.fill()?;
        }
    }

    /// What has arrived whole.
    pub(crate) fn parsed(&mut self) -> Result<Option<Event>> {
        let Some(frame) = frame::parse(&self.received)? else { return Ok(None) };
        let event = match frame.kind {
            frame::Kind::Stdout => Event::Output(Stream::Stdout, frame.payload.to_vec()),
            frame::Kind::Stderr => Event::Output(Stream::Stderr, frame.payload.to_vec()),
            frame::Kind::Answer => Event::Answer(
                serde_json::from_slice(frame.payload).map_err(|error| ClientError::Garbled(error.to_string()))?,
            ),
            frame::Kind::Request | frame::Kind::Stdin => {
                return Err(ClientError::Garbled("a frame that only a client sends".into()));
            }
        };
        let size = frame.size();
        self.received.drain(..size);
        Ok(Some(event))
    }

    /// Takes what the socket holds; waits if it holds nothing.
    pub(crate) fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 32 * 1024];
        match unix::read(&self.socket, &mut buffer) {
            Ok(0) => Err(ClientError::Gone),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.is(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks and waits for the answer; a refusal is an error.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer> {
        self.send(request)?;
        loop {
            match self.receive()? {
                Event::Answer(Answer::Failed { exit_code, error }) => {
                    return Err(ClientError::Refused { exit_code, error });
                }
                Event::Answer(answer) => return Ok(answer),
                // Output may be under way already when something is asked on an attached connection.
                Event::Output(..) => {}
            }
        }
    }

    fn done(&mut self, request: &Request) -> Result<()> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn exit(&mut self, request: &Request) -> Result<Exit> {
        match self.ask(request)? {
            Answer::Exited(exit) => Ok(exit),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> ClientError {
    ClientError::Garbled(format!("an answer to another question: {answer:?}"))
}

/// A connection with a process' streams on it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    target: Target,
}

/// Whose streams they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Those of the container's first process.
    Container,
    /// Those of a process of [`Client::exec`].
    Process(u32),
}

impl Session {
    /// A session whose `Attach` has been asked before the container was started.
    pub(crate) fn of_container(client: Client) -> Self {
        Self { client, target: Target::Container }
    }

    /// The pid of a process of [`Client::exec`].
    pub fn pid(&self) -> Option<u32> {
        match self.target {
            Target::Container => None,
            Target::Process(pid) => Some(pid),
        }
    }

    /// The descriptor that is readable when something has come.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.client.socket()
    }

    /// A second handle on the connection, for one who only writes while the first one reads.
    pub fn try_clone(&self) -> Result<Self> {
        let client = Client::over(file::dup(&self.client.socket)?, &self.client.run_dir);
        Ok(Self { client, target: self.target })
    }

    /// What comes next: output, or at the end [`Answer::Exited`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the monitor lets this client go, [`ClientError::Gone`] when the monitor is.
    pub fn receive(&mut self) -> Result<Event> {
        refused(self.client.receive()?)
    }

    /// Takes in what the socket holds, which is readable; the whole events are then got by [`Session::pending`].
    pub fn fill(&mut self) -> Result<()> {
        self.client.fill()
    }

    /// The next event that has arrived whole.
    pub fn pending(&mut self) -> Result<Option<Event>> {
        self.client.parsed()?.map(refused).transpose()
    }

    /// Sends standard input; waits while the monitor takes none.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        data.chunks(frame::DATA_LIMIT).filter(|chunk| !chunk.is_empty()).try_for_each(|chunk| {
            let frame = frame::encode(frame::Kind::Stdin, chunk);
            self.client.send_frame(&frame)
        })
    }

    /// Says that standard input is over.
    pub fn close_stdin(&mut self) -> Result<()> {
        let frame = frame::encode(frame::Kind::Stdin, b"");
        self.client.send_frame(&frame)
    }

    /// Signals the process.
    pub fn kill(&mut self, signal: i32) -> Result<()> {
        let rest = self.aside(&Request::Kill { signal })?;
        self.client.send_frame(&rest)
    }

    /// Tells the process' terminal its size.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        let rest = self.aside(&Request::Resize { rows, columns })?;
        self.client.send_frame(&rest)
    }

    /// Asks something beside the streams: about the container, over a connection of its own, since this one may be
    /// full of input that nobody reads. About a process of an exec it has to go over this one: the frame to send.
    pub(crate) fn aside(&mut self, request: &Request) -> Result<Vec<u8>> {
        match self.target {
            Target::Container => Client::connect(&self.client.run_dir)?.ask(request).map(|_| Vec::new()),
            Target::Process(_) => Ok(frame::encode_json(frame::Kind::Request, request)?),
        }
    }
}

fn refused(event: Event) -> Result<Event> {
    match event {
        Event::Answer(Answer::Failed { exit_code, error }) => Err(ClientError::Refused { exit_code, error }),
        event => Ok(event),
    }
}
