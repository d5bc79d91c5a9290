//! `run`, `create` and `start`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use onggi_engine::{Created, StartContainer, Streams};
use onggi_monitor::{Slow, hold_signals};

use super::request::request;
use crate::args::{Attachment, Create, Run, Start, When};
use crate::context::{Context, print, tell};
use crate::error::{Error, Result};
use crate::image;
use crate::output::report;
use crate::session::{self, Foreground};

pub(crate) fn run(context: &Context, args: &Run) -> Result<ExitCode> {
    if args.detach && !args.attach.is_empty() {
        return Err(Error::usage("--attach and --detach exclude each other"));
    }
    let streams = streams(args);
    if args.create.tty && streams.stdin && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Error::usage("the input device is not a terminal: -t needs one where -i is given"));
    }
    let created = make(context, &args.create, streams)?;
    let options = StartContainer {
        attach: (!args.detach).then(|| monitor_streams(streams)),
        terminal_size: (args.create.tty && !args.detach).then(session::terminal_size).flatten(),
    };
    // Held while this lives and after; a command in the background has nobody to pass signals on to.
    let _held = (!args.detach).then(|| hold_signals(args.sig_proxy)).transpose()?;
    let started = context.engine.containers().start(&created.id, &options)?;
    match started.session {
        None => {
            print(&format!("{}\n", created.id))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(session) => session::run(
            session,
            &Foreground {
                stdin: streams.stdin,
                terminal: args.create.tty,
                forward_signals: args.sig_proxy,
                detach_keys: args.detach_keys.as_deref(),
            },
        ),
    }
}

pub(crate) fn create(context: &Context, args: &Create) -> Result<ExitCode> {
    let created = make(context, args, Streams { stdin: args.interactive, stdout: true, stderr: true })?;
    print(&format!("{}\n", created.id))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the container, with its image fetched if need be, and writes its ID where that was asked for.
fn make(context: &Context, args: &Create, attach: Streams) -> Result<Created> {
    let request = request(args, attach, context.engine.rootless())?;
    let cidfile = args.cidfile.as_ref().map(|path| {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        file.map(|file| (file, path))
            .map_err(Error::io(format!("make the file {} for the container's ID", path.display())))
    });
    let cidfile = cidfile.transpose()?;
    let made = fetch(context, args).and_then(|()| Ok(context.engine.containers().create(&request)?));
    if let (Err(_), Some((_, path))) = (&made, &cidfile) {
        // The file was made for an ID that there is not.
        drop(std::fs::remove_file(path));
    }
    let created = made?;
    for warning in &created.warnings {
        tell(&format!("warning: {warning}"));
    }
    if let Some((mut file, path)) = cidfile {
        write!(file, "{}", created.id).map_err(Error::io(format!("write the container's ID to {}", path.display())))?;
    }
    Ok(created)
}

fn fetch(context: &Context, args: &Create) -> Result<()> {
    let platform = args.platform.as_deref();
    match args.pull {
        When::Never => Ok(()),
        When::Missing if image::is_here(context, args.image(), platform)? => Ok(()),
        When::Missing => {
            if !args.quiet {
                tell(&format!("Unable to find image '{}' locally", args.image()));
            }
            image::fetch(context, args.image(), platform, args.quiet)
        }
        When::Always => image::fetch(context, args.image(), platform, args.quiet),
    }
}

/// All of the output, or what --attach names; the input with -i in any case.
fn streams(args: &Run) -> Streams {
    let named = |stream| args.attach.contains(&stream);
    match args.attach.is_empty() {
        true => Streams { stdin: args.create.interactive, stdout: true, stderr: true },
        false => Streams {
            stdin: args.create.interactive || named(Attachment::Stdin),
            stdout: named(Attachment::Stdout),
            stderr: named(Attachment::Stderr),
        },
    }
}

/// A command in the foreground is a reader that its container waits for, as for the next program of a pipe.
fn monitor_streams(streams: Streams) -> onggi_monitor::Streams {
    onggi_monitor::Streams { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, slow: Slow::Wait }
}

pub(crate) fn start(context: &Context, args: &Start) -> Result<ExitCode> {
    if args.attach || args.interactive {
        return match args.containers.as_slice() {
            [name] => attached(context, args, name),
            _ => Err(Error::usage("only one container can be attached to at a time")),
        };
    }
    let mut failed = false;
    for name in &args.containers {
        let containers = context.engine.containers();
        let started = containers.find(name).and_then(|id| containers.start(&id, &StartContainer::default()));
        match started {
            Ok(_) => print(&format!("{name}\n"))?,
            Err(error) => {
                failed = true;
                tell(report(&error).trim_end());
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn attached(context: &Context, args: &Start, name: &str) -> Result<ExitCode> {
    let containers = context.engine.containers();
    let id = containers.find(name)?;
    let terminal = containers.has_terminal(&id)?;
    let streams = Streams { stdin: args.interactive, stdout: true, stderr: true };
    let options = StartContainer {
        attach: Some(monitor_streams(streams)),
        terminal_size: terminal.then(session::terminal_size).flatten(),
    };
    let _held = hold_signals(true)?;
    let started = containers.start(&id, &options)?;
    let Some(session) = started.session else { return Ok(ExitCode::SUCCESS) };
    let foreground = Foreground {
        stdin: args.interactive,
        terminal,
        forward_signals: true,
        detach_keys: args.detach_keys.as_deref(),
    };
    session::run(session, &foreground)
}
