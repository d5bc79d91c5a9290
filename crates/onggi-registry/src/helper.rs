//! Credential helpers: programs named `docker-credential-NAME` that keep secrets for us.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::credentials::Secret;
use crate::document::printable;
use crate::error::Cause;

/// A helper may ask a person for a passphrase, so it has a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a helper prints may not be longer.
const OUTPUT_LIMIT: u64 = 64 * 1024;

/// The user name by which helpers say that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `name` for the credentials of `server`; `None` if it has none.
pub(crate) fn get(name: &str, server: &str) -> Result<Option<Secret>, Cause> {
    let failed = |reason: String| Cause::Helper { helper: printable(name), registry: server.to_owned(), reason };
    if !is_plain(name) {
        return Err(failed("was not run: its name may only have a-z, 0-9 and `-`".into()));
    }
    let output = run(name, server, PATIENCE).map_err(failed)?;
    let text = String::from_utf8_lossy(&output.text);
    if !output.success {
        let said = printable(&text);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("failed: {said}")));
    }
    let answer: Answer =
        serde_json::from_slice(&output.text).map_err(|_| failed("printed something else than credentials".into()))?;
    Ok(Some(if answer.username == TOKEN_USER {
        Secret::Identity { token: answer.secret }
    } else {
        Secret::Password { user: answer.username, password: answer.secret }
    }))
}

/// The name goes into that of a program: nothing in it may make that a path or an option.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

struct Output {
    success: bool,
    text: Vec<u8>,
}

fn run(name: &str, server: &str, patience: Duration) -> Result<Output, String> {
    let program = format!("docker-credential-{name}");
    #[expect(clippy::disallowed_methods, reason = "the one place that runs credential helpers")]
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot be run ({program}): {error}"))?;
    let asked = child.stdin.take().map(|mut stdin| writeln!(stdin, "{server}"));
    // A helper that reads nothing may still answer.
    drop(asked);
    let Some(stdout) = child.stdout.take() else { return Err("has no output".into()) };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(OUTPUT_LIMIT).read_to_end(&mut text);
        // Nobody listens any more when the time was up.
        sender.send(read.map(|_| text)).unwrap_or_default();
    });
    let until = Instant::now() + patience;
    let read = receiver.recv_timeout(patience);
    let success = wait(&mut child, until)?;
    match read {
        Ok(Ok(text)) => Ok(Output { success, text }),
        Ok(Err(error)) => Err(format!("could not be read: {error}")),
        Err(_) => Err("printed nothing in time".into()),
    }
}

/// Waits for `child` until `until`; then it is killed.
fn wait(child: &mut Child, until: Instant) -> Result<bool, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Err(error) => return Err(format!("cannot be waited for: {error}")),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // It may have ended just now; either way the wait below takes it away.
                child.kill().unwrap_or_default();
                child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
                return Err("did not answer in time and was killed".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_a_path_or_a_command_is_refused_before_anything_runs() {
        for name in ["../x;rm", "", "a b", "/bin/sh", "A", "x\n", "desktop.exe", "a$(id)"] {
            let error = get(name, "r.test").unwrap_err().to_string();
            assert!(error.contains("was not run"), "{error}");
        }
        assert!(is_plain("ecr-login") && is_plain("osxkeychain"));
    }

    #[test]
    fn a_helper_that_is_not_there_is_named() {
        let error = get("onggi-no-such-helper", "r.test").unwrap_err().to_string();
        assert!(error.contains("docker-credential-onggi-no-such-helper"), "{error}");
    }
}
