//! The child that stays in the old namespace and has the maps of the new one written.

use std::os::fd::OwnedFd;

use onggi_diag::Record;
use onggi_sys::idmap::{self, Ids, Range};
use onggi_sys::process::{self, CloneRequest, Forked};
use onggi_sys::{Errno, Error, event, file};
use serde::{Deserialize, Serialize};

/// The longest answer: two records with what two small programs have said.
const LONGEST_ANSWER: usize = 64 << 10;

/// A child that waits for the word to go. It ends without it if we do.
pub(super) struct Helper {
    pidfd: OwnedFd,
    go: OwnedFd,
    answer: OwnedFd,
}

/// What did not work.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Refusals {
    pub(super) users: Option<Record>,
    pub(super) groups: Option<Record>,
}

impl Helper {
    /// Starts the child, which is to map these ids for the calling process.
    pub(super) fn start(users: &[Range], groups: &[Range]) -> onggi_sys::Result<Self> {
        let pid = process::own_pid();
        let (wait, go) = event::pipe()?;
        let (answer, tell) = event::pipe()?;
        match process::clone3(&CloneRequest::default())? {
            Forked::Parent { pidfd, .. } => Ok(Self { pidfd, go, answer }),
            Forked::Child => {
                drop((go, answer));
                process::exit_now(u8::from(help(pid, users, groups, &wait, &tell).is_err()))
            }
        }
    }

    /// Has the ids mapped, now that the calling process is in its new namespace.
    pub(super) fn map_ids(self) -> onggi_sys::Result<Refusals> {
        file::write_all(&self.go, b"!")?;
        let answer = file::read_all(&self.answer, LONGEST_ANSWER);
        process::wait(&self.pidfd)?;
        let answer = answer?;
        serde_json::from_slice(&answer).map_err(|_| Error::new("read", "the helper's answer", Errno::PROTO))
    }
}

fn help(pid: i32, users: &[Range], groups: &[Range], wait: &OwnedFd, tell: &OwnedFd) -> onggi_sys::Result<()> {
    if file::read(wait, &mut [0])? == 0 {
        return Ok(());
    }
    let refusal = |ids, map| idmap::write_by_helper(pid, ids, map).err().map(|error| Record::new("map ids", &error));
    let refusals = Refusals { users: refusal(Ids::Users, users), groups: refusal(Ids::Groups, groups) };
    let text = serde_json::to_vec(&refusals).map_err(|_| Error::new("write", "the answer", Errno::PROTO))?;
    file::write_all(tell, &text)
}
