//! A group and the groups below it: whose processes they are, and taking them away.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use onggi_sys::file::{self, AtFlags, CWD, FileType};
use onggi_sys::{self as sys, Errno};

use crate::attribute::Directory;
use crate::{Controller, Error, Result};

/// The processes of the group and of all groups below it.
pub(crate) fn procs(group: &Directory) -> Result<Vec<i32>> {
    let mut all = own_procs(group)?;
    for child in children(group)? {
        match procs(&child) {
            Ok(more) => all.extend(more),
            Err(Error::Read { source, .. }) if is_gone(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// The processes of this group alone.
pub(crate) fn own_procs(group: &Directory) -> Result<Vec<i32>> {
    let text = match group.read("cgroup.procs") {
        // A threaded group lists its processes only at the top of its threaded part.
        Err(Error::Read { source, .. }) if source.is(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect())
}

/// Makes sure that a group which was there before us is nobody's, and is not frozen.
pub(crate) fn check_free(group: &Directory) -> Result<()> {
    let processes = procs(group)?.len();
    if processes > 0 {
        return Err(Error::Occupied { path: group.path.clone(), processes });
    }
    // A container that enters a frozen group stops for good; nobody is in it who could want it so.
    for (name, frozen, thawed) in [("cgroup.freeze", "1", "0"), ("freezer.state", "FROZEN", "THAWED")] {
        if group.read_if_there(name)?.is_some_and(|state| state == frozen) {
            group.write(name, thawed)?;
        }
    }
    Ok(())
}

/// Which controllers of a v2 hierarchy are to be handed down.
pub(crate) enum Wanted {
    All,
    Only(Vec<Controller>),
}

impl Wanted {
    fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => Controller::from_v2(name).is_some_and(|controller| wanted.contains(&controller)),
        }
    }
}

/// Hands controllers down from the root of a v2 hierarchy to the parent of `target`, as far as that is possible.
///
/// Answers with the first refusal: only a limit that needs the controller makes an error of it.
pub(crate) fn enable_controllers(mount: &Path, target: &Path, wanted: &Wanted) -> Option<sys::Error> {
    if matches!(wanted, Wanted::Only(none) if none.is_empty()) {
        return None;
    }
    let parent = Directory::open(target.parent()?.to_owned()).ok();
    if parent.is_some_and(|parent| missing(&parent, wanted).is_some_and(|missing| missing.is_empty())) {
        return None;
    }
    let mut refused = None;
    let mut ancestors: Vec<&Path> = target.ancestors().skip(1).take_while(|path| path.starts_with(mount)).collect();
    ancestors.reverse();
    for path in ancestors {
        // The groups on the way are made here, for a controller can be handed down only by a group that exists.
        if let Err(error) = file::mkdir(CWD, path, file::Mode::from_raw_mode(0o755))
            && !error.is(Errno::EXIST)
        {
            return refused.or(Some(error));
        }
        let enabled = Directory::open(path.to_owned()).and_then(|group| enable(&group, wanted));
        refused = refused.or(enabled.err());
    }
    refused
}

fn enable(group: &Directory, wanted: &Wanted) -> sys::Result<()> {
    let missing = missing(group, wanted).unwrap_or_default();
    if missing.is_empty() || group.try_write("cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return Ok(());
    }
    // One that cannot be had (cpu, when realtime tasks run) must not keep us from the rest.
    let mut refused = Ok(());
    for one in missing {
        refused = refused.and(group.try_write("cgroup.subtree_control", &one));
    }
    refused
}

/// What `cgroup.subtree_control` lacks of what is wanted of `cgroup.controllers`, each with the `+` that asks for it.
fn missing(group: &Directory, wanted: &Wanted) -> Option<Vec<String>> {
    let (has, gives) = (group.read("cgroup.controllers").ok()?, group.read("cgroup.subtree_control").ok()?);
    let gives: Vec<&str> = gives.split_whitespace().collect();
    Some(
        has.split_whitespace()
            .filter(|one| wanted.holds(one) && !gives.contains(one))
            .map(|one| format!("+{one}"))
            .collect(),
    )
}

/// Removes the group with all groups below it, deepest first; one that is gone already is fine.
///
/// The kernel lets go of a group a moment after its last process has been reaped, so it is tried until `deadline`.
pub(crate) fn remove(path: &Path, deadline: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        match file::unlink(CWD, path, AtFlags::REMOVEDIR) {
            Ok(()) => return Ok(()),
            Err(source) if source.is(Errno::NOENT) => return Ok(()),
            Err(source) if source.is(Errno::BUSY) && Instant::now() < deadline => {}
            Err(source) => return Err(Error::Remove { path: path.to_owned(), source }),
        }
        let below =
            Directory::open(path.to_owned()).ok().map(|group| children(&group)).transpose()?.unwrap_or_default();
        if below.is_empty() {
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        for child in below {
            remove(&child.path, deadline)?;
        }
    }
}

fn children(group: &Directory) -> Result<Vec<Directory>> {
    let read = |source| Error::Read { file: group.path.clone(), source };
    let entries = match file::entries(&group.fd) {
        Err(source) if is_gone(&source) => return Ok(Vec::new()),
        other => other.map_err(read)?,
    };
    let mut found = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.kind == FileType::Directory) {
        match Directory::open(group.path.join(entry.name)) {
            Ok(child) => found.push(child),
            Err(source) if is_gone(&source) => {}
            Err(source) => return Err(read(source)),
        }
    }
    Ok(found)
}

fn is_gone(error: &sys::Error) -> bool {
    error.is(Errno::NOENT) || error.is(Errno::NODEV)
}
