//! Entering as an ordinary user, seen from `/proc`. Needs root, to become one, and setpriv, unshare and mount; says so
//! and passes where they are not.
//!
//! Run without arguments this starts itself as the user `nobody`, in a private mount namespace where `/etc/subuid` and
//! `/etc/subgid` say what the case wants.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![expect(clippy::print_stdout, reason = "the child tells what it has found")]
#![expect(clippy::disallowed_methods, reason = "processes are what is tested here")]

use std::path::Path;
use std::process::{Command, Output};

use onggi_diag::Diagnose;
use onggi_engine::rootless::{Entered, enter};

const NOBODY: u32 = 65_534;
const CHILD: &str = "ONGGI_TEST_ROOTLESS";

fn main() {
    if std::env::var_os(CHILD).is_some() {
        return child();
    }
    // A runner that wants to know names gets none: the cases below are one test.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    for program in ["setpriv", "unshare", "mount", "newuidmap"] {
        if let Some(why) = onggi_testkit::lacks("root").or_else(|| onggi_testkit::lacks(program)) {
            return onggi_testkit::skip("entering as an ordinary user", &why);
        }
    }
    if !Path::new("/etc/subuid").exists() || !Path::new("/etc/subgid").exists() {
        return onggi_testkit::skip("entering as an ordinary user", "needs /etc/subuid and /etc/subgid");
    }
    with_subordinate_ids();
    without_subordinate_ids();
    without_new_privileges();
    without_namespaces();
}

/// Enters and tells who it is then.
fn child() {
    let pid = std::process::id();
    match enter() {
        Err(error) => println!("error: {error}\nhint: {}", error.hint().unwrap_or_default()),
        Ok(Entered::Root) => println!("root"),
        Ok(Entered::User(user)) => {
            println!("user {} {}", user.uid, user.gid);
            println!("alone: {}", user.alone.map(|alone| alone.to_string()).unwrap_or_default());
            println!("same process: {}", std::process::id() == pid);
            tell("uid_map", &[]);
            tell("gid_map", &[]);
            tell("setgroups", &[]);
            tell("status", &["Uid", "Gid", "Groups"]);
            let mounted = Command::new("mount").args(["-t", "tmpfs", "none", "/mnt"]).status().unwrap();
            println!("mounts: {}", mounted.success());
            println!("second time: {:?}", enter().unwrap());
        }
    }
}

/// The lines of a file about ourselves, those with these words in front or all.
fn tell(file: &str, keys: &[&str]) {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    for line in text.lines().filter(|line| keys.is_empty() || keys.iter().any(|key| line.starts_with(key))) {
        println!("{file}: {}", line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}

/// Runs `child` as nobody after `setup`, a line of shell that root runs in a mount namespace of its own.
fn as_nobody(setup: &str, options: &str) -> String {
    // The program may lie where only root can go.
    let (_directory, place) = copy_of_ourselves();
    let user = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --groups={NOBODY},1234 {options}");
    let script = format!("set -e; {setup}; exec {user} {}", place.display());
    let Output { status, stdout, stderr } =
        Command::new("unshare").args(["--mount", "sh", "-c", &script]).env(CHILD, "1").output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{status:?}\n{stdout}\n{stderr}");
    stdout
}

fn copy_of_ourselves() -> (tempfile::TempDir, std::path::PathBuf) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let directory = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
    let place = directory.path().join("rootless");
    std::fs::copy(std::env::current_exe().unwrap(), &place).unwrap();
    (directory, place)
}

/// Bind mounts that make both files say this; they go with the mount namespace.
fn subordinate(text: &str) -> String {
    format!(
        "f=$(mktemp); chmod 644 $f; printf '{text}' > $f; mount --bind $f /etc/subuid; mount --bind $f /etc/subgid; rm $f"
    )
}

fn expect(output: &str, lines: &[&str]) {
    for line in lines {
        assert!(output.lines().any(|one| one.starts_with(line)), "`{line}` is not in\n{output}");
    }
}

fn with_subordinate_ids() {
    let output = as_nobody(&subordinate("nobody:700000:1000\\nother:1:5\\n65534:900000:10\\n"), "");
    expect(
        &output,
        &[
            "user 65534 65534",
            "same process: true",
            "uid_map: 0 65534 1",
            "uid_map: 1 700000 1000",
            "uid_map: 1001 900000 10",
            "gid_map: 1 700000 1000",
            "setgroups: allow",
            "status: Uid: 0 0 0 0",
            "status: Gid: 0 0 0 0",
            "mounts: true",
            "second time: Root",
        ],
    );
    assert!(output.lines().any(|line| line == "alone: "), "{output}");
    // The group that is not mapped is still there, under the number for all such.
    assert!(output.lines().any(|line| line.starts_with("status: Groups:") && line.contains("65534")), "{output}");
}

fn without_subordinate_ids() {
    let output = as_nobody(&subordinate("other:700000:1000\\n"), "");
    expect(
        &output,
        &[
            "alone: only your own user id is mapped, because /etc/subuid gives no ids to user 65534: images with",
            "uid_map: 0 65534 1",
            "gid_map: 0 65534 1",
            "setgroups: deny",
            "mounts: true",
        ],
    );
    assert_eq!(output.lines().filter(|line| line.starts_with("uid_map")).count(), 1, "{output}");
}

/// The helpers are set-user-ID programs and can do nothing then.
fn without_new_privileges() {
    let output = as_nobody(&subordinate("nobody:700000:1000\\n"), "--no-new-privs");
    expect(
        &output,
        &[
            "alone: only your own user id is mapped, because /usr/bin/newuidmap refused: newuidmap",
            "setgroups: deny",
            "mounts: true",
        ],
    );
}

/// An ordinary user of a user namespace in which no further one may be made.
fn without_namespaces() {
    let (_directory, place) = copy_of_ourselves();
    let inner = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --reuid=5 --clear-groups {}",
        place.display()
    );
    let outer = "unshare --user --map-users=0,0,1000 --map-groups=0,0,1000";
    let script = format!("set -e; {}; exec {outer} sh -ec '{inner}'", subordinate("root:0:1000\\n"));
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).env(CHILD, "1").output().unwrap();
    if !output.status.success() {
        return onggi_testkit::skip("no user namespaces", &String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    expect(&text, &["error: cannot make a user namespace: user.max_user_namespaces is 0", "hint: as root: `sysctl"]);
}
