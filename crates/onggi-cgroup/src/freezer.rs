//! Stopping all processes of a group at once.

use std::time::{Duration, Instant};

use crate::attribute::Directory;
use crate::group::{Cgroup, Part};
use crate::{Controller, Error, Result};

/// How long a group may take to stop; a process in the middle of a system call on a dead disk takes for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// A frozen group. Dropping it thaws the group; [`Frozen::keep`] leaves it frozen.
#[derive(Debug)]
#[must_use = "the group thaws as soon as this is dropped"]
pub struct Frozen<'a> {
    group: Option<&'a Cgroup>,
}

impl Frozen<'_> {
    /// Leaves the group frozen until [`Cgroup::thaw`].
    pub fn keep(mut self) {
        self.group = None;
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Nobody is left to tell; the group's next user sees that it is frozen and tries again.
            drop(group.thaw());
        }
    }
}

impl Cgroup {
    /// Stops all processes of the group and of the groups below it, and waits until they have stopped.
    ///
    /// # Errors
    /// [`Error::Late`] if one does not stop within ten seconds, [`Error::NoController`] if nothing here can freeze.
    /// The group runs again then.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        let part = self.freezer()?;
        let frozen = Frozen { group: Some(self) };
        ask(part, true)?;
        wait(part, true)?;
        Ok(frozen)
    }

    /// Lets the processes of the group run again.
    pub fn thaw(&self) -> Result<()> {
        let part = self.freezer()?;
        ask(part, false)?;
        wait(part, false)
    }

    /// Whether the group is frozen.
    pub fn is_frozen(&self) -> Result<bool> {
        self.freezer().map_or(Ok(false), |part| state(part).map(|state| state == State::Frozen))
    }

    /// The v2 freezer where there is one: processes that it has stopped can still be killed.
    fn freezer(&self) -> Result<&Part> {
        self.parts.iter().find(|part| part.v2).or_else(|| self.part(Controller::Freezer)).ok_or(Error::NoController {
            what: "running",
            controller: Controller::Freezer,
            source: None,
        })
    }
}

#[derive(PartialEq, Eq)]
enum State {
    Frozen,
    OnTheWay,
    Thawed,
}

fn ask(part: &Part, freeze: bool) -> Result<()> {
    let group = &part.directory;
    match (part.v2, freeze) {
        (true, true) => group.write("cgroup.freeze", "1"),
        (true, false) => group.write("cgroup.freeze", "0"),
        (false, true) => group.write("freezer.state", "FROZEN"),
        (false, false) => group.write("freezer.state", "THAWED"),
    }
}

fn state(part: &Part) -> Result<State> {
    let group = &part.directory;
    if part.v2 {
        return state_v2(group);
    }
    Ok(match group.read("freezer.state")?.as_str() {
        "FROZEN" => State::Frozen,
        "FREEZING" => State::OnTheWay,
        _ => State::Thawed,
    })
}

/// `cgroup.freeze` says what was asked for, `cgroup.events` what is.
fn state_v2(group: &Directory) -> Result<State> {
    let is = group.keyed("cgroup.events", &["frozen"])?[0] == Some(1);
    let asked = group.read("cgroup.freeze")? == "1";
    Ok(match (asked, is) {
        (true, true) => State::Frozen,
        (false, false) => State::Thawed,
        _ => State::OnTheWay,
    })
}

fn wait(part: &Part, freeze: bool) -> Result<()> {
    let wanted = if freeze { State::Frozen } else { State::Thawed };
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    for round in 1.. {
        if state(part)? == wanted {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            break;
        }
        // v1 can hang in FREEZING when a process forks in a bad moment; asking again moves it on.
        if !part.v2 && freeze && round % 50 == 0 {
            ask(part, false)?;
            ask(part, true)?;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    let state = if freeze { "frozen" } else { "thawed" };
    Err(Error::Late { path: part.directory.path.clone(), state, seconds: PATIENCE.as_secs() })
}
