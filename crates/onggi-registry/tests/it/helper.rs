//! Credential helpers, as real programs on a path of the test's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use onggi_testkit::{FakeServer, Reply};

use crate::{client_with, image, run, told};

const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

/// Puts a helper called `tests` into `dir` that runs `script`.
fn helper(dir: &Path, script: &str) {
    let path = dir.join("docker-credential-tests");
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, format!("#!/bin/sh\n{script}\n").as_bytes()))
        .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Pulls in a process with `dir` on its path, since that of this one is everybody's; answers what `child` printed.
fn pull_with(dir: &Path, name: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let path = format!("{}:/usr/bin:/bin", dir.display());
    command.args(["--exact", "helper::child", "--ignored", "--nocapture"]);
    command.env("PATH", path).env("ONGGI_TEST_HELPER", name).env("ONGGI_TEST_DIR", dir);
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "runs as a child of the tests below"]
fn child() {
    let Ok(name) = std::env::var("ONGGI_TEST_HELPER") else { return };
    let dir = std::env::var("ONGGI_TEST_DIR").unwrap();
    let server = FakeServer::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(200, "{}"),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic"),
    })
    .unwrap();
    let text = format!(r#"{{"credHelpers":{{"{}":"{name}"}}}}"#, server.host());
    let outcome = run(client_with(Path::new(&dir), &text).manifest(&image(&server.host())));
    println!("outcome: {}", outcome.map_or_else(|error| told(&error), |_| "pulled".to_owned()));
}

#[test]
fn what_a_helper_says_is_used() {
    let dir = tempfile::tempdir().unwrap();
    helper(
        dir.path(),
        r#"read server; echo "$1 $server" > "$ONGGI_TEST_DIR/asked"; echo '{"ServerURL":"x","Username":"user","Secret":"secret"}'"#,
    );
    let text = pull_with(dir.path(), "tests");
    assert!(text.contains("outcome: pulled"), "{text}");
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert!(asked.starts_with("get 127.0.0.1:"), "{asked}");
}

#[test]
fn what_a_helper_does_wrong_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let check = |script: &str, name: &str, expected: &str| {
        helper(dir.path(), script);
        let text = pull_with(dir.path(), name);
        assert!(text.contains(expected), "{text}");
    };
    check("echo 'the keyring is locked'; exit 1", "tests", "`tests` for 127.0.0.1");
    check("echo 'the keyring is locked'; exit 1", "tests", "failed: the keyring is locked");
    check("echo credentials not found in native keychain; exit 1", "tests", "hint: no credentials are known");
    check("echo secret garbage", "tests", "printed something else than credentials");
    check("touch \"$ONGGI_TEST_DIR/run\"", "../tests", "was not run: its name may only have");
    assert!(!dir.path().join("run").exists());
}
