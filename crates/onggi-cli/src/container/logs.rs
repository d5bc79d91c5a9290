//! `logs`.

use std::io::Write as _;
use std::process::ExitCode;

use onggi_monitor::logs::{self, Entry, Options, Stream};

use crate::args::Logs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::parse;

pub(crate) fn logs(context: &Context, args: &Logs) -> Result<ExitCode> {
    let options = Options {
        follow: args.follow,
        tail: tail(&args.tail)?,
        since: args.since.as_deref().map(|word| parse::time("--since", word)).transpose()?,
        until: args.until.as_deref().map(|word| parse::time("--until", word)).transpose()?,
        ..Options::default()
    };
    let containers = context.engine.containers();
    let id = containers.find(&args.container)?;
    let failed = |error: onggi_sys::Error| Error::other(format!("read the log of {}", args.container), &error);
    for entry in logs::read(&context.engine.paths().container(&id), options).map_err(failed)? {
        if !show(&entry.map_err(failed)?, args.timestamps)? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tail(word: &str) -> Result<Option<usize>> {
    match word {
        "all" | "" => Ok(None),
        // Docker takes any negative number for all.
        word if word.starts_with('-') && word[1..].parse::<u64>().is_ok() => Ok(None),
        word => word.parse().map(Some).map_err(|_| Error::usage(format!("--tail {word} is not a number of lines"))),
    }
}

/// Prints a line where it was written to; says whether anybody still reads.
fn show(entry: &Entry, timestamps: bool) -> Result<bool> {
    let mut text = Vec::with_capacity(entry.log.len() + 40);
    if timestamps {
        text.extend_from_slice(entry.time.as_bytes());
        text.push(b' ');
    }
    text.extend_from_slice(entry.log.as_bytes());
    let written = match entry.stream {
        Stream::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(&text).and_then(|()| out.flush())
        }
        Stream::Stderr => std::io::stderr().write_all(&text),
    };
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).map_err(Error::io("write the log")),
    }
}
