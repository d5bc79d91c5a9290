//! Lines of a Dockerfile that only touch an image's configuration (`import --change`).

use onggi_oci::image::{Config, Healthcheck};
use serde_json::{Value, json};

use super::ArchiveError;

/// Applies one line to `config`.
pub(super) fn apply(config: &mut Config, line: &str) -> Result<(), ArchiveError> {
    let (instruction, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    instruct(config, &instruction.to_ascii_uppercase(), rest.trim())
        .map_err(|problem| ArchiveError::Change { change: line.to_owned(), problem })
}

fn instruct(config: &mut Config, instruction: &str, rest: &str) -> Result<(), String> {
    if rest.is_empty() {
        return Err("it has no argument".into());
    }
    match instruction {
        "CMD" => config.cmd = Some(command(config, rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, rest)),
        "ENV" => env(config, rest)?,
        "EXPOSE" => expose(config, rest)?,
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "LABEL" => config.labels.extend(pairs(rest)?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "SHELL" => config.shell = Some(shell(rest)?),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "USER" => config.user = rest.to_owned(),
        "VOLUME" => volume(config, rest)?,
        "WORKDIR" => config.working_dir = working_dir(&config.working_dir, rest),
        _ => return Err("there is no such change".into()),
    }
    Ok(())
}

fn shell(rest: &str) -> Result<Vec<String>, String> {
    json_list(rest).filter(|words| !words.is_empty()).ok_or_else(|| "it takes a list of words in JSON".into())
}

/// A list in JSON as it stands, anything else as a line for the shell.
fn command(config: &Config, rest: &str) -> Vec<String> {
    json_list(rest).unwrap_or_else(|| {
        let usual = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        let mut words = config.shell.clone().unwrap_or_else(usual);
        words.push(rest.to_owned());
        words
    })
}

fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn env(config: &mut Config, rest: &str) -> Result<(), String> {
    for (name, value) in pairs(rest)? {
        config.env.retain(|old| old.split('=').next() != Some(name.as_str()));
        config.env.push(format!("{name}={value}"));
    }
    Ok(())
}

fn expose(config: &mut Config, rest: &str) -> Result<(), String> {
    for word in words(rest)? {
        let (ports, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |text: &str| text.parse::<u16>().map_err(|_| format!("`{word}` is not a port"));
        if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
            return Err(format!("`{protocol}` is not a protocol"));
        }
        for port in number(first)?..=number(last)? {
            config.exposed_ports.insert(format!("{port}/{protocol}"), json!({}));
        }
    }
    Ok(())
}

fn volume(config: &mut Config, rest: &str) -> Result<(), String> {
    let paths = json_list(rest).map_or_else(|| words(rest), Ok)?;
    if paths.iter().any(String::is_empty) {
        return Err("a volume needs a path".into());
    }
    config.volumes.extend(paths.into_iter().map(|path| (path, Value::Object(serde_json::Map::new()))));
    Ok(())
}

fn working_dir(before: &str, given: &str) -> String {
    if given.starts_with('/') {
        return given.to_owned();
    }
    format!("{}/{given}", before.trim_end_matches('/'))
}

fn healthcheck(rest: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').ok_or_else(|| format!("`--{option}` has no value"))?;
        match name {
            "interval" => check.interval = Some(nanoseconds(value)?),
            "timeout" => check.timeout = Some(nanoseconds(value)?),
            "start-period" => check.start_period = Some(nanoseconds(value)?),
            "start-interval" => check.start_interval = Some(nanoseconds(value)?),
            "retries" => {
                check.retries = Some(value.parse().map_err(|_| format!("`{value}` is not a number of retries"))?);
            }
            _ => return Err(format!("there is no option `--{name}`")),
        }
        rest = after.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match (kind.to_ascii_uppercase().as_str(), line.trim()) {
        ("NONE", "") => check.test = vec!["NONE".into()],
        ("CMD", line) if !line.is_empty() => {
            check.test = match json_list(line) {
                Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
                None => vec!["CMD-SHELL".into(), line.into()],
            };
        }
        _ => return Err("it takes NONE, or CMD and a command".into()),
    }
    Ok(check)
}

/// A duration as Go writes it: `1m30s`, `500ms`.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a duration");
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: i64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |next| end + next);
        let unit = match &rest[end..unit_end] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    if total > 0 { Ok(total) } else { Err(wrong()) }
}

/// `name=value ...`, or the older `name the rest of the line`.
fn pairs(rest: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(rest)?;
    if let Some(first) = words.first().filter(|word| !word.contains('=')) {
        let (_, value) = rest.split_once(char::is_whitespace).ok_or_else(|| format!("`{first}` has no value"))?;
        return Ok(vec![(first.clone(), value.trim().to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{word}` is not `name=value`")),
    };
    words.iter().map(pair).collect()
}

/// Words as a shell splits them: quotes group, a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> Config {
        let mut config = Config::default();
        for line in lines {
            apply(&mut config, line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        config
    }

    #[test]
    fn each_change_does_what_it_does_in_a_dockerfile() {
        let config = applied(&[
            "CMD echo hi",
            r#"ENTRYPOINT ["/init", "-x"]"#,
            r#"ENV A=1 B="two words" A=3"#,
            "env C the rest  of it",
            "EXPOSE 80 53/UDP 8000-8002",
            "LABEL a=b 'c d'=e",
            "ONBUILD RUN true",
            "STOPSIGNAL SIGINT",
            "USER app:app",
            "VOLUME /a /b",
            r#"VOLUME ["/c d"]"#,
            "WORKDIR /srv",
            "WORKDIR x",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f localhost",
        ]);
        assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(config.entrypoint.unwrap(), ["/init", "-x"]);
        assert_eq!(config.env, ["B=two words", "A=3", "C=the rest  of it"]);
        let ports: Vec<&str> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
        assert_eq!((config.labels["a"].as_str(), config.labels["c d"].as_str()), ("b", "e"));
        assert_eq!(config.on_build, ["RUN true"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("app:app", "/srv/x"));
        assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
        let check = config.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f localhost"]);
        assert_eq!((check.interval, check.retries), (Some(90_000_000_000), Some(2)));
    }

    #[test]
    fn what_is_no_change_is_refused() {
        for line in [
            "RUN true",
            "FROM x",
            "",
            "CMD",
            "EXPOSE http",
            "EXPOSE 99999",
            "ENV A",
            "ENV =x",
            "LABEL 'a=b",
            "SHELL bash",
            "HEALTHCHECK --interval=soon CMD x",
            "HEALTHCHECK --odd=1 CMD x",
            "HEALTHCHECK RUN x",
        ] {
            assert!(apply(&mut Config::default(), line).is_err(), "{line}");
        }
    }
}
