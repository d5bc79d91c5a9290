//! The binary: looks at its name and arguments and calls the right entry point.

fn main() -> std::process::ExitCode {
    onggi_cli::main()
}
