//! Another process beside a container's first one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::{Error, ExecRequest, Result};

/// A process that was put into a container.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Child {
    /// The process, as the caller's namespace numbers it; it is the caller's child.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process itself; readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Hands out the master of its terminal, once.
    pub fn console(&mut self) -> Option<OwnedFd> {
        self.console.take()
    }

    /// What was asked for and could not be given, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Runs a process inside a container: same namespaces, control group and seccomp profile; returns when it runs.
///
/// # Errors
/// [`Error::NotFound`] if the container's first process is gone, be its pid in use again; [`Error::Exec`] with 126 or
/// 127 if the program could not be executed.
pub fn exec(request: ExecRequest<'_>) -> Result<Child> {
    Err(Error::Unsupported {
        at: format!("exec in process {}", request.target.pid),
        why: "this build cannot join containers".into(),
    })
}
