//! What client and monitor say to each other.

use onggi_diag::Record;
use onggi_oci::runtime::Process;
use serde::{Deserialize, Serialize};

use crate::state::State;

/// What a client asks for; every request is answered by one [`Answer`], in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Put the container together and run it. Legal once, from the process that spawned the monitor; answered by
    /// [`Answer::Started`] or [`Answer::Failed`].
    Start,
    /// Send me the output from now on and take my input. Answered by [`Answer::Done`], then by output, and by
    /// [`Answer::Exited`] at the end. Legal once per connection.
    Attach(Streams),
    /// Run another process in the container with its streams on this connection. Answered by [`Answer::Started`],
    /// then by output, and by [`Answer::Exited`] at the end, after which the monitor closes. Legal once per
    /// connection, not after `Attach`.
    Exec(Box<Exec>),
    /// Send a signal to the first process (on a connection of `Exec`: to that process). Answered by [`Answer::Done`].
    Kill {
        /// Its number.
        signal: i32,
    },
    /// Send the stop signal, and SIGKILL when the time is over. Answered by [`Answer::Exited`] when it is done.
    Stop {
        /// Another signal than the container's own.
        signal: Option<i32>,
        /// How long to wait before SIGKILL; the container's own time if not said.
        #[serde(default, with = "patience")]
        patience: Patience,
    },
    /// Tell me when it ends. Answered by [`Answer::Exited`] then.
    Wait,
    /// The terminal has another size (on a connection of `Exec`: that process' terminal). Answered by
    /// [`Answer::Done`].
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Freeze every process of the container. Answered by [`Answer::Done`].
    Pause,
    /// Let them go on. Answered by [`Answer::Done`].
    Resume,
    /// What is true now? Answered by [`Answer::State`].
    State,
}

/// How long a stop waits before it kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patience {
    /// As long as the container's configuration says.
    #[default]
    Configured,
    /// This many seconds.
    Seconds(u32),
    /// It never kills.
    Endless,
}

/// `null` for the configured time, a number of seconds, -1 for endless: as `docker stop --timeout` counts.
mod patience {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Patience;

    pub(super) fn serialize<S: Serializer>(value: &Patience, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Patience::Configured => to.serialize_none(),
            Patience::Seconds(seconds) => to.serialize_i64(i64::from(*seconds)),
            Patience::Endless => to.serialize_i64(-1),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Patience, D::Error> {
        Ok(match Option::<i64>::deserialize(from)? {
            None => Patience::Configured,
            Some(number) => u32::try_from(number).map_or(Patience::Endless, Patience::Seconds),
        })
    }
}

/// Which of the container's streams a client takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// Whether what the client sends goes to standard input.
    pub stdin: bool,
    /// Whether it wants standard output (all output, of a terminal).
    pub stdout: bool,
    /// Whether it wants standard error.
    pub stderr: bool,
    /// What happens when it reads more slowly than the container writes.
    pub slow: Slow,
}

/// What happens to a client that reads more slowly than the container writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slow {
    /// The container waits when its pipe is full, as for any reader of a pipe: not a byte is lost. For the command
    /// that runs in the foreground.
    Wait,
    /// The client is let go with an error when a megabyte has piled up: the container never waits for it.
    Drop,
}

/// Another process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The process: arguments, environment, directory, terminal, capabilities. Its user is looked up from `user`.
    pub process: Process,
    /// The user as the command line or the image says it, looked up in the container as [`crate::Launch::user`] is; the
    /// `user` of `process` gives the umask only.
    #[serde(default)]
    pub user: String,
    /// Whether its standard input comes from this connection; `/dev/null` if not.
    #[serde(default)]
    pub stdin: bool,
    /// Whether its output goes nowhere and the connection ends with [`Answer::Started`].
    #[serde(default)]
    pub detach: bool,
    /// Rows and columns of its terminal at the start.
    #[serde(default)]
    pub terminal_size: Option<(u16, u16)>,
}

/// What a monitor answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is so.
    Done,
    /// The process runs.
    Started {
        /// Its pid as the monitor sees it.
        pid: u32,
    },
    /// The process has ended and the monitor has cleaned up behind it.
    Exited(Exit),
    /// The state.
    State(Box<State>),
    /// It could not be done.
    Failed {
        /// What a command that ran into this exits with: 125, 126 or 127.
        exit_code: u8,
        /// Why.
        error: Record,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// Whether the kernel killed something in the container for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
}
