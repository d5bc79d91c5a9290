//! The low-level command line alone, for the tests and for measuring.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    onggi_runtime::cli::main(&args)
}
