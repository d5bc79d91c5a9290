//! `ps`.

use std::process::ExitCode;

use jiff::Timestamp;
use onggi_engine::{ContainerSummary, ListContainers};
use onggi_monitor::Status;
use serde_json::{Value, json};

use crate::args::Ps;
use crate::context::{Context, print};
use crate::error::{Error, Result};
use crate::output::{Format, Listing, age};

/// How much of a command a table shows.
const COMMAND_WIDTH: usize = 20;

pub(crate) fn ps(context: &Context, args: &Ps) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let found = context.engine.containers().list(&wanted(args)?)?;
    if args.quiet {
        let ids: String = found.iter().map(|one| format!("{}\n", id(one, args.no_trunc))).collect();
        print(&ids)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let listing = Listing {
        columns: &[
            ("CONTAINER ID", "ID"),
            ("IMAGE", "Image"),
            ("COMMAND", "Command"),
            ("CREATED", "RunningFor"),
            ("STATUS", "Status"),
            ("PORTS", "Ports"),
            ("NAMES", "Names"),
        ],
        rows: found.iter().map(|one| row(one, args.no_trunc, now)).collect(),
    };
    print(&listing.render(&format)?)?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &Ps) -> Result<ListContainers> {
    let mut list = ListContainers { all: args.all, last: args.last, ..Default::default() };
    if args.latest {
        list.last = Some(1);
    }
    for filter in &args.filter {
        let Some((key, value)) = filter.split_once('=') else {
            return Err(Error::usage(format!("the filter `{filter}` is not KEY=VALUE")));
        };
        let into = match key {
            "id" => &mut list.ids,
            "name" => &mut list.names,
            "status" => &mut list.status,
            "label" => &mut list.labels,
            "ancestor" => &mut list.ancestors,
            "volume" => &mut list.volumes,
            "network" => &mut list.networks,
            "before" => &mut list.before,
            "since" => &mut list.since,
            "exited" => {
                let code =
                    value.parse().map_err(|_| Error::usage(format!("the filter `{filter}` has no exit code")))?;
                list.exited.push(code);
                continue;
            }
            _ => {
                return Err(Error::usage(format!(
                    "there is no filter `{key}`; ps knows id, name, label, status, exited, ancestor, volume, network, \
                     before, since"
                )));
            }
        };
        into.push(value.to_owned());
    }
    Ok(list)
}

fn id(one: &ContainerSummary, whole: bool) -> &str {
    if whole { one.id.as_str() } else { one.id.short() }
}

fn row(one: &ContainerSummary, whole: bool, now: Timestamp) -> Value {
    let command = one.command.join(" ");
    let command = if whole { command } else { shortened(&command) };
    let ago = one.created.parse().map_or_else(|_| String::new(), |then| age(then, now) + " ago");
    json!({
        "ID": id(one, whole),
        "Image": one.image,
        "Command": format!("\"{command}\""),
        "CreatedAt": one.created,
        "RunningFor": ago,
        "Ports": "",
        "State": state(one.status),
        "Status": status(one, now),
        "Names": one.name.to_string(),
        "Labels": one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
        "Mounts": one.mounts.join(","),
        "Networks": one.network.as_str(),
    })
}

fn shortened(command: &str) -> String {
    if command.chars().count() <= COMMAND_WIDTH {
        return command.to_owned();
    }
    command.chars().take(COMMAND_WIDTH - 1).chain(['…']).collect()
}

fn state(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Starting | Status::Running => "running",
        Status::Paused => "paused",
        Status::Exited => "exited",
    }
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`.
fn status(one: &ContainerSummary, now: Timestamp) -> String {
    let since = |time: Option<&String>| {
        time.and_then(|time| time.parse().ok()).map_or_else(|| "a moment".to_owned(), |then| age(then, now))
    };
    match one.status {
        Status::Created => "Created".into(),
        Status::Starting => "Starting".into(),
        Status::Running => format!("Up {}", since(one.started_at.as_ref())),
        Status::Paused => format!("Up {} (Paused)", since(one.started_at.as_ref())),
        Status::Exited => {
            let code = one.exit_code.map_or_else(|| "?".to_owned(), |code| code.to_string());
            format!("Exited ({code}) {} ago", since(one.finished_at.as_ref()))
        }
    }
}
