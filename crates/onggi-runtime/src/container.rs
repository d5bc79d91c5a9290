//! From a request to a process that waits at the gate, and from there to the user's program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use onggi_diag::Diagnose;

use crate::{CreateRequest, Error, Result};

/// A container whose first process exists.
///
/// Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Container {
    pid: i32,
    start_time: u64,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Container {
    /// The first process, as the caller's namespace numbers it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When the first process started, in clock ticks after boot.
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The first process itself; readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Hands out the master of the container's terminal, once.
    pub fn console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// What was asked for and could not be given, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Opens the gate: returns when the user's program runs.
    ///
    /// # Errors
    /// [`Error::Exec`] with 126 or 127 if it could not be executed; the first process is then gone.
    pub fn start(&mut self) -> Result<()> {
        Err(Error::Unsupported { at: "start".into(), why: "this build cannot start containers".into() })
    }
}

/// Makes a container: all of its world, and its first process waiting at the gate.
///
/// `on_spawned` is called with the first process's pid when its namespaces exist, while it builds its root; what it
/// fails with comes back as [`Error::Caller`].
///
/// # Errors
/// Nothing is left behind: no process, control group or mount.
pub fn create(
    request: CreateRequest<'_>,
    _on_spawned: &mut dyn FnMut(i32) -> std::result::Result<(), Box<dyn Diagnose>>,
) -> Result<Container> {
    Err(Error::Unsupported { at: request.id.into(), why: "this build cannot create containers".into() })
}
