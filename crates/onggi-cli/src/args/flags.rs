//! How flags are written, wherever they stand: as docker's are.

use std::ffi::OsString;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, CommandFactory as _, FromArgMatches as _, Parser as _};

use super::Onggi;

/// Reads a command line.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Onggi, clap::Error> {
    let parsed = as_docker(Onggi::command()).try_get_matches_from(words.clone());
    match parsed.and_then(|matches| Onggi::from_arg_matches(&matches)) {
        // The help shows what is usual; that `--rm=true` is taken too would only be noise in it.
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Onggi::try_parse_from(words)
        }
        other => other,
    }
}

/// The last of a repeated flag holds; a flag may be told `=true` or `=false`; what follows an option that needs a
/// value is its value, be its first letter a dash.
fn as_docker(command: Command) -> Command {
    command.args_override_self(true).mut_args(as_docker_arg).mut_subcommands(as_docker)
}

fn as_docker_arg(arg: Arg) -> Arg {
    let takes_one = arg.get_num_args().is_none_or(|count| count.min_values() > 0);
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .value_parser(BoolishValueParser::new())
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false"),
        ArgAction::Set | ArgAction::Append if !arg.is_positional() && takes_one => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command as Parsed, Run};

    fn run(words: &str) -> Run {
        let words = ["onggi", "run"].into_iter().chain(words.split(' ')).map(OsString::from).collect();
        match parse(words).unwrap().command {
            Parsed::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn flags_in_every_form() {
        let flags = |words: &str| {
            let run = run(words);
            (run.detach, run.create.interactive, run.create.tty, run.create.rm)
        };
        assert_eq!(flags("bb"), (false, false, false, false));
        assert_eq!(flags("-itd --rm bb"), (true, true, true, true));
        assert_eq!(flags("-it=false -d=1 --rm=true bb"), (true, true, false, true));
        assert_eq!(flags("--rm --rm=false bb"), (false, false, false, false));
        assert_eq!(flags("--rm --rm bb"), (false, false, false, true));
    }

    #[test]
    fn values_in_every_form() {
        let run = run("-eA=1 -e -x --env=B -u a -u -1 --memory=-1 bb");
        assert_eq!(run.create.env, ["A=1", "-x", "B"]);
        assert_eq!(run.create.user.as_deref(), Some("-1"));
        assert_eq!(run.create.memory.as_deref(), Some("-1"));
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        for (words, command) in [
            ("bb", &[][..]),
            ("bb -- a", &["--", "a"]),
            ("-- bb --rm -x", &["--rm", "-x"]),
            ("--rm bb sh -c -- --help", &["sh", "-c", "--", "--help"]),
        ] {
            let run = run(words);
            assert_eq!((run.create.image(), run.create.command()), ("bb", strings(command).as_slice()), "{words}");
        }
    }

    #[test]
    fn nonsense() {
        for words in
            [&["run"][..], &["run", "--rm"], &["run", "--nosuch", "bb"], &["exec", "box"], &["run", "--rm=x", "bb"]]
        {
            let words = std::iter::once(&"onggi").chain(words).map(OsString::from).collect();
            assert!(parse(words).is_err());
        }
    }
}
