//! The low-level command line, as runc's: `create start run exec kill delete state list spec features`.
//!
//! Parsed by hand: a container engine calls these three times for every container, and waits each time.

mod args;
mod create;
mod exec;
mod global;
mod inspect;
mod lifecycle;
mod log;
mod relay;
mod spec;
mod user;

use std::ffi::OsString;
use std::process::ExitCode;

use onggi_diag::{Diagnose, chain};

use crate::Error;
use global::Global;

/// What a command ends with.
pub(crate) type Outcome = Result<ExitCode, Error>;

const USAGE: &str = "\
usage: onggi runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND [OPTIONS] [ID]

commands:
  create    make a container from a bundle, up to the start of its program
  start     start the program of a created container
  run       make and start a container
  exec      run another program in a running container
  kill      send a signal to a container
  delete    take a container away
  state     print the state of a container as JSON
  list      list the containers
  pause     stop all processes of a container where they are
  resume    let them go on
  ps        list the processes of a container
  spec      write a config.json to begin from
  features  print what this runtime can do as JSON
";

/// Runs the command that `args` (without the program's name) says.
pub fn main(args: &[OsString]) -> ExitCode {
    let (global, rest) = match Global::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => return usage_error(&error),
    };
    match dispatch(&global, &rest) {
        Ok(code) => code,
        Err(error) => {
            log::error(&global, &error);
            ExitCode::from(error.exit_code().unwrap_or(1))
        }
    }
}

fn dispatch(global: &Global, args: &[String]) -> Outcome {
    let (command, args) = match args.split_first() {
        Some((command, args)) => (command.as_str(), args),
        None => return print(USAGE),
    };
    match command {
        "create" => create::create(global, args),
        "run" => create::run(global, args),
        "exec" => exec::exec(global, args),
        "start" => lifecycle::start(global, args),
        "kill" => lifecycle::kill(global, args),
        "delete" => lifecycle::delete(global, args),
        "pause" => lifecycle::pause(global, args),
        "resume" => lifecycle::resume(global, args),
        "ps" => inspect::ps(global, args),
        "state" => inspect::state(global, args),
        "list" => inspect::list(global, args),
        "features" => inspect::features(args),
        "spec" => spec::spec(args),
        "help" | "--help" | "-h" => print(USAGE),
        "--version" | "-v" => {
            print(&format!("onggi version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), onggi_oci::runtime::SPEC_VERSION))
        }
        other => Err(Error::invalid("command", format!("`{}` is not one; see `help`", other.escape_debug()))),
    }
}

fn usage_error(error: &Error) -> ExitCode {
    eprint_line(&chain(error).join(": "));
    if let Some(hint) = error.hint() {
        eprint_line(&format!("hint: {hint}"));
    }
    ExitCode::from(1)
}

/// Writes to standard output; a reader that has gone away is no error of ours.
pub(crate) fn print(text: &str) -> Outcome {
    use std::io::Write;
    drop(std::io::stdout().write_all(text.as_bytes()));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn eprint_line(text: &str) {
    use std::io::Write;
    drop(std::io::stderr().write_all(format!("{text}\n").as_bytes()));
}
