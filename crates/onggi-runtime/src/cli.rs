//! The low-level command line, as runc's: `create start run exec kill delete state list spec features`.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that `args` (without the program's name) says.
pub fn main(args: &[OsString]) -> ExitCode {
    ExitCode::from(if args.is_empty() { 2 } else { 1 })
}
