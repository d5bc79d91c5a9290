//! What the two sides of a clone say to each other: a message each, over a socket that closes itself at exec.
//!
//! The end of the messages means that the user's program runs, or, before the gate, that the other side died.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use onggi_diag::Record;
use onggi_sys::{Errno, Result, socket};

use crate::failure::Failure;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    /// Reports that came before the one that was waited for.
    early: RefCell<VecDeque<Report>>,
}

/// What the container's side says.
#[derive(Debug)]
pub(crate) enum Report {
    /// It goes no further; with 126 or 127 if the user's program is to blame.
    Failed(Record, Option<u8>),
    /// The master of the container's terminal.
    Console(OwnedFd),
    /// Its namespaces and mounts are there, the root is not changed yet: the moment for hooks.
    AwaitingHooks,
    /// It waits at the gate.
    Ready,
    /// Something asked for cannot be given.
    Warning(String),
    /// The pid of the process that goes on in its place.
    Successor(i32),
}

/// What the caller's side says, a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The user namespace has its maps.
    Mapped,
    /// The container is on record and outlives its maker.
    Kept,
    /// The hooks have run.
    HooksDone,
    /// The gate is open.
    Start,
}

impl Order {
    fn byte(self) -> u8 {
        match self {
            Self::Mapped => b'M',
            Self::Kept => b'K',
            Self::HooksDone => b'H',
            Self::Start => b'S',
        }
    }
}

/// The longest message: an error with its causes.
const LONGEST: usize = 32 * 1024;

impl Channel {
    pub(crate) fn pair() -> Result<(Self, Self)> {
        socket::message_pair().map(|(ours, theirs)| (Self::from_fd(ours), Self::from_fd(theirs)))
    }

    pub(crate) fn from_fd(socket: OwnedFd) -> Self {
        Self { socket, early: RefCell::default() }
    }

    pub(crate) fn order(&self, order: Order) -> Result<()> {
        socket::send(&self.socket, &[order.byte()], &[])
    }

    /// Waits for `order` and nothing else.
    ///
    /// # Errors
    /// `ECONNRESET` if the other side is gone, `EPROTO` if it says something else.
    pub(crate) fn await_order(&self, order: Order) -> Result<()> {
        let mut buffer = [0; 1];
        match socket::receive(&self.socket, &mut buffer)? {
            (0, _) => Err(onggi_sys::Error::new("recvmsg", "the caller is gone", Errno::CONNRESET)),
            (_, _) if buffer[0] == order.byte() => Ok(()),
            _ => Err(onggi_sys::Error::new("recvmsg", format!("not {order:?}"), Errno::PROTO)),
        }
    }

    pub(crate) fn awaiting_hooks(&self) -> Result<()> {
        socket::send(&self.socket, b"H", &[])
    }

    pub(crate) fn ready(&self) -> Result<()> {
        socket::send(&self.socket, b"R", &[])
    }

    pub(crate) fn console(&self, master: BorrowedFd<'_>) -> Result<()> {
        socket::send(&self.socket, b"C", &[master])
    }

    pub(crate) fn successor(&self, pid: i32) -> Result<()> {
        socket::send(&self.socket, format!("P{pid}").as_bytes(), &[])
    }

    pub(crate) fn warn(&self, warning: &str) -> Result<()> {
        let mut message = format!("W{warning}").into_bytes();
        message.truncate(LONGEST);
        socket::send(&self.socket, &message, &[])
    }

    /// Reports the failure that ends this side; there is nobody to tell if that fails too.
    pub(crate) fn fail(&self, failure: Failure) {
        let code = failure.code.unwrap_or(0);
        let mut record = failure.into_record();
        record.chain.iter_mut().for_each(|message| message.truncate(message.floor_char_boundary(4096)));
        let mut message = vec![b'E', code];
        message.extend(serde_json::to_vec(&record).unwrap_or_default());
        drop(socket::send(&self.socket, &message, &[]));
    }

    /// The report that names the successor, or the failure that left none; what the successor itself has said before
    /// its maker could name it is kept for [`Channel::next`].
    pub(crate) fn next_successor(&self) -> Result<Option<Report>> {
        loop {
            match self.receive()? {
                Some(Report::Successor(pid)) => return Ok(Some(Report::Successor(pid))),
                Some(other) => self.early.borrow_mut().push_back(other),
                None => return Ok(self.early.borrow_mut().pop_front()),
            }
        }
    }

    /// The next report; `None` at the end.
    pub(crate) fn next(&self) -> Result<Option<Report>> {
        let early = self.early.borrow_mut().pop_front();
        match early {
            Some(report) => Ok(Some(report)),
            None => self.receive(),
        }
    }

    fn receive(&self) -> Result<Option<Report>> {
        let mut buffer = vec![0; LONGEST];
        let (length, fd) = socket::receive(&self.socket, &mut buffer)?;
        let odd = || onggi_sys::Error::new("recvmsg", "an unknown report", Errno::PROTO);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Some(match &buffer[..length] {
            [] => return Ok(None),
            [b'E', code, record @ ..] => {
                let record = serde_json::from_slice(record).map_err(|_| odd())?;
                Report::Failed(record, Some(*code).filter(|&code| code != 0))
            }
            [b'C'] => Report::Console(fd.ok_or_else(odd)?),
            [b'H'] => Report::AwaitingHooks,
            [b'R'] => Report::Ready,
            [b'W', warning @ ..] => Report::Warning(text(warning)),
            [b'P', pid @ ..] => Report::Successor(text(pid).parse().map_err(|_| odd())?),
            _ => return Err(odd()),
        }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
