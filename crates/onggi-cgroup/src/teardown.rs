//! The end of a group: killing who is in it and taking its directories away.

use std::time::{Duration, Instant};

use onggi_sys::file::{self, AtFlags, CWD};
use onggi_sys::pidfd::{self, Signal};
use onggi_sys::{self as sys, Errno};

use crate::group::{Cgroup, Part};
use crate::{CgroupPath, Error, Layout, Result, subtree};

/// How long the kernel may take to let go of an empty group.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Kills every process of the group and of the groups below it, and waits until the group is empty.
    ///
    /// By `cgroup.kill` where there is a v2 hierarchy (since Linux 5.14), which no fork bomb outruns; else by rounds
    /// over pidfds. Processes must be reaped by their parents; one that is a zombie counts as gone.
    ///
    /// # Errors
    /// [`Error::Late`] if somebody is still there after `patience`.
    pub fn kill_all(&self, patience: Duration) -> Result<()> {
        let Some(leading) = self.leading() else { return Ok(()) };
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(200);
        loop {
            self.kill_at_once()?;
            let mut left = kill_round(leading)?;
            // Somebody may have left one hierarchy alone; nobody who stays in any of them is to survive.
            if left == 0 {
                left = self.parts.iter().try_fold(0, |left, part| Ok(left + kill_round(part)?))?;
            }
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let path = leading.directory.path.clone();
                return Err(Error::Late { path, state: "empty", seconds: patience.as_secs() });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Sends `signal` to every process of the group and of the groups below it, as far as they can be met in one
    /// round; says how many it was.
    pub fn signal_all(&self, signal: Signal) -> Result<usize> {
        self.leading().map_or(Ok(0), |part| signal_round(part, signal))
    }

    /// Removes the group with the groups below it, after killing whoever is left in it.
    ///
    /// Usually nobody is: the kernel takes a pid namespace's processes with its first one. So each directory is first
    /// removed as it is, which the kernel refuses where somebody lives, and only what is left then is looked into.
    ///
    /// # Errors
    /// [`Error::Late`] if somebody is still there after `patience`. Goes through all hierarchies also after a failure,
    /// and tells the first one.
    pub fn destroy(self, patience: Duration) -> Result<()> {
        let is_left = |part: &Part| {
            let removed = file::unlink(CWD, &part.directory.path, AtFlags::REMOVEDIR);
            removed.is_err_and(|error| !error.is(Errno::NOENT))
        };
        let left = Self { parts: self.parts.into_iter().filter(is_left).collect() };
        let killed = left.kill_all(patience);
        killed.and(left.remove())
    }

    /// Removes the group's directories with the groups below it. The group must be empty of processes.
    ///
    /// Goes through all hierarchies also after a failure, and tells the first one.
    pub fn remove(self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut outcome = Ok(());
        for part in self.parts {
            let path = part.directory.path.clone();
            drop(part);
            outcome = outcome.and(subtree::remove(&path, deadline));
        }
        outcome
    }

    /// Removes the group at `path` wherever it is empty: no process in it and no group below it. Elsewhere it stays.
    pub fn remove_if_empty(path: &CgroupPath) -> Result<()> {
        for hierarchy in &Layout::detect()?.hierarchies {
            // The kernel's refusal is what tells an empty group from one in use.
            drop(file::unlink(CWD, hierarchy.place(path), AtFlags::REMOVEDIR));
        }
        Ok(())
    }

    fn kill_at_once(&self) -> Result<()> {
        let Some(part) = self.parts.iter().find(|part| part.v2) else { return Ok(()) };
        match part.directory.try_write("cgroup.kill", "1") {
            // Older than 5.14, or a threaded group: the rounds do it.
            Err(source) if source.is(Errno::NOENT) || source.is(Errno::OPNOTSUPP) => Ok(()),
            Err(source) => Err(part.directory.not_written("cgroup.kill", "1", source)),
            Ok(()) => Ok(()),
        }
    }
}

/// Kills whom it meets; says how many are still alive.
fn kill_round(part: &Part) -> Result<usize> {
    signal_round(part, Signal::KILL)
}

fn signal_round(part: &Part, signal: Signal) -> Result<usize> {
    let fail = |pid, source| Error::Kill { pid, path: part.directory.path.clone(), source };
    let mut met = Vec::new();
    for pid in subtree::procs(&part.directory)? {
        match pidfd::open(pid) {
            Ok(fd) => met.push((pid, fd)),
            Err(source) if is_gone(&source) => {}
            Err(source) => return Err(fail(pid, source)),
        }
    }
    // The number may have gone to a stranger between reading and opening. Who is listed once more now, with its pidfd
    // open, is in the group, or is dead and its pidfd reaches nobody.
    let listed = subtree::procs(&part.directory)?;
    let mut alive = 0;
    for (pid, fd) in met.into_iter().filter(|(pid, _)| listed.contains(pid)) {
        match pidfd::send_signal(&fd, signal) {
            // A zombie takes signals without an error, but is as dead as it can be by our hand.
            Ok(()) if is_zombie(&fd) => {}
            Ok(()) => alive += 1,
            Err(source) if is_gone(&source) => {}
            Err(source) => return Err(fail(pid, source)),
        }
    }
    Ok(alive)
}

fn is_zombie(fd: &std::os::fd::OwnedFd) -> bool {
    pidfd::wait_exited(fd, Some(Duration::ZERO)).unwrap_or(false)
}

fn is_gone(error: &sys::Error) -> bool {
    error.is(Errno::SRCH) || error.is(Errno::INVAL)
}
