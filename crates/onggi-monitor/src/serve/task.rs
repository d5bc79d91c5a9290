//! A process and its streams.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use onggi_sys::process::{self, Ended};
use onggi_sys::{Errno, Result, event, file, pty};

use crate::logs::{Splitter, Stream, Writer};

/// How long output is awaited after a process has ended, when others hold its pipe open.
const DRAIN: Duration = Duration::from_secs(1);

/// Input waiting for a process at which no more is taken from its client.
const BACKLOG: usize = 256 * 1024;

/// The monitor's ends of a process' standard streams.
#[derive(Debug)]
pub(crate) enum Streams {
    /// Pipes; where there is none, the process has `/dev/null`.
    Pipes { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    /// The master of its terminal.
    Terminal { master: OwnedFd },
}

/// A child of the monitor's: the container's first process or one of an exec.
pub(crate) struct Task {
    pub(crate) pid: u32,
    pidfd: OwnedFd,
    stdin: Option<Sink>,
    outputs: Vec<Source>,
    console: Option<OwnedFd>,
    ended: Option<Ended>,
    drain_until: Option<Instant>,
}

/// Where input goes.
struct Sink {
    fd: OwnedFd,
    pending: Vec<u8>,
    closing: bool,
}

/// Where output comes from.
pub(crate) struct Source {
    fd: OwnedFd,
    pub(crate) stream: Stream,
    /// Cuts it into lines for the log, if it is logged.
    pub(crate) lines: Option<Splitter>,
}

impl Task {
    /// Takes the process over; `logged` says whether its output goes to the log.
    pub(crate) fn new(pid: u32, pidfd: OwnedFd, streams: Streams, logged: bool) -> Result<Self> {
        let mut this =
            Self { pid, pidfd, stdin: None, outputs: Vec::new(), console: None, ended: None, drain_until: None };
        match streams {
            Streams::Pipes { stdin, stdout, stderr } => {
                this.stdin = stdin.map(Sink::new).transpose()?;
                for (fd, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
                    this.outputs.extend(fd.map(|fd| Source::new(fd, stream, logged)).transpose()?);
                }
            }
            Streams::Terminal { master } => {
                this.stdin = Some(Sink::new(file::dup(&master)?)?);
                this.outputs.push(Source::new(file::dup(&master)?, Stream::Stdout, logged)?);
                this.console = Some(master);
            }
        }
        Ok(this)
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Reaps the process if it has ended.
    pub(crate) fn reap(&mut self) -> Result<bool> {
        self.ended = process::try_wait(&self.pidfd)?;
        if self.ended.is_some() {
            self.drain_until = Some(Instant::now() + DRAIN);
            self.stdin = None;
        }
        Ok(self.ended.is_some())
    }

    /// Whether the process has ended and all its output has been read, or others have kept it open for too long.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.ended.is_some() && (self.outputs.is_empty() || self.drain_until.is_some_and(|until| now >= until))
    }

    /// When [`Task::is_over`] may change by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.drain_until
    }

    /// Signals the process; one that has ended already is no error.
    pub(crate) fn signal(&self, number: i32) -> Result<()> {
        match process::pidfd_signal(&self.pidfd, number) {
            Err(error) if error.is(Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    /// # Errors
    /// `ENOTTY` if it has no terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        match &self.console {
            Some(console) => pty::set_size(console, (rows, columns)),
            None => Err(onggi_sys::Error::new("ioctl", "TIOCSWINSZ, no terminal", Errno::NOTTY)),
        }
    }

    /// Hands `data` to standard input, or keeps it until there is room. What nobody can read any more is dropped.
    pub(crate) fn feed(&mut self, data: &[u8]) {
        if let Some(sink) = &mut self.stdin {
            sink.pending.extend_from_slice(data);
            self.drain_input();
        }
    }

    /// Closes standard input when everything before is written; a terminal has no such end.
    pub(crate) fn close_stdin(&mut self) {
        if let Some(sink) = self.stdin.as_mut().filter(|_| self.console.is_none()) {
            sink.closing = true;
            self.drain_input();
        }
    }

    /// Writes what waits for standard input, as far as there is room.
    pub(crate) fn drain_input(&mut self) {
        if self.stdin.as_mut().is_some_and(|sink| sink.drain().is_err() || sink.is_done()) {
            self.stdin = None;
        }
    }

    /// Whether a client had better not send more input.
    pub(crate) fn is_stuffed(&self) -> bool {
        self.stdin.as_ref().is_some_and(|sink| sink.pending.len() > BACKLOG)
    }

    /// The descriptor to wait on until there is room for input that waits.
    pub(crate) fn wanting_room(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().filter(|sink| !sink.pending.is_empty()).map(|sink| sink.fd.as_fd())
    }

    /// Its streams of output that have not ended.
    pub(crate) fn outputs(&self) -> &[Source] {
        &self.outputs
    }

    /// Reads from the `index`-th stream of output into `buffer`; 0 means that there is nothing now.
    ///
    /// A stream that has ended is taken out of [`Task::outputs`] and returned.
    pub(crate) fn read(&mut self, index: usize, buffer: &mut [u8]) -> (usize, Option<Source>) {
        match event::try_read(&self.outputs[index].fd, buffer) {
            Ok(Some(count)) if count > 0 => (count, None),
            Ok(None) => (0, None),
            // The end of a pipe is a read of nothing, that of a terminal is EIO.
            _ => (0, Some(self.outputs.remove(index))),
        }
    }

    /// Logs `data`, which the `index`-th stream gave, and says which stream that is.
    pub(crate) fn log(&mut self, index: usize, data: &[u8], log: &mut Writer) -> Stream {
        let source = &mut self.outputs[index];
        if let Some(lines) = &mut source.lines {
            lines.write(data, log);
        }
        source.stream
    }

    /// The streams that are still open when the wait for their end is over.
    pub(crate) fn abandon_outputs(&mut self) -> Vec<Source> {
        std::mem::take(&mut self.outputs)
    }

    /// Gives back memory that nothing needs at the moment.
    pub(crate) fn shrink(&mut self) {
        if let Some(sink) = &mut self.stdin {
            sink.pending.shrink_to_fit();
        }
        self.outputs.iter_mut().filter_map(|source| source.lines.as_mut()).for_each(Splitter::shrink);
    }
}

impl Source {
    fn new(fd: OwnedFd, stream: Stream, logged: bool) -> Result<Self> {
        event::set_nonblocking(&fd)?;
        Ok(Self { fd, stream, lines: logged.then(|| Splitter::new(stream)) })
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Sink {
    fn new(fd: OwnedFd) -> Result<Self> {
        event::set_nonblocking(&fd)?;
        Ok(Self { fd, pending: Vec::new(), closing: false })
    }

    fn drain(&mut self) -> Result<()> {
        let mut written = 0;
        let result = loop {
            if written == self.pending.len() {
                break Ok(());
            }
            match event::try_write(&self.fd, &self.pending[written..]) {
                Ok(Some(count)) => written += count,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.pending.drain(..written);
        result
    }

    fn is_done(&self) -> bool {
        self.closing && self.pending.is_empty()
    }
}
