//! `exec`.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use super::request::environment;
use crate::args::Exec;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::session::{self, Foreground};

pub(crate) fn exec(context: &Context, args: &Exec) -> Result<ExitCode> {
    if args.tty && args.interactive && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Error::usage("the input device is not a terminal: -t needs one where -i is given"));
    }
    let containers = context.engine.containers();
    let id = containers.find(args.container())?;
    let request = onggi_engine::Exec {
        command: args.command().to_vec(),
        env: environment(&args.env_file, &args.env)?,
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        terminal: args.tty,
        terminal_size: args.tty.then(session::terminal_size).flatten(),
        stdin: args.interactive && !args.detach,
        detach: args.detach,
        privileged: args.privileged,
    };
    let session = containers.exec(&id, &request)?;
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    session::run(
        session,
        &Foreground {
            stdin: args.interactive,
            terminal: args.tty,
            // docker exec leaves signals to the terminal too.
            forward_signals: false,
            detach_keys: args.detach_keys.as_deref(),
        },
    )
}
