//! `kill -9` at any moment: the next command works and nothing leaks.

use std::process::Stdio;
use std::time::{Duration, Instant};

use onggi_testkit::{Machine, Onggi, Registry, needs, wait_until};

use crate::{BINARY, with_busybox};

/// How often each command is killed.
const ROUNDS: u32 = 50;

/// Moments spread over the length of a command, the same in every run: fractions of the golden ratio.
fn moment(round: u32, length: Duration) -> Duration {
    length.mul_f64((f64::from(round) * 0.618_033_988_75).fract())
}

/// Starts the command and kills it `after` that time; the whole of it, monitor or not, is then somebody else's to mend.
fn killed(onggi: &Onggi, words: &[&str], after: Duration) {
    let mut child =
        onggi.command(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    // It may have ended in time.
    drop(child.kill());
    child.wait().unwrap();
}

fn timed(onggi: &Onggi, words: &[&str]) -> Duration {
    let began = Instant::now();
    onggi.run(words).ok().unwrap();
    began.elapsed()
}

/// Everything is as before once the containers are removed.
fn nothing_is_left(onggi: &Onggi, before: &Machine) {
    let mark = onggi.dir().to_string_lossy().into_owned();
    for id in onggi.run(["ps", "-aq", "--no-trunc"]).ok().unwrap().stdout.lines() {
        onggi.run(["rm", "-f", id]).ok().unwrap();
    }
    onggi.run(["system", "prune", "-f"]).ok().unwrap();
    wait_until("nothing is left", Duration::from_secs(10), || Machine::now(&mark).leaked_since(before).is_empty())
        .unwrap_or_else(|error| panic!("{error}: {:?}", Machine::now(&mark).leaked_since(before)));
    let entries = |path: &str| -> Vec<String> {
        let dir = std::fs::read_dir(onggi.dir().join(path)).into_iter().flatten().flatten();
        dir.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(entries("data/containers").iter().all(|name| name.starts_with('.')), "{:?}", entries("data/containers"));
    assert!(
        entries("data/containers/.names").iter().all(|name| name == ".lock"),
        "{:?}",
        entries("data/containers/.names")
    );
    assert_eq!(entries("run/containers"), [] as [&str; 0]);
}

#[test]
fn run_and_rm() {
    needs!("root");
    let onggi = with_busybox();
    let before = Machine::now(&onggi.dir().to_string_lossy());
    let run = ["run", "--rm", "--name", "box", "--network", "none", "bb", "sleep", "0.01"];
    let length = timed(&onggi, &run);
    for round in 0..ROUNDS {
        killed(&onggi, &run, moment(round, length));
        onggi.run(["rm", "-f", "box"]).ok().unwrap();
        onggi.run(["run", "--rm", "--name", "box", "--network", "none", "bb", "true"]).ok().unwrap();
    }
    for round in 0..ROUNDS {
        onggi.run(["run", "-d", "--name", "box", "--network", "none", "bb", "sleep", "1000"]).ok().unwrap();
        killed(&onggi, &["rm", "-f", "box"], moment(round, length));
        onggi.run(["rm", "-f", "box"]).ok().unwrap();
    }
    nothing_is_left(&onggi, &before);
}

#[test]
fn stop_and_the_monitor_itself() {
    needs!("root");
    let onggi = with_busybox();
    let before = Machine::now(&onggi.dir().to_string_lossy());
    let start = [
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "bb",
        "sh",
        "-c",
        "trap 'exit 5' TERM; while :; do sleep 0.01; done",
    ];
    for round in 0..ROUNDS {
        onggi.run(start).ok().unwrap();
        killed(&onggi, &["stop", "-t", "1", "box"], moment(round, Duration::from_millis(60)));
        onggi.run(["stop", "-t", "0", "box"]).ok().unwrap();
        let code = onggi.run(["inspect", "-f", "{{.State.ExitCode}}", "box"]).line().to_owned();
        assert!(["5", "137"].contains(&code.as_str()), "{code}");
        onggi.run(["rm", "box"]).ok().unwrap();
    }
    for round in 0..ROUNDS {
        let mut starting = onggi.command(start).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(moment(round, Duration::from_millis(120)));
        kill_monitors(&onggi);
        starting.wait().unwrap();
        kill_monitors(&onggi);
        // A killed process is gone, and its lock free, when the kernel has come to it.
        wait_until("nobody says that it runs", Duration::from_secs(5), || {
            let state = onggi.run(["inspect", "-f", "{{.State.Status}}", "box"]);
            state.code == 1 || ["created", "exited"].contains(&state.line())
        })
        .unwrap();
        assert_eq!(onggi.run(["ps", "-q"]).stdout, "");
        onggi.run(["rm", "-f", "box"]).ok().unwrap();
    }
    nothing_is_left(&onggi, &before);
}

/// Every monitor of this scratch onggi, found by the run directory that it was started with.
fn kill_monitors(onggi: &Onggi) {
    let mark = onggi.dir().to_string_lossy().into_owned();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.starts_with("onggi-monitor") && line.contains(&mark) {
            drop(onggi_testkit::captured(std::process::Command::new("kill").args(["-9", &name])));
        }
    }
}

#[test]
fn pull() {
    needs!("root", "docker-registry", "skopeo");
    let Some(registry) = Registry::start().unwrap() else { return };
    let source = with_busybox();
    let name = format!("{}/bb:v1", registry.host());
    source.run(["tag", "bb", &name]).ok().unwrap();
    source.run(["push", &name]).ok().unwrap();
    let onggi = Onggi::new(BINARY).unwrap();
    let before = Machine::now(&onggi.dir().to_string_lossy());
    let length = timed(&onggi, &["pull", &name]);
    for round in 0..ROUNDS {
        onggi.run(["rmi", "-f", &name]).ok().unwrap();
        killed(&onggi, &["pull", &name], moment(round, length));
        if round % 5 == 0 {
            onggi.run(["system", "prune", "-f"]).ok().unwrap();
        }
        onggi.run(["run", "--rm", "--network", "none", &name, "true"]).ok().unwrap();
    }
    onggi.run(["rmi", "-f", &name]).ok().unwrap();
    nothing_is_left(&onggi, &before);
    let blobs = std::fs::read_dir(onggi.data().join("images/blobs/sha256")).map(Iterator::count).unwrap_or(0);
    assert_eq!(blobs, 0, "blobs without an owner");
}
