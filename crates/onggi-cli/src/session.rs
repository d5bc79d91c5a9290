//! The command's own streams, joined with those of a process in a container.

use std::os::fd::AsFd;
use std::process::ExitCode;

use onggi_monitor::client::{ClientError, Session};
use onggi_monitor::{DetachKeys, Ended, Interaction, interactive};
use onggi_sys::{Errno, pty};

use crate::context::tell;
use crate::error::{Error, Result};

/// 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// What the command is to its container.
pub(crate) struct Foreground<'a> {
    /// Whether input is sent.
    pub(crate) stdin: bool,
    /// Whether the process has a terminal.
    pub(crate) terminal: bool,
    /// Whether signals to this process are passed on.
    pub(crate) forward_signals: bool,
    /// The keys that leave the process alone, as written; the usual ones if `None`.
    pub(crate) detach_keys: Option<&'a str>,
}

impl Foreground<'_> {
    /// The keys, which are only looked for in what is typed for a terminal.
    fn keys(&self) -> Result<DetachKeys> {
        match self.detach_keys {
            _ if !self.terminal || !self.stdin => Ok(DetachKeys::none()),
            None => Ok(DetachKeys::default()),
            Some(text) => DetachKeys::parse(text).map_err(|error| Error::other("use --detach-keys", &error)),
        }
    }
}

/// Rows and columns of the terminal that the command runs on.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let candidates = [std::io::stdin().as_fd().try_clone_to_owned(), std::io::stdout().as_fd().try_clone_to_owned()];
    candidates.into_iter().flatten().find_map(|fd| pty::size(fd.as_fd()).ok())
}

/// Stays until the process ends, and exits as it did.
pub(crate) fn run(session: Session, foreground: &Foreground<'_>) -> Result<ExitCode> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let interaction = Interaction {
        stdin: foreground.stdin.then(|| stdin.as_fd()),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        terminal: foreground.terminal,
        proxy_signals: foreground.forward_signals,
        detach_keys: foreground.keys()?,
    };
    let ended = match interactive(session, &interaction) {
        // Whoever read our output has enough, as `head` has: we end as any program of a pipe does, and say nothing.
        Err(ClientError::Output(error)) if error.is(Errno::PIPE) => return Ok(ExitCode::from(BROKEN_PIPE)),
        other => other?,
    };
    match ended {
        // A process cannot exit with more than eight bits.
        Ended::Exited(exit) => Ok(ExitCode::from(u8::try_from(exit.code & 0xff).unwrap_or(u8::MAX))),
        Ended::Detached => {
            tell("read escape sequence");
            Ok(ExitCode::SUCCESS)
        }
    }
}
