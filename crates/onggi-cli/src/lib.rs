//! The command line: flags to requests, results to tables, JSON and errors with hints.
//!
//! [`main`] looks at the program's name and first argument and calls the right entry point; the words of everything
//! else are parsed into `args`, and a module per group of commands gives them meaning.

mod args;
mod output;
mod parse;

/// Runs the command that the process was started with.
pub fn main() -> std::process::ExitCode {
    let _ = <args::Onggi as clap::Parser>::parse();
    std::process::ExitCode::SUCCESS
}
