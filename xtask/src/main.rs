//! The project's own chores, run as `cargo xtask NAME`.
//!
//! Anything longer than a line that a developer or CI does lives here, in Rust: `tidy` checks the arrows between crates,
//! `test` runs every test that this machine can run and names the ones that it could not, `demo` is the newcomer's
//! first minute, `bench` measures beside the peers and the kernel's floor, `dist` makes the binary that ships.
#![expect(clippy::disallowed_methods, reason = "chores run programs and write scratch files; nothing here ships")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "chores talk to a terminal")]

mod bench;
mod demo;
mod dist;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask NAME [ARGS]

  demo [--registry HOST:PORT]   build onggi, make images of this machine's programs, run them, show what holds
  test [ARGS]                   every test that this machine can run; says which it left out and why
  bench [--rounds N] [--quick]  side by side with runc, crun, podman, docker and the kernel's floor, as ratios
  dist                          the static binary that ships: built, stripped, checked, measured
  tidy                          the arrows between crates against xtask/layers.toml
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match name.as_str() {
        "bench" => bench::main(&rest),
        "demo" => demo::main(&rest),
        "dist" => dist::main(),
        "test" => test::main(&rest),
        "tidy" => tidy::main(),
        "" | "help" | "-h" | "--help" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => Err(anyhow::anyhow!("no chore `{other}`; `cargo xtask help` lists them")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
