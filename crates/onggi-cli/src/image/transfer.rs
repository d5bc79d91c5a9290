//! `pull` and `push`, with a line per layer.

mod progress;

use std::process::ExitCode;

use onggi_image::{PullOptions, PushOptions};
use onggi_registry::{Client, Config};

use self::progress::Lines;
use super::{platform, reference};
use crate::args::{Pull, Push};
use crate::context::{Context, print};
use crate::error::{Error, Result};

pub(crate) fn pull(context: &Context, args: &Pull) -> Result<ExitCode> {
    context.tell_of_ids();
    let name = reference(&args.reference)?;
    let options = PullOptions { platform: platform(args.platform.as_deref())?, ..PullOptions::default() };
    let lines = Lines::new(args.quiet);
    let pulled = context.engine.images()?.pull(&client(context)?, &name, &options, &lines);
    lines.finish();
    let pulled = pulled.map_err(|error| Error::other(format!("pull {}", name.familiar()), &error))?;
    if args.quiet {
        print(&format!("{name}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = if pulled.up_to_date { "Image is up to date for" } else { "Downloaded newer image for" };
    print(&format!("Digest: {}\nStatus: {status} {}\n{name}\n", pulled.target, name.familiar()))?;
    Ok(ExitCode::SUCCESS)
}

/// Fetches an image that a container is to be made of; whatever is printed goes to standard error, since the output
/// is the container's.
pub(crate) fn fetch(context: &Context, word: &str, platform_word: Option<&str>, quiet: bool) -> Result<()> {
    context.tell_of_ids();
    let name = reference(word)?;
    let options = PullOptions { platform: platform(platform_word)?, ..PullOptions::default() };
    let lines = Lines::new(quiet);
    let pulled = context.engine.images()?.pull(&client(context)?, &name, &options, &lines);
    lines.finish();
    pulled.map_err(|error| Error::other(format!("pull {}", name.familiar()), &error))?;
    Ok(())
}

pub(crate) fn push(context: &Context, args: &Push) -> Result<ExitCode> {
    let name = reference(&args.reference)?;
    let lines = Lines::new(args.quiet);
    let pushed = context.engine.images()?.push(&client(context)?, &name, &PushOptions::default(), &lines);
    lines.finish();
    let pushed = pushed.map_err(|error| Error::other(format!("push {}", name.familiar()), &error))?;
    if args.quiet {
        print(&format!("{name}\n"))?;
    } else {
        let tag = name.tag().unwrap_or_default();
        print(&format!("{tag}: digest: {} size: {}\n", pushed.target.digest, pushed.target.size))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn client(context: &Context) -> Result<Client> {
    let config = Config::discover(|name| std::env::var(name).ok(), &context.registries);
    Ok(Client::new(config.map_err(|error| Error::other("read the registries' configuration", &error))?))
}
