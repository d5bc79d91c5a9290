//! From `create` to `rm`, as the kernel sees it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use onggi_testkit::{Machine, Onggi, Outcome, captured, needs, wait_until};

use crate::with_busybox;

fn pid_of(onggi: &Onggi, name: &str) -> u32 {
    onggi.run(["inspect", "-f", "{{.State.Pid}}", name]).line().parse().unwrap()
}

fn alive(pid: u32) -> bool {
    // A zombie that init has not reaped yet is not alive.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn start(onggi: &Onggi, name: &str, script: &str) {
    onggi.run(["run", "-d", "--name", name, "--network", "none", "bb", "sh", "-c", script]).ok().unwrap();
}

#[test]
fn one_life() {
    needs!("root");
    let onggi = with_busybox();
    let mark = onggi.dir().to_string_lossy().into_owned();
    let before = Machine::now(&mark);
    let id = onggi
        .run(["create", "--name", "one", "--network", "none", "bb", "sh", "-c", "echo up; sleep 1000"])
        .ok()
        .unwrap();
    assert_eq!(id.line().len(), 64);
    assert_eq!(onggi.run(["ps", "-q"]).stdout, "");
    assert_eq!(onggi.run(["ps", "-aq", "--no-trunc"]).line(), id.line());
    assert_eq!(onggi.run(["start", "one"]).ok().unwrap().stdout, "one\n");
    let pid = pid_of(&onggi, "one");
    assert!(alive(pid));
    assert_eq!(onggi.run(["start", "one"]).ok().unwrap().stdout, "one\n", "a second start changes nothing");
    assert_eq!(pid_of(&onggi, "one"), pid);
    assert_eq!(onggi.run(["ps", "--format", "{{.Names}} {{.State}} {{.Image}}"]).stdout, "one running bb\n");
    let refused = onggi.run(["rm", "one"]);
    assert!(refused.code == 1 && refused.stderr.contains("running"), "{refused:?}");
    assert_eq!(onggi.run(["stop", "-t", "0", &id.line()[..12]]).ok().unwrap().line(), &id.line()[..12]);
    assert!(!alive(pid));
    assert_eq!(
        onggi.run(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", "one"]).line(),
        "exited 137 0"
    );
    assert_eq!(onggi.run(["wait", "one"]).stdout, "137\n");
    onggi.run(["start", "one"]).ok().unwrap();
    onggi.run(["rm", "-f", "one"]).ok().unwrap();
    assert_eq!(onggi.run(["ps", "-aq"]).stdout, "");
    onggi_testkit::wait_until("nothing is left", std::time::Duration::from_secs(10), || {
        Machine::now(&mark).leaked_since(&before).is_empty()
    })
    .unwrap();
    assert_eq!(onggi.run(["inspect", "one"]).code, 1);
}

#[test]
fn stop_asks_first_and_kills_then() {
    needs!("root");
    let onggi = with_busybox();
    start(&onggi, "polite", "trap 'exit 3' TERM; while :; do sleep 0.05; done");
    start(&onggi, "deaf", "trap '' TERM; while :; do sleep 0.05; done");
    wait_until("both are up", Duration::from_secs(5), || onggi.run(["exec", "deaf", "true"]).code == 0).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    onggi.run(["stop", "polite"]).ok().unwrap();
    assert_eq!(onggi.run(["inspect", "-f", "{{.State.ExitCode}}", "polite"]).line(), "3");
    let began = Instant::now();
    onggi.run(["stop", "-t", "1", "deaf"]).ok().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(onggi.run(["inspect", "-f", "{{.State.ExitCode}}", "deaf"]).line(), "137");
}

#[test]
fn kill_sends_what_it_is_told() {
    needs!("root");
    let onggi = with_busybox();
    start(&onggi, "box", "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done");
    wait_until("it is ready", Duration::from_secs(5), || onggi.run(["logs", "box"]).stdout.contains("ready")).unwrap();
    onggi.run(["kill", "-s", "SIGUSR1", "box"]).ok().unwrap();
    wait_until("it got the signal", Duration::from_secs(5), || onggi.run(["logs", "box"]).stdout.contains("usr1"))
        .unwrap();
    onggi.run(["kill", "box"]).ok().unwrap();
    onggi.wait_for("box", "exited").unwrap();
    let refused = onggi.run(["kill", "box"]);
    assert!(refused.code == 1 && refused.stderr.contains("not running"), "{refused:?}");
    assert_eq!(onggi.run(["kill", "-s", "NOSUCH", "box"]).code, 1);
}

#[test]
fn files_stay_between_starts_and_go_with_the_container() {
    needs!("root");
    let onggi = with_busybox();
    onggi
        .run(["run", "--name", "box", "--network", "none", "bb", "sh", "-c", "echo x >> /count; wc -l < /count"])
        .ok()
        .unwrap();
    assert_eq!(onggi.run(["start", "-a", "box"]).ok().unwrap().stdout, "2\n");
    onggi.run(["rm", "box"]).ok().unwrap();
    onggi.run(["run", "--rm", "--network", "none", "bb", "test", "!", "-e", "/count"]).ok().unwrap();
}

#[test]
fn names_are_taken_once_and_come_free() {
    needs!("root");
    let onggi = with_busybox();
    onggi.run(["create", "--name", "same", "bb"]).ok().unwrap();
    let second = onggi.run(["create", "--name", "same", "bb"]);
    assert!(second.code == 125 && second.stderr.contains("already in use"), "{second:?}");
    onggi.run(["rm", "same"]).ok().unwrap();
    onggi.run(["create", "--name", "same", "bb"]).ok().unwrap();
    std::thread::scope(|scope| {
        let race: Vec<_> =
            (0..8).map(|_| scope.spawn(|| onggi.run(["create", "--name", "raced", "bb"]).code)).collect();
        let won = race.into_iter().map(|one| one.join().unwrap()).filter(|&code| code == 0).count();
        assert_eq!(won, 1);
    });
    for name in ["../x", "a/b", "-x", "a\nb", &"x".repeat(300)] {
        assert_eq!(onggi.run(["create", &format!("--name={name}"), "bb"]).code, 125, "{name:?}");
    }
}

#[test]
fn a_container_outlives_the_command_that_started_it() {
    needs!("root");
    let onggi = with_busybox();
    let mut command = onggi
        .command(["run", "--name", "box", "--network", "none", "bb", "sh", "-c", "echo up; sleep 2; echo later"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    onggi.wait_for("box", "running").unwrap();
    command.kill().unwrap();
    command.wait().unwrap();
    assert_eq!(onggi.run(["inspect", "-f", "{{.State.Running}}", "box"]).line(), "true");
    assert_eq!(onggi.run(["wait", "box"]).stdout, "0\n");
    assert_eq!(onggi.run(["logs", "box"]).stdout, "up\nlater\n");
}

#[test]
fn signals_to_the_command_reach_the_container() {
    needs!("root");
    let onggi = with_busybox();
    let script = "trap 'exit 42' TERM; while :; do sleep 0.05; done";
    let command = onggi
        .command(["run", "--rm", "--name", "box", "--network", "none", "bb", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    onggi.wait_for("box", "running").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    captured(Command::new("kill").args(["-TERM", &command.id().to_string()])).unwrap();
    assert_eq!(Outcome::from(command.wait_with_output().unwrap()).code, 42);
}

#[test]
fn limits_are_the_kernels() {
    needs!("root");
    let onggi = with_busybox();
    let options = ["-m", "48m", "--cpus", "0.25", "--pids-limit", "17"];
    let words = [&["run", "-d", "--name", "box", "--network", "none"][..], &options, &["bb", "sleep", "1000"]].concat();
    onggi.run(words).ok().unwrap();
    let pid = pid_of(&onggi, "box");
    let read = |controller: &str, v1: &str, v2: &str| -> String {
        let file =
            cgroup_dir(pid, controller).map_or_else(|| cgroup_dir(pid, "").unwrap().join(v2), |dir| dir.join(v1));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), "50331648");
    assert_eq!(read("pids", "pids.max", "pids.max"), "17");
    assert!(["25000", "25000 100000"].contains(&read("cpu", "cpu.cfs_quota_us", "cpu.max").as_str()));
}

/// Where a process is in the v1 hierarchy of `controller`, or with an empty name in the v2 one.
fn cgroup_dir(pid: u32, controller: &str) -> Option<PathBuf> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = table.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        (parts.next()?.split(',').any(|name| name == controller)).then(|| parts.next())?
    })?;
    let top = Path::new("/sys/fs/cgroup");
    let hierarchy =
        if controller.is_empty() && !top.join("memory").exists() { top.to_owned() } else { top.join(controller) };
    Some(hierarchy.join(path.trim_start_matches('/')))
}

#[test]
fn want_of_memory_is_told_from_a_kill() {
    needs!("root");
    let onggi = with_busybox();
    let hog = onggi.run([
        "run",
        "--name",
        "hog",
        "-m",
        "24m",
        "--network",
        "none",
        "bb",
        "sh",
        "-c",
        "x=0123456789abcdef; while :; do x=$x$x; done",
    ]);
    assert_eq!(hog.code, 137);
    assert_eq!(onggi.run(["inspect", "-f", "{{.State.OOMKilled}}", "hog"]).line(), "true");
    let faker = onggi.run(["run", "--name", "faker", "--network", "none", "bb", "sh", "-c", "exit 137"]);
    assert_eq!(faker.code, 137);
    assert_eq!(onggi.run(["inspect", "-f", "{{.State.OOMKilled}}", "faker"]).line(), "false");
}

#[test]
fn removal_by_itself() {
    needs!("root");
    let onggi = with_busybox();
    let mark = onggi.dir().to_string_lossy().into_owned();
    let before = Machine::now(&mark);
    onggi
        .run(["run", "-d", "--rm", "--name", "gone", "--network", "none", "-v", "/anonymous", "bb", "sleep", "0.2"])
        .ok()
        .unwrap();
    wait_until("it is gone", Duration::from_secs(10), || onggi.run(["inspect", "gone"]).code == 1).unwrap();
    wait_until("its monitor too", Duration::from_secs(10), || Machine::now(&mark).leaked_since(&before).is_empty())
        .unwrap();
    let left: Vec<_> =
        std::fs::read_dir(onggi.data().join("containers")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
    let volumes = std::fs::read_dir(onggi.data().join("volumes")).map(Iterator::count).unwrap_or(0);
    assert_eq!(volumes, 0, "an anonymous volume goes with its container");
}

#[test]
fn a_second_container_cannot_see_the_first() {
    needs!("root");
    let onggi = with_busybox();
    start(&onggi, "first", "touch /tmp/secret; exec sleep 12345");
    let seen =
        onggi.run(["run", "--rm", "--network", "none", "bb", "sh", "-c", "ps; ls /tmp; hostname; mount | wc -l"]);
    assert!(!seen.stdout.contains("12345") && !seen.stdout.contains("secret"), "{}", seen.stdout);
    // The host's mount table does not know the containers' roots.
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&*onggi.dir().to_string_lossy()), "{table}");
}
