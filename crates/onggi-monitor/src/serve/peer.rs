//! One client's connection, as the monitor holds it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use onggi_diag::{Diagnose, Kind as Fault, Record};
use onggi_sys::{Errno, unix};

use super::TaskId;
use crate::frame::{self, FrameError, HEADER, Kind};
use crate::message::{Answer, Slow, Streams};

/// Bytes waiting for a [`Slow::Wait`] client at which its process' output is left in the pipe.
const HIGH_WATER: usize = 256 * 1024;

/// Bytes waiting for a [`Slow::Drop`] client at which it is let go.
const PATIENCE: usize = 1024 * 1024;

/// A client's connection. Nothing here waits: what cannot be sent now is queued, and what is queued is bounded by
/// what [`Slow`] says.
pub(super) struct Peer {
    socket: OwnedFd,
    received: Vec<u8>,
    outgoing: VecDeque<Vec<u8>>,
    /// Bytes of the first of `outgoing` that are sent already.
    sent: usize,
    /// Bytes in `outgoing`.
    queued: usize,
    /// The process whose streams it takes part in, and in which.
    pub(super) streams: Option<(TaskId, Streams)>,
    /// How many requests wait for the end of the container.
    pub(super) waits: u32,
    /// Nothing more is read; it is closed when everything is sent.
    pub(super) closing: bool,
    /// The other side is gone.
    pub(super) gone: bool,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            received: Vec::new(),
            outgoing: VecDeque::new(),
            sent: 0,
            queued: 0,
            streams: None,
            waits: 0,
            closing: false,
            gone: false,
        }
    }

    /// Reads what is there, through `scratch`.
    pub(super) fn fill(&mut self, scratch: &mut [u8]) {
        match unix::read(&self.socket, scratch) {
            Ok(0) => self.gone = true,
            Ok(count) => self.received.extend_from_slice(&scratch[..count]),
            Err(error) if error.is(Errno::AGAIN) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next frame that has arrived whole.
    pub(super) fn next_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>, FrameError> {
        let Some(frame) = frame::parse(&self.received)? else { return Ok(None) };
        let (kind, payload, size) = (frame.kind, frame.payload.to_vec(), frame.size());
        self.received.drain(..size);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        Ok(Some((kind, payload)))
    }

    /// Whether something was received that no frame has been made of.
    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        let encoded = frame::encode_json(Kind::Answer, answer).or_else(|error| {
            let error = Record::new("answer", &error);
            frame::encode_json(Kind::Answer, &Answer::Failed { exit_code: 125, error })
        });
        if let Ok(frame) = encoded {
            self.send(&frame);
        }
    }

    /// Sends an error and nothing after it.
    pub(super) fn dismiss(&mut self, error: &dyn Diagnose) {
        self.answer(&Answer::Failed { exit_code: 125, error: Record::new("serve a client", error) });
        self.closing = true;
    }

    /// Sends output of its process; `frame` has the header.
    pub(super) fn output(&mut self, frame: &[u8]) {
        if self.closing || self.gone {
            return;
        }
        self.send(frame);
        let drops = self.streams.is_some_and(|(_, streams)| streams.slow == Slow::Drop);
        if drops && self.queued > PATIENCE {
            self.outgoing.truncate(1);
            self.queued = self.outgoing.front().map_or(0, Vec::len);
            self.dismiss(&TooSlow);
        }
    }

    /// Whether its process' output had better stay in the pipe for now.
    pub(super) fn holds_back(&self) -> bool {
        !self.gone && self.queued > HIGH_WATER && self.is_patient()
    }

    /// Whether not a byte for it may be lost.
    pub(super) fn is_patient(&self) -> bool {
        self.streams.is_some_and(|(_, streams)| streams.slow == Slow::Wait)
    }

    fn send(&mut self, frame: &[u8]) {
        if self.gone {
            return;
        }
        let mut rest = frame;
        if self.outgoing.is_empty() {
            rest = &frame[self.write(frame)..];
        }
        if !rest.is_empty() && !self.gone {
            self.queued += rest.len();
            self.outgoing.push_back(rest.to_vec());
        }
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        while let Some(mut front) = self.outgoing.pop_front() {
            self.sent += self.write(&front[self.sent..]);
            if self.sent < front.len() {
                if !self.gone {
                    front.shrink_to_fit();
                    self.outgoing.push_front(front);
                }
                return;
            }
            self.queued -= front.len();
            self.sent = 0;
        }
        self.outgoing = VecDeque::new();
    }

    fn write(&mut self, data: &[u8]) -> usize {
        match unix::write(&self.socket, data) {
            Ok(count) => count,
            Err(error) if error.is(Errno::AGAIN) => 0,
            Err(_) => {
                self.gone = true;
                0
            }
        }
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether there is nothing left to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.gone || (self.closing && self.outgoing.is_empty())
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Why a client of [`Slow::Drop`] is let go.
#[derive(Debug, thiserror::Error)]
#[error("the client read more slowly than the container wrote, and was let go; the log has what it missed")]
struct TooSlow;

impl Diagnose for TooSlow {
    fn kind(&self) -> Fault {
        Fault::Unavailable
    }
}

/// Room for one frame of output.
pub(super) fn scratch() -> Vec<u8> {
    vec![0; HEADER + frame::DATA_LIMIT]
}
