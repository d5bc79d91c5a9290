//! What there is, read without waiting for anybody.

use std::collections::BTreeMap;

use onggi_fs::Root;
use onggi_monitor::client::SOCKET;
use onggi_monitor::{STATE_FILE, Status};
use onggi_sys::file::{self, Mode, OFlags};
use onggi_sys::{Errno, Result as SysResult};
use serde::Deserialize;

use super::{Containers, layout};
use crate::error::Context;
use crate::record::{MountPoint, RECORD_FILE};
use crate::{ContainerId, ListContainers, Name, NetworkMode, RequestError, Result};

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: Name,
    /// The image, as `create` was given it.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What runs in it.
    pub command: Vec<String>,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Where it is in its life. One whose monitor was killed has exited, though nobody has written that down yet.
    pub status: Status,
    /// How it ended, if it has.
    pub exit_code: Option<i32>,
    /// When it started last.
    pub started_at: Option<String>,
    /// When it ended last.
    pub finished_at: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network.
    pub network: NetworkMode,
    /// The sources of its mounts: names of volumes, paths of the host.
    pub mounts: Vec<String>,
    /// Where in it they are.
    pub destinations: Vec<String>,
}

impl Containers<'_> {
    /// The containers that `what` describes, newest first.
    ///
    /// Takes no lock: a container that somebody works on is listed as it was before, or as it is after.
    pub fn list(self, what: &ListContainers) -> Result<Vec<ContainerSummary>> {
        let all = what.all || what.last.is_some() || !what.status.is_empty() || !what.exited.is_empty();
        let ids = if all { layout::ids(&self.engine.containers) } else { self.started() };
        let ids = ids.to("list the containers")?;
        if let Some(odd) = what.status.iter().find(|status| !STATES.contains(&status.as_str())) {
            return Err(RequestError::Status(odd.clone()).into());
        }
        let (before, since) = (self.made(&what.before)?, self.made(&what.since)?);
        let in_time = |created: &String| before.iter().all(|at| created < at) && since.iter().all(|at| created > at);
        let wanted = |summary: &ContainerSummary| {
            (all || summary.status.is_active()) && matches(what, summary) && in_time(&summary.created)
        };
        let mut found: Vec<ContainerSummary> =
            ids.iter().filter_map(|id| summary(&self.engine.containers, id)).filter(wanted).collect();
        found.sort_unstable_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
        found.truncate(what.last.unwrap_or(usize::MAX));
        Ok(found)
    }

    /// When each of the containers that `names` mean was made.
    fn made(self, names: &[String]) -> Result<Vec<String>> {
        names.iter().map(|name| Ok(self.known(&self.find(name)?)?.0.created)).collect()
    }

    /// Those with a monitor, or with the rests of one.
    fn started(self) -> SysResult<Vec<ContainerId>> {
        let running = match Root::open(self.engine.paths().running()) {
            Err(error) if error.is(Errno::NOENT) => return Ok(Vec::new()),
            other => other?,
        };
        let mut ids = layout::ids(&running)?;
        ids.retain(|id| file::stat_at(&running, format!("{id}/{SOCKET}")).is_ok());
        Ok(ids)
    }
}

