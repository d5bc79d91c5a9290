//! The commands about containers.

mod exec;
mod inspect;
mod list;
mod logs;
mod request;
mod run;

use std::process::ExitCode;

use onggi_engine::{ContainerId, RemoveContainer, parse_signal};
use onggi_monitor::Patience;

pub(crate) use exec::exec;
pub(crate) use inspect::inspect;
pub(crate) use list::ps;
pub(crate) use logs::logs;
pub(crate) use run::{create, run, start};

use crate::args::{Kill, Prune, Remove, Stop, Wait};
use crate::context::{Context, print, tell};
use crate::error::{Error, Result};
use crate::output::report;

pub(crate) fn stop(context: &Context, args: &Stop) -> Result<ExitCode> {
    let signal = args.signal.as_deref().map(signal).transpose()?;
    let patience = patience(args.timeout)?;
    each(context, &args.containers, |id| Ok(context.engine.containers().stop(id, signal, patience)?))
}

/// As `--timeout` counts: a negative number is for ever.
fn patience(seconds: Option<i64>) -> Result<Patience> {
    match seconds {
        None => Ok(Patience::Configured),
        Some(seconds) if seconds < 0 => Ok(Patience::Endless),
        Some(seconds) => match u32::try_from(seconds) {
            Ok(seconds) => Ok(Patience::Seconds(seconds)),
            Err(_) => Err(Error::usage(format!("--timeout {seconds} is longer than any machine runs"))),
        },
    }
}

fn signal(word: &str) -> Result<i32> {
    Ok(parse_signal(word).map_err(onggi_engine::Error::from)?)
}

pub(crate) fn kill(context: &Context, args: &Kill) -> Result<ExitCode> {
    let signal = signal(&args.signal)?;
    each(context, &args.containers, |id| Ok(context.engine.containers().kill(id, signal)?))
}

pub(crate) fn remove(context: &Context, args: &Remove) -> Result<ExitCode> {
    let options = RemoveContainer { force: args.force, volumes: args.volumes };
    let mut failed = false;
    for name in &args.containers {
        let removed =
            context.engine.containers().find(name).and_then(|id| context.engine.containers().remove(&id, options));
        match removed {
            Ok(()) => print(&format!("{name}\n"))?,
            // Scripts clean up with `rm -f` whether there is something or not.
            Err(onggi_engine::Error::NoSuchContainer(_)) if args.force => {}
            Err(error) => {
                failed = true;
                tell(report(&error).trim_end());
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) fn wait(context: &Context, args: &Wait) -> Result<ExitCode> {
    let mut failed = false;
    for name in &args.containers {
        let ended = context.engine.containers().find(name).and_then(|id| context.engine.containers().wait(&id));
        match ended {
            Ok(exit) => print(&format!("{}\n", exit.code))?,
            Err(error) => {
                failed = true;
                tell(report(&error).trim_end());
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) fn prune(context: &Context, args: &Prune) -> Result<ExitCode> {
    if !crate::system::confirmed(args.force, "This removes all containers that do not run.")? {
        return Ok(ExitCode::SUCCESS);
    }
    let pruned = context.engine.containers().prune()?;
    if !pruned.is_empty() {
        let lines: String = pruned.iter().map(|id| format!("{id}\n")).collect();
        print(&format!("Deleted Containers:\n{lines}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does the same to several containers, printing the name of each that it was done to; goes on past failures.
fn each(context: &Context, names: &[String], mut act: impl FnMut(&ContainerId) -> Result<()>) -> Result<ExitCode> {
    let mut failed = false;
    for name in names {
        let done = context.engine.containers().find(name).map_err(Error::from).and_then(|id| act(&id));
        match done {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(error) => {
                failed = true;
                tell(report(&error).trim_end());
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
