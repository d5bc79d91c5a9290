//! A process in the foreground: its terminal is shown on ours, our signals are passed on, and we wait for its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use onggi_sys::event::{self, PollFd, PollFlags};
use onggi_sys::process::{self, Ended};
use onggi_sys::signal::SignalFd;
use onggi_sys::{Errno, file, prctl, pty};

use crate::{Error, Result};

/// What a shell or a service manager may send to us and means for the container.
const PASSED_ON: [i32; 9] = [1, 2, 3, 10, 12, 14, 15, 18, 28];
const WINDOW_CHANGED: i32 = 28;

/// Signals held back from before the container exists, so that none is lost.
pub(super) struct Foreground {
    signals: SignalFd,
}

impl Foreground {
    /// Begins to hold signals back. As a subreaper we also inherit what the container's tools leave on the host.
    pub(super) fn begin(subreaper: bool) -> Result<Self> {
        if subreaper {
            prctl::set_child_subreaper().map_err(Error::step("become a subreaper"))?;
        }
        let signals = SignalFd::new(&PASSED_ON).map_err(Error::step("hold signals back"))?;
        Ok(Self { signals })
    }

    /// Waits for the end of the process behind `pidfd`, and shows its terminal meanwhile.
    pub(super) fn follow(&self, pidfd: BorrowedFd<'_>, console: Option<&OwnedFd>) -> Result<Ended> {
        let step = || Error::step("follow the container");
        let stdin = file::dup_number(0).ok();
        let settings = match (&console, &stdin) {
            (Some(_), Some(stdin)) if pty::is_terminal(stdin) => Some(pty::make_raw(stdin).map_err(step())?),
            _ => None,
        };
        let result = Relay { signals: &self.signals, pidfd, console, stdin: stdin.as_ref() }.run();
        if let (Some(settings), Some(stdin)) = (settings, &stdin) {
            drop(pty::restore(stdin, &settings));
        }
        result.map_err(step())
    }
}

/// Rows and columns of our own terminal.
pub(super) fn own_size() -> Option<(u16, u16)> {
    [0, 1, 2].into_iter().find_map(|number| pty::size(file::dup_number(number).ok()?).ok())
}

struct Relay<'a> {
    signals: &'a SignalFd,
    pidfd: BorrowedFd<'a>,
    console: Option<&'a OwnedFd>,
    stdin: Option<&'a OwnedFd>,
}

impl Relay<'_> {
    fn run(mut self) -> onggi_sys::Result<Ended> {
        loop {
            let mut fds =
                vec![PollFd::from_borrowed_fd(self.pidfd, PollFlags::IN), PollFd::new(self.signals, PollFlags::IN)];
            if let Some(console) = self.console {
                fds.push(PollFd::new(console, PollFlags::IN));
                if let Some(stdin) = self.stdin {
                    fds.push(PollFd::new(stdin, PollFlags::IN));
                }
            }
            event::poll(&mut fds, None)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[1] {
                self.pass_signals()?;
            }
            if ready.get(2) == Some(&true) {
                self.show_output();
            }
            if ready.get(3) == Some(&true) {
                self.pass_input()?;
            }
            if ready[0] {
                self.drain();
                return process::wait(self.pidfd);
            }
        }
    }

    fn pass_signals(&self) -> onggi_sys::Result<()> {
        while let Some(signal) = self.signals.next()? {
            match (signal, self.console) {
                (WINDOW_CHANGED, Some(console)) => {
                    if let Some(size) = own_size() {
                        pty::set_size(console, size)?;
                    }
                }
                // A process that is gone needs no signal.
                _ => drop(process::pidfd_signal(self.pidfd, signal)),
            }
        }
        Ok(())
    }

    /// Shows what there is; `EIO` is how a terminal says that nobody has it open any more.
    fn show_output(&mut self) {
        let Some(console) = self.console else { return };
        let mut buffer = [0; 4096];
        let shown = match file::read(console, &mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(count) => file::dup_number(1).and_then(|out| file::write_all(out, &buffer[..count])).is_ok(),
        };
        if !shown {
            self.console = None;
        }
    }

    fn pass_input(&mut self) -> onggi_sys::Result<()> {
        let (Some(console), Some(stdin)) = (self.console, self.stdin) else { return Ok(()) };
        let mut buffer = [0; 4096];
        match file::read(stdin, &mut buffer) {
            Ok(0) => {
                self.stdin = None;
                // The end of our input is Ctrl-D to the terminal's reader.
                file::write_all(console, &[4])
            }
            Ok(count) => file::write_all(console, &buffer[..count]),
            Err(error) if error.is(Errno::AGAIN) => Ok(()),
            Err(_) => {
                self.stdin = None;
                Ok(())
            }
        }
    }

    /// What is still in the terminal when its last process ends.
    fn drain(&mut self) {
        while let Some(console) = self.console {
            match event::readable(console.as_fd(), std::time::Duration::ZERO) {
                Ok(true) => self.show_output(),
                _ => return,
            }
        }
    }
}
