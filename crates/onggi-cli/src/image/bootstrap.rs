//! `image bootstrap`.

use std::process::ExitCode;

use onggi_image::{BootstrapRequest, BootstrapSource, Reason};
use serde_json::json;

use super::reference;
use crate::args::Bootstrap;
use crate::context::{Context, print};
use crate::error::{Error, Result};
use crate::output::{Format, Listing, size};

pub(crate) fn bootstrap(context: &Context, args: &Bootstrap) -> Result<ExitCode> {
    let source = match (&args.rootfs, &args.tar) {
        (Some(dir), _) => BootstrapSource::Rootfs(dir.clone()),
        (_, Some(archive)) => BootstrapSource::Tar(archive.clone()),
        _ if args.programs.is_empty() => BootstrapSource::Default,
        _ => BootstrapSource::Programs(args.programs.clone()),
    };
    let request = BootstrapRequest {
        name: reference(&args.name)?,
        source,
        search: std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
        latest: latest()?,
    };
    let made = context
        .engine
        .images()?
        .bootstrap(&request)
        .map_err(|error| Error::other(format!("bootstrap the image `{}`", args.name), &error))?;
    if args.quiet {
        print(&format!("{}\n", made.id))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !made.taken.is_empty() {
        let rows = made.taken.iter().map(
            |taken| json!({"Path": taken.path.display().to_string(), "Size": size(taken.size), "Why": why(&taken.reason)}),
        );
        let listing = Listing { columns: &[("TAKEN", "Path"), ("SIZE", "Size"), ("WHY", "Why")], rows: rows.collect() };
        print(&listing.render(&Format::Table)?)?;
    }
    let name = request.name.familiar();
    print(&format!("{name}: {} entries, {}\n{}\n", made.entries, size(made.size), made.id))?;
    Ok(ExitCode::SUCCESS)
}

/// No time in the image is later than the caller's `SOURCE_DATE_EPOCH`.
fn latest() -> Result<Option<i64>> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(None),
        Ok(word) => match word.parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => Err(Error::usage(format!("SOURCE_DATE_EPOCH is `{word}`, which is no number of seconds"))),
        },
    }
}

fn why(reason: &Reason) -> String {
    match reason {
        Reason::Asked => "asked for".into(),
        Reason::Interpreter(script) => format!("runs {}", script.display()),
        Reason::Loader(program) => format!("loads {}", program.display()),
        Reason::Library(user) => format!("linked to by {}", user.display()),
        Reason::Data(user) => format!("read by {user}"),
    }
}
