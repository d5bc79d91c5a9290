//! The commands about images.

mod archive;
mod bootstrap;
mod list;
mod transfer;

use std::process::ExitCode;

use onggi_image::Removed;
use onggi_oci::{Platform, Reference};
use serde_json::Value;

pub(crate) use archive::{import, load, save};
pub(crate) use bootstrap::bootstrap;
pub(crate) use list::{history, images};
pub(crate) use transfer::{fetch, pull, push};

use crate::args::{Prune, RemoveImage, Tag};
use crate::context::{Context, print, tell};
use crate::error::{Error, Result};
use crate::output::{report, size_precise};

/// What a user calls a platform; the host's own where nothing was said.
fn platform(word: Option<&str>) -> Result<Option<Platform>> {
    word.map(|word| word.parse().map_err(|error| Error::other(format!("use --platform {word}"), &error))).transpose()
}

fn reference(word: &str) -> Result<Reference> {
    word.parse().map_err(|error| Error::other(format!("use the name `{word}`"), &error))
}

/// Whether a container can be made of `name` without asking a registry.
pub(crate) fn is_here(context: &Context, name: &str, platform_word: Option<&str>) -> Result<bool> {
    let platform = platform(platform_word)?;
    match context.engine.images()?.resolve_for(name, platform.as_ref()) {
        Ok(_) => Ok(true),
        Err(error) if onggi_diag::Diagnose::kind(&error) == onggi_diag::Kind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn inspect(context: &Context, name: &str) -> Result<Value> {
    Ok(context.engine.images()?.inspect(name, None)?)
}

pub(crate) fn tag(context: &Context, args: &Tag) -> Result<ExitCode> {
    context.engine.images()?.tag(&args.source, &reference(&args.target)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn remove(context: &Context, args: &RemoveImage) -> Result<ExitCode> {
    let mut failed = false;
    for name in &args.images {
        match context.engine.remove_image(name, args.force) {
            Ok(removed) => print(&removed.iter().map(|one| removed_line(one) + "\n").collect::<String>())?,
            Err(onggi_engine::Error::Image(error))
                if args.force && onggi_diag::Diagnose::kind(&*error) == onggi_diag::Kind::NotFound => {}
            Err(error) => {
                failed = true;
                tell(report(&error).trim_end());
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `Untagged: NAME` or `Deleted: ID`.
pub(crate) fn removed_line(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(name) => format!("Untagged: {}", name.familiar()),
        Removed::Deleted(id) => format!("Deleted: {id}"),
    }
}

pub(crate) fn prune(context: &Context, args: &Prune) -> Result<ExitCode> {
    let what = if args.all {
        "This removes all images that no container uses."
    } else {
        "This removes all images without a name that no container uses."
    };
    if !crate::system::confirmed(args.force, what)? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = context.engine.prune_images(args.all)?;
    if !pruned.removed.is_empty() {
        let lines: String = pruned.removed.iter().map(|one| removed_line(one) + "\n").collect();
        print(&format!("Deleted Images:\n{lines}\n"))?;
    }
    print(&format!("Total reclaimed space: {}\n", size_precise(pruned.reclaimed)))?;
    Ok(ExitCode::SUCCESS)
}
