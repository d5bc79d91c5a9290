//! The whole store: `system df`, `system prune`, `info`, `version`.

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::args::{Df, Info, Prune};
use crate::context::{Context, print, tell};
use crate::error::{Error, Result};
use crate::output::{Format, Listing, Template, size, size_precise};

/// Asks, unless it was forced; without a terminal the answer is no.
pub(crate) fn confirmed(force: bool, what: &str) -> Result<bool> {
    if force {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(format!("{what} Give --force to do it without being asked")));
    }
    tell(&format!("WARNING! {what}\nAre you sure you want to continue? [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::io("read the answer"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(crate) fn prune(context: &Context, args: &Prune) -> Result<ExitCode> {
    let images = if args.all { "all images that no container uses" } else { "images without a name" };
    let what = format!("This removes all containers that do not run, {images}, and whatever nothing owns.");
    if !confirmed(args.force, &what)? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = context.engine.prune(args.all)?;
    for (title, lines) in [
        ("Deleted Containers:", pruned.containers.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("Deleted Images:", pruned.images.iter().map(crate::image::removed_line).collect()),
    ] {
        if !lines.is_empty() {
            print(&format!("{title}\n{}\n\n", lines.join("\n")))?;
        }
    }
    print(&format!("Total reclaimed space: {}\n", size_precise(pruned.reclaimed)))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn df(context: &Context, args: &Df) -> Result<ExitCode> {
    let format = Format::parse(args.format.as_deref())?;
    let usage = context.engine.disk_usage()?;
    let rows = usage.iter().map(|one| {
        json!({
            "Type": one.kind, "TotalCount": one.count.to_string(), "Active": one.active.to_string(),
            "Size": size(one.bytes), "Reclaimable": size(one.reclaimable),
        })
    });
    let listing = Listing {
        columns: &[
            ("TYPE", "Type"),
            ("TOTAL", "TotalCount"),
            ("ACTIVE", "Active"),
            ("SIZE", "Size"),
            ("RECLAIMABLE", "Reclaimable"),
        ],
        rows: rows.collect(),
    };
    print(&listing.render(&format)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn info(context: &Context, args: &Info) -> Result<ExitCode> {
    let info = context.engine.info()?;
    match args.format.as_deref() {
        None => print(&described(&info, args.cgroup))?,
        Some("json") => print(&format!("{info}\n"))?,
        Some(text) => print(&(Template::parse(text)?.render(&info)? + "\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The facts, a line each; of lists their entries.
fn described(info: &Value, cgroup_only: bool) -> String {
    let fields = info.as_object().into_iter().flatten();
    let wanted = fields.filter(|(name, _)| !cgroup_only || name.starts_with("Cgroup"));
    let mut text = String::new();
    for (name, value) in wanted {
        let shown = match value {
            Value::String(word) => word.clone(),
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(" "),
            other => other.to_string(),
        };
        text.push_str(&format!("{name}: {shown}\n"));
    }
    text
}

pub(crate) fn version() -> Result<ExitCode> {
    print(&format!("onggi {}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}