/// What a list needs of a record.
#[derive(Deserialize)]
struct Brief {
    name: Name,
    created: String,
    image: crate::record::Image,
    config: BriefConfig,
    #[serde(default)]
    network: NetworkMode,
    #[serde(default)]
    mounts: Vec<MountPoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct BriefConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct BriefState {
    status: Status,
    #[serde(default)]
    exit_code: Option<i32>,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    finished_at: Option<String>,
}

/// One line of the list; `None` if the container has just gone, or cannot be read: `inspect` tells why.
fn summary(containers: &Root, id: &ContainerId) -> Option<ContainerSummary> {
    let dir = containers.child_dir(id.as_str()).ok()?;
    let record: Brief = parse(&dir, RECORD_FILE)?;
    let state = parse::<BriefState>(&dir, STATE_FILE).unwrap_or(BriefState {
        status: Status::Created,
        exit_code: None,
        started_at: None,
        finished_at: None,
    });
    let abandoned = state.status.is_active() && !layout::is_held(&dir);
    let words = record.config.entrypoint.into_iter().chain(record.config.cmd);
    Some(ContainerSummary {
        id: id.clone(),
        name: record.name,
        image: record.image.name,
        image_id: record.image.id,
        command: words.flatten().collect(),
        created: record.created,
        status: if abandoned { Status::Exited } else { state.status },
        exit_code: if abandoned { Some(super::recover::KILLED) } else { state.exit_code },
        started_at: state.started_at,
        finished_at: state.finished_at,
        labels: record.config.labels,
        network: record.network,
        mounts: record.mounts.iter().map(source).collect(),
        destinations: record.mounts.iter().map(|mount| mount.destination.display().to_string()).collect(),
    })
}

fn source(mount: &MountPoint) -> String {
    mount.volume.clone().unwrap_or_else(|| mount.source.display().to_string())
}

/// Reads a file of ours, in the fewest calls: a list of hundreds is made of them.
fn parse<T: for<'de> Deserialize<'de>>(dir: &Root, name: &str) -> Option<T> {
    const LIMIT: usize = 16 << 20;
    let opened = file::open(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    serde_json::from_slice(&file::read_all(opened, LIMIT).ok()?).ok()
}

fn matches(what: &ListContainers, summary: &ContainerSummary) -> bool {
    let any = |list: &[String], holds: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|one| holds(one));
    any(&what.ids, &|id| summary.id.as_str().starts_with(id))
        && any(&what.names, &|name| is_named(summary.name.as_str(), name))
        && any(&what.status, &|status| status == status_name(summary.status))
        && (what.exited.is_empty() || exited_so(what, summary))
        && any(&what.ancestors, &|image| is_of(summary, image))
        && any(&what.networks, &|network| network == summary.network.as_str())
        && any(&what.volumes, &|volume| has_mount(summary, volume))
        && what.labels.iter().all(|label| has_label(summary, label))
}

/// Docker's states, of which ours are some.
const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];

/// Scripts ask for `name=^box$` and, since docker's names begin with a slash, for `name=^/box$`.
fn is_named(name: &str, wanted: &str) -> bool {
    let (wanted, from_start) = wanted.strip_prefix('^').map_or((wanted, false), |rest| (rest, true));
    let (wanted, to_end) = wanted.strip_suffix('$').map_or((wanted, false), |rest| (rest, true));
    let (wanted, from_start) = wanted.strip_prefix('/').map_or((wanted, from_start), |rest| (rest, true));
    match (from_start, to_end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
}

fn has_mount(summary: &ContainerSummary, wanted: &str) -> bool {
    summary.mounts.iter().chain(&summary.destinations).any(|place| place == wanted)
}

/// Docker's words; a container is `created` until its program runs.
pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Created | Status::Starting => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Exited => "exited",
    }
}

fn exited_so(what: &ListContainers, summary: &ContainerSummary) -> bool {
    summary.status == Status::Exited && summary.exit_code.is_some_and(|code| what.exited.contains(&code))
}

fn has_label(summary: &ContainerSummary, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => summary.labels.get(key).is_some_and(|found| found == value),
        None => summary.labels.contains_key(label),
    }
}

fn is_of(summary: &ContainerSummary, image: &str) -> bool {
    let bare = summary.image_id.strip_prefix("sha256:").unwrap_or(&summary.image_id);
    let wanted = image.strip_prefix("sha256:").unwrap_or(image);
    summary.image == image
        || summary.image.split_once(':').is_some_and(|(name, _)| name == image)
        || (wanted.len() >= 4 && bare.starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_scripts_ask_for_them() {
        for (wanted, found) in [
            ("box", ["box", "boxes", "a-box"].as_slice()),
            ("^box", &["box", "boxes"]),
            ("^/box$", &["box"]),
            ("^box$", &["box"]),
            ("/box", &["box", "boxes"]),
            ("box$", &["box", "a-box"]),
            ("", &["box", "boxes", "a-box"]),
            ("x-", &[]),
        ] {
            let names: Vec<&str> =
                ["box", "boxes", "a-box"].into_iter().filter(|name| is_named(name, wanted)).collect();
            assert_eq!(names, found, "{wanted}");
        }
    }
}
