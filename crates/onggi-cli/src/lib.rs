//! The command line: flags to requests, results to tables, JSON and errors with hints.

/// Runs the command that the process was started with.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
