//! From words to a request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use onggi_engine::{CreateContainer, LogLimits, NetworkMode, Resources, Security, Streams, Volume};

use crate::args::Create;
use crate::error::{Error, Result};
use crate::parse;

/// The request that `args` describe, for a caller whose container is attached to `attach`.
pub(super) fn request(args: &Create, attach: Streams, rootless: bool) -> Result<CreateContainer> {
    Ok(CreateContainer {
        image: args.image().to_owned(),
        name: args
            .name
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(str::parse)
            .transpose()
            .map_err(onggi_engine::Error::from)?,
        command: args.command().to_vec(),
        entrypoint: args.entrypoint.as_ref().map(|program| match program.is_empty() {
            true => Vec::new(),
            false => vec![program.clone()],
        }),
        env: environment(&args.env_file, &args.env)?,
        user: args.user.clone(),
        working_dir: args.workdir.clone(),
        hostname: args.hostname.clone(),
        labels: args.label.iter().map(|label| parse::key_value(label)).collect::<BTreeMap<_, _>>(),
        terminal: args.tty,
        open_stdin: args.interactive,
        attach,
        stop_signal: args.stop_signal.clone(),
        stop_timeout_secs: args.stop_timeout.map(stop_timeout).transpose()?,
        volumes: args.volume.iter().map(|word| volume(word)).collect::<Result<_>>()?,
        network: network(args.network.as_deref(), rootless)?,
        resources: resources(args)?,
        security: Security {
            cap_add: args.cap_add.clone(),
            cap_drop: args.cap_drop.clone(),
            privileged: args.privileged,
            read_only: args.read_only,
        },
        auto_remove: args.rm,
        log: LogLimits::default(),
    })
}

fn stop_timeout(seconds: i64) -> Result<u32> {
    u32::try_from(seconds).map_err(|_| Error::usage(format!("--stop-timeout {seconds} is not a number of seconds")))
}

/// An ordinary user has no bridge: loopback alone is what a container gets that did not ask for more.
fn network(word: Option<&str>, rootless: bool) -> Result<NetworkMode> {
    match word {
        None if rootless => Ok(NetworkMode::None),
        word => Ok(word.unwrap_or_default().parse().map_err(onggi_engine::Error::from)?),
    }
}

/// `./x` and `../x` mean the caller's directory, as docker's client reads them.
fn volume(word: &str) -> Result<Volume> {
    let absolute = match word.split_once(':') {
        Some((source, rest))
            if source.starts_with("./") || source.starts_with("../") || source == "." || source == ".." =>
        {
            let source = std::path::absolute(source).map_err(Error::io(format!("find {source}")))?;
            format!("{}:{rest}", source.display())
        }
        _ => word.to_owned(),
    };
    Ok(absolute.parse().map_err(onggi_engine::Error::from)?)
}

fn resources(args: &Create) -> Result<Resources> {
    let swap = |word: &String| match word.as_str() {
        "-1" => Ok(-1),
        word => {
            let bytes = parse::bytes("--memory-swap", word)?;
            i64::try_from(bytes).map_err(|_| Error::usage("--memory-swap is too large"))
        }
    };
    // Docker reads 0 as no limit, everywhere but in --pids-limit, where it means the same.
    Ok(Resources {
        memory: args
            .memory
            .as_deref()
            .map(|word| parse::bytes("--memory", word))
            .transpose()?
            .filter(|&bytes| bytes > 0),
        memory_swap: args.memory_swap.as_ref().map(swap).transpose()?.filter(|&bytes| bytes != 0),
        nano_cpus: args.cpus.as_deref().map(parse::nano_cpus).transpose()?.filter(|&nano| nano > 0),
        pids: args.pids_limit.filter(|&limit| limit > 0),
    })
}

/// The variables of the files, then those of the command line, each resolved against the caller's environment.
pub(super) fn environment(files: &[PathBuf], words: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for file in files {
        all.extend(variables_in(file)?);
    }
    all.extend(words.iter().cloned());
    if words.iter().any(String::is_empty) {
        return Err(Error::usage("an environment variable needs a name"));
    }
    Ok(all.into_iter().map(resolved).collect())
}

/// `NAME` alone takes the caller's value; where the caller has none it stays alone, and takes the image's away.
fn resolved(word: String) -> String {
    match word.contains('=') {
        true => word,
        false => std::env::var(&word).map_or_else(|_| word.clone(), |value| format!("{word}={value}")),
    }
}

/// Lines of `NAME=VALUE` or `NAME`; empty ones and those that begin with `#` mean nothing.
fn variables_in(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start().strip_prefix('\u{feff}').unwrap_or(line.trim_start());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            let place = format!("{}, line {}", path.display(), number + 1);
            return Err(Error::usage(format!("{place}: `{line}` names no variable")));
        }
        found.push(line.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables() {
        let dir = std::env::temp_dir().join(format!("onggi-env-{}", std::process::id()));
        let write = |text: &str| {
            std::fs::File::create(&dir).and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        };
        write("# c\n\nA=1\n B=two words \nC=a=b\n").unwrap();
        assert_eq!(variables_in(&dir).unwrap(), ["A=1", "B=two words ", "C=a=b"]);
        write("A B=1\n").unwrap();
        assert!(variables_in(&dir).unwrap_err().to_string().contains("line 1"));
        std::fs::remove_file(&dir).unwrap();
    }

    #[test]
    fn a_name_without_a_value_is_taken_from_the_caller_or_stays_alone() {
        assert_eq!(resolved("ONGGI_SURELY_UNSET".into()), "ONGGI_SURELY_UNSET");
        assert_eq!(resolved("PATH".into()), format!("PATH={}", std::env::var("PATH").unwrap()));
        assert_eq!(resolved("A=".into()), "A=");
        assert!(environment(&[], &[String::new()]).is_err());
    }
}
