//! The command line: flags to requests, results to tables, JSON and errors with hints.
//!
//! [`main`] looks at the program's name and first argument and calls the right entry point; the words of everything
//! else are parsed into `args`, and a module per group of commands gives them meaning.

mod args;
mod container;
mod context;
mod error;
mod image;
mod output;
mod parse;
mod session;
mod system;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::{Command, ContainerCommand, ImageCommand, InspectKind, Onggi, SystemCommand};
use crate::context::{Context, tell};
use crate::error::{Error, Result};

/// What docker exits with when a command line means nothing.
const USAGE: u8 = 125;

/// What a command that cannot be executed exits with.
const CANNOT_EXECUTE: u8 = 126;

/// Names under which the binary is the low-level runtime.
const RUNTIME_NAMES: [&str; 2] = ["runc", "onggi-runtime"];

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let name = args.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    // These two start containers, and pay for nothing else that this binary can do.
    if name == onggi_monitor::ARGV0 {
        return onggi_monitor::main(args, &onggi_engine::Cleaner);
    }
    if RUNTIME_NAMES.contains(&name) {
        return onggi_runtime::cli::main(&args[1..]);
    }
    if args.get(1).is_some_and(|word| word == "runtime") {
        return onggi_runtime::cli::main(&args[2..]);
    }
    if args.len() < 2 {
        return help();
    }
    match args::parse(args) {
        Ok(parsed) => run(&parsed),
        Err(error) => usage(&error),
    }
}

/// What docker prints when it is asked for nothing.
fn help() -> ExitCode {
    // Nobody is left to be told that telling failed.
    drop(Onggi::command().print_help());
    ExitCode::SUCCESS
}

/// Help and version go to standard output and are no failure; anything else is told with the command's usage.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody is left to be told that telling failed.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    tell(error.render().to_string().trim_end());
    ExitCode::from(USAGE)
}

fn run(parsed: &Onggi) -> ExitCode {
    let outcome = dispatch(parsed);
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tell(output::report(&error).trim_end());
            ExitCode::from(failure(&parsed.command, &error))
        }
    }
}

/// What a failed command exits with: `run`, `create` and `exec` tell whose fault it was by 125, 126 and 127, as
/// docker's do.
fn failure(command: &Command, error: &Error) -> u8 {
    match command {
        Command::Run(_) | Command::Create(_) => error.exit_code(),
        Command::Container(ContainerCommand::Run(_) | ContainerCommand::Create(_)) => error.exit_code(),
        Command::Exec(_) | Command::Container(ContainerCommand::Exec(_)) => match error {
            // The container runs and the command cannot be put into it.
            Error::Engine(onggi_engine::Error::Monitor { .. }) => error.exit_code().max(CANNOT_EXECUTE),
            _ => 1,
        },
        _ => 1,
    }
}

fn dispatch(parsed: &Onggi) -> Result<ExitCode> {
    if let Command::Version = parsed.command {
        return system::version();
    }
    let context = Context::open(&parsed.global)?;
    match &parsed.command {
        Command::Run(args) => container::run(&context, args),
        Command::Create(args) => container::create(&context, args),
        Command::Start(args) => container::start(&context, args),
        Command::Stop(args) => container::stop(&context, args),
        Command::Kill(args) => container::kill(&context, args),
        Command::Rm(args) => container::remove(&context, args),
        Command::Ps(args) => container::ps(&context, args),
        Command::Logs(args) => container::logs(&context, args),
        Command::Exec(args) => container::exec(&context, args),
        Command::Wait(args) => container::wait(&context, args),
        Command::Inspect(args) => container::inspect(&context, args, None),
        Command::Pull(args) => image::pull(&context, args),
        Command::Push(args) => image::push(&context, args),
        Command::Tag(args) => image::tag(&context, args),
        Command::Images(args) => image::images(&context, args),
        Command::Rmi(args) => image::remove(&context, args),
        Command::History(args) => image::history(&context, args),
        Command::Save(args) => image::save(&context, args),
        Command::Load(args) => image::load(&context, args),
        Command::Import(args) => image::import(&context, args),
        Command::Image(command) => image_command(&context, command),
        Command::Container(command) => container_command(&context, command),
        Command::System(SystemCommand::Df(args)) => system::df(&context, args),
        Command::System(SystemCommand::Prune(args)) => system::prune(&context, args),
        Command::Info(args) => system::info(&context, args),
        Command::Version => system::version(),
    }
}

fn image_command(context: &Context, command: &ImageCommand) -> Result<ExitCode> {
    match command {
        ImageCommand::Bootstrap(args) => image::bootstrap(context, args),
        ImageCommand::Pull(args) => image::pull(context, args),
        ImageCommand::Push(args) => image::push(context, args),
        ImageCommand::Tag(args) => image::tag(context, args),
        ImageCommand::Ls(args) => image::images(context, args),
        ImageCommand::Rm(args) => image::remove(context, args),
        ImageCommand::Inspect(args) => container::inspect(context, args, Some(InspectKind::Image)),
        ImageCommand::History(args) => image::history(context, args),
        ImageCommand::Save(args) => image::save(context, args),
        ImageCommand::Load(args) => image::load(context, args),
        ImageCommand::Import(args) => image::import(context, args),
        ImageCommand::Prune(args) => image::prune(context, args),
    }
}

fn container_command(context: &Context, command: &ContainerCommand) -> Result<ExitCode> {
    match command {
        ContainerCommand::Run(args) => container::run(context, args),
        ContainerCommand::Create(args) => container::create(context, args),
        ContainerCommand::Start(args) => container::start(context, args),
        ContainerCommand::Stop(args) => container::stop(context, args),
        ContainerCommand::Kill(args) => container::kill(context, args),
        ContainerCommand::Rm(args) => container::remove(context, args),
        ContainerCommand::Ls(args) => container::ps(context, args),
        ContainerCommand::Logs(args) => container::logs(context, args),
        ContainerCommand::Exec(args) => container::exec(context, args),
        ContainerCommand::Wait(args) => container::wait(context, args),
        ContainerCommand::Inspect(args) => container::inspect(context, args, Some(InspectKind::Container)),
        ContainerCommand::Prune(args) => container::prune(context, args),
    }
}
