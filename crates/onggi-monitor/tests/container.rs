//! Real containers under a real monitor: this test's binary is spawned as the monitor, as `onggi` is.
//!
//! It has a `main` of its own for that, and because what clones a container must have one thread.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test of a main of its own")]
#![expect(clippy::print_stdout, reason = "it reports as the usual harness does")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use onggi_diag::Diagnose;
use onggi_fs::{Durability, Lock, LockMode, Root, remove_tree, write_atomic};
use onggi_monitor::client::{Client, ClientError, Event, Session};
use onggi_monitor::logs::{self, Stream};
use onggi_monitor::{
    ARGV0, Answer, Cleanup, Exec, Launch, LogLimits, Network, Patience, Rest, Rootfs, Slow, State, Status, Stdin,
    Streams,
};
use onggi_oci::runtime::Process;
use onggi_testkit::{Machine, Rootfs as Tree, lacks, skip};
use serde_json::json;

/// Stands for the engine's: the container's directory goes.
struct Remover;

impl Cleanup for Remover {
    fn remove(&self, launch: &Launch) -> Result<Rest, Box<dyn Diagnose>> {
        let parent = Root::open(launch.dir.parent().unwrap()).map_err(boxed)?;
        remove_tree(parent, launch.dir.file_name().unwrap()).map_err(boxed)?;
        Ok(Box::new(|| Ok(())))
    }
}

fn boxed(error: onggi_sys::Error) -> Box<dyn Diagnose> {
    Box::new(error)
}

type Test = fn(&Path);

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == ARGV0) {
        return onggi_monitor::main(std::env::args_os(), &Remover);
    }
    if let Some(why) = lacks("root") {
        skip("onggi-monitor container", &why);
        return ExitCode::SUCCESS;
    }
    let Some(tree) = Tree::busybox().unwrap() else {
        skip("onggi-monitor container", "needs a static busybox");
        return ExitCode::SUCCESS;
    };
    let tests: &[(&str, Test)] = &[
        ("output_and_code", output_and_code),
        ("exit_codes_of_programs_that_cannot_run", exit_codes_of_programs_that_cannot_run),
        ("input_and_end_of_input", input_and_end_of_input),
        ("a_terminal", a_terminal),
        ("exec", exec),
        ("stop_and_kill", stop_and_kill),
        ("auto_remove_leaves_nothing", auto_remove_leaves_nothing),
        ("a_killed_monitor_takes_its_container_along", a_killed_monitor_takes_its_container_along),
        ("the_user_and_its_home", the_user_and_its_home),
        ("memory_runs_out", memory_runs_out),
        ("an_idle_monitor_is_small", an_idle_monitor_is_small),
    ];
    let only = std::env::args().nth(1).filter(|name| !name.starts_with('-'));
    let mut failed = 0;
    for (name, test) in tests.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| name.contains(only.as_str()))) {
        let before = Machine::now(MARK);
        let outcome = catch_unwind(AssertUnwindSafe(|| test(tree.path())));
        let leaked = before.leaked_since_patiently();
        let ok = outcome.is_ok() && leaked.is_empty();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        leaked.iter().for_each(|line| println!("  left behind: {line}"));
        failed += usize::from(!ok);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// In every id, and so in every cgroup's path and monitor's arguments.
const MARK: &str = "onggi-monitor-test";

trait Patiently {
    fn leaked_since_patiently(&self) -> Vec<String>;
}

impl Patiently for Machine {
    /// A monitor says goodbye before it ends.
    fn leaked_since_patiently(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let mut leaked = Self::now(MARK).leaked_since(self);
            // These containers have no network; somebody else's may come up meanwhile.
            leaked.retain(|line| !line.starts_with("link "));
            if leaked.is_empty() || Instant::now() > deadline {
                return leaked;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A container's directories and what it is to be.
struct Case {
    _scratch: tempfile::TempDir,
    launch: Launch,
    spec: serde_json::Value,
}

impl Case {
    fn new(tree: &Path, args: &[&str]) -> Self {
        let scratch = tempfile::Builder::new().prefix(MARK).tempdir().unwrap();
        let id = scratch.path().file_name().unwrap().to_str().unwrap().replace('.', "-");
        let dir = scratch.path().join("container");
        std::fs::create_dir(&dir).unwrap();
        let launch = Launch {
            run_dir: scratch.path().join("run"),
            dir,
            rootfs: Rootfs::Directory,
            user: String::new(),
            groups: vec![],
            stdin: Stdin::Null,
            terminal_size: None,
            log: LogLimits::default(),
            network: Network::None,
            hosts: None,
            copy_up: vec![],
            stop_signal: 15,
            stop_timeout_secs: 10,
            auto_remove: false,
            id: id.clone(),
        };
        Self { _scratch: scratch, launch, spec: spec(tree, args, &id) }
    }

    fn start(&self, attach: Option<Streams>) -> Result<onggi_monitor::Started, ClientError> {
        let dir = Root::open(&self.launch.dir).unwrap();
        let spec = serde_json::to_vec(&self.spec).unwrap();
        write_atomic(&dir, "config.json", &spec, 0o600, Durability::Volatile).unwrap();
        self.launch.save().unwrap();
        let lock = Lock::try_acquire(&dir, "lock", LockMode::Exclusive).unwrap().expect("nobody has the lock");
        onggi_monitor::spawn(&self.launch, lock, attach)
    }

    fn attached(&self) -> Session {
        self.start(Some(ALL)).unwrap().session.unwrap()
    }

    fn client(&self) -> Client {
        Client::connect(&self.launch.run_dir).unwrap()
    }

    fn state(&self) -> State {
        State::load(&Root::open(&self.launch.dir).unwrap()).unwrap()
    }

    fn log(&self) -> String {
        logs::read(&self.launch.dir, logs::Options::default()).unwrap().map(|entry| entry.unwrap().log).collect()
    }

    /// Runs it to its end: output, errors, exit code.
    fn run(&self) -> (String, String, i32) {
        collect(self.attached())
    }

    fn await_unlocked(&self) {
        let dir = Root::open(&self.launch.dir).unwrap();
        drop(Lock::acquire(&dir, "lock", LockMode::Exclusive, Duration::from_secs(10)).unwrap());
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if let Ok(mut client) = Client::connect(&self.launch.run_dir) {
            drop(client.stop(Some(9), Patience::Seconds(0)));
        }
    }
}

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true, slow: Slow::Wait };

fn collect(mut session: Session) -> (String, String, i32) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match session.receive().unwrap() {
            Event::Output(Stream::Stdout, data) => out.extend(data),
            Event::Output(Stream::Stderr, data) => err.extend(data),
            Event::Answer(Answer::Exited(exit)) => {
                return (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), exit.code);
            }
            Event::Answer(_) => {}
        }
    }
}

fn spec(tree: &Path, args: &[&str], id: &str) -> serde_json::Value {
    let device =
        |name: &str, minor: u32| json!({"path": name, "type": "c", "major": 1, "minor": minor, "fileMode": 0o666});
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": tree, "readonly": true},
        "hostname": "box",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
            "noNewPrivileges": true
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}
        ],
        "linux": {
            "cgroupsPath": format!("/onggi/{id}"),
            "devices": [device("/dev/null", 3), device("/dev/zero", 5)],
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]
        }
    })
}

fn sh(tree: &Path, script: &str) -> Case {
    Case::new(tree, &["/bin/sh", "-c", script])
}

fn output_and_code(tree: &Path) {
    let case = sh(tree, "echo out; echo err >&2; echo again > /dev/stdout; exit 42");
    assert_eq!(case.run(), ("out\nagain\n".into(), "err\n".into(), 42));
    case.await_unlocked();
    let state = case.state();
    assert_eq!((state.status, state.exit_code, state.oom_killed), (Status::Exited, Some(42), false));
    assert!(state.error.is_none() && state.started_at < state.finished_at, "{state:?}");
    assert_eq!(case.log().lines().count(), 3);
    assert!(matches!(Client::connect(&case.launch.run_dir), Err(ClientError::NotRunning(_))));
    // Again, from the same directory.
    assert_eq!(case.run().2, 42);
}

fn exit_codes_of_programs_that_cannot_run(tree: &Path) {
    for (program, code) in [("/no/such/program", 127), ("/etc", 126)] {
        let case = Case::new(tree, &[program]);
        let error = case.start(Some(ALL)).unwrap_err();
        assert_eq!(error.exit_code(), code, "{error:?}");
        case.await_unlocked();
        let state = case.state();
        assert_eq!((state.status, state.exit_code), (Status::Created, Some(code.into())));
        assert!(state.error.is_some());
    }
    let mut case = sh(tree, "true");
    case.launch.user = "nobody-knows-me".into();
    let error = case.start(None).unwrap_err();
    assert_eq!(error.exit_code(), 125);
    assert!(format!("{error}").contains("user"), "{error}");
    case.await_unlocked();
    let mut case = sh(tree, "true");
    case.spec["ociVersion"] = json!("7");
    assert_eq!(case.start(None).unwrap_err().exit_code(), 125);
}

fn input_and_end_of_input(tree: &Path) {
    let mut case = sh(tree, "cat; echo over");
    case.launch.stdin = Stdin::Once;
    let session = case.attached();
    let data = "some input\n".repeat(50_000);
    let text = data.clone();
    // From a thread: what comes back has to be read meanwhile. (The container has been cloned already.)
    std::thread::scope(|scope| {
        let (feed, socket) = (text.as_bytes(), session.try_clone().unwrap());
        scope.spawn(move || {
            let mut session = socket;
            session.write(feed).unwrap();
            session.close_stdin().unwrap();
        });
        let (out, _, code) = collect(session);
        assert!(out == format!("{data}over\n") && code == 0);
    });
}

fn a_terminal(tree: &Path) {
    let mut case = sh(tree, "test -t 0 && stty size; read line; echo \"got $line\"; stty size; exit 5");
    case.spec["process"]["terminal"] = json!(true);
    case.launch.stdin = Stdin::Once;
    case.launch.terminal_size = Some((33, 101));
    let mut session = case.attached();
    let mut seen = String::new();
    let mut sent = false;
    let code = loop {
        match session.receive().unwrap() {
            Event::Output(_, data) => seen.push_str(&String::from_utf8(data).unwrap()),
            Event::Answer(Answer::Exited(exit)) => break exit.code,
            Event::Answer(_) => {}
        }
        if seen.contains("33 101") && !sent {
            session.resize(44, 202).unwrap();
            session.write(b"typed\n").unwrap();
            sent = true;
        }
    };
    assert_eq!(code, 5);
    assert_eq!(seen, "33 101\r\ntyped\r\ngot typed\r\n44 202\r\n");
    assert_eq!(case.log(), seen);
}

fn process(case: &Case, script: &str) -> Exec {
    let mut process: Process = serde_json::from_value(case.spec["process"].clone()).unwrap();
    process.set_args(Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()));
    Exec { process, user: String::new(), stdin: false, detach: false, terminal_size: None }
}

fn exec(tree: &Path) {
    let case = sh(tree, "exec sleep 60");
    case.start(None).unwrap();
    let (out, err, code) = collect(
        case.client()
            .exec(process(&case, "echo in; hostname; cat /proc/1/cmdline | tr '\\0' ' '; echo e >&2; exit 9"))
            .unwrap(),
    );
    assert_eq!((out.as_str(), err.as_str(), code), ("in\nbox\nsleep 60 ", "e\n", 9));
    let mut exec = process(&case, "cat; exit 3");
    exec.stdin = true;
    let mut session = case.client().exec(exec).unwrap();
    session.write(b"fed").unwrap();
    session.close_stdin().unwrap();
    assert_eq!(collect(session), ("fed".into(), String::new(), 3));
    let mut exec = process(&case, "stty size; exit 4");
    exec.process.set_terminal(Some(true));
    exec.terminal_size = Some((10, 20));
    assert_eq!(collect(case.client().exec(exec).unwrap()), ("10 20\r\n".into(), String::new(), 4));
    let mut missing = process(&case, "");
    missing.process.set_args(Some(vec!["/no/such".into()]));
    assert_eq!(case.client().exec(missing).unwrap_err().exit_code(), 127);
    let mut detached = process(&case, "sleep 0.2");
    detached.detach = true;
    assert!(case.client().exec(detached).unwrap().pid().is_some());
    // One that runs when the container ends hears of it.
    let session = case.client().exec(process(&case, "exec sleep 60")).unwrap();
    assert_eq!(case.client().stop(Some(9), Patience::Configured).unwrap().code, 137);
    assert_eq!(collect(session).2, 137);
}

fn stop_and_kill(tree: &Path) {
    let case = sh(tree, "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done");
    let mut session = case.attached();
    while !matches!(session.receive().unwrap(), Event::Output(..)) {}
    let mut client = case.client();
    client.pause().unwrap();
    assert_eq!(client.state().unwrap().status, Status::Paused);
    assert_eq!(case.state().status, Status::Paused);
    client.resume().unwrap();
    assert_eq!(client.stop(None, Patience::Configured).unwrap().code, 7);
    assert_eq!(collect(session).0, "bye\n");
    // Pid 1 without a handler does not see SIGTERM at all.
    let case = sh(tree, "sleep 60; true");
    case.start(None).unwrap();
    let begun = Instant::now();
    assert_eq!(case.client().stop(None, Patience::Seconds(1)).unwrap().code, 137);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

fn auto_remove_leaves_nothing(tree: &Path) {
    let mut case = sh(tree, "echo x");
    case.launch.auto_remove = true;
    assert_eq!(case.run(), ("x\n".into(), String::new(), 0));
    assert!(!case.launch.dir.exists());
    let mut case = Case::new(tree, &["/no/such"]);
    case.launch.auto_remove = true;
    assert_eq!(case.start(None).unwrap_err().exit_code(), 127);
    assert!(!case.launch.dir.exists());
}

fn a_killed_monitor_takes_its_container_along(tree: &Path) {
    let case = sh(tree, "exec sleep 60");
    case.start(None).unwrap();
    let state = case.client().state().unwrap();
    let first = PathBuf::from(format!("/proc/{}", state.pid.unwrap()));
    assert!(first.exists());
    let monitor = onggi_sys::pidfd::open(i32::try_from(state.monitor.unwrap()).unwrap()).unwrap();
    onggi_sys::process::pidfd_signal(&monitor, 9).unwrap();
    onggi_sys::pidfd::wait_exited(&monitor, Some(Duration::from_secs(5))).unwrap();
    case.await_unlocked();
    let deadline = Instant::now() + Duration::from_secs(5);
    while first.exists() {
        assert!(Instant::now() < deadline, "the container outlived its monitor");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(case.state().status.is_active(), "this is how the next command knows");
    // What the engine's recovery does.
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        drop(std::fs::remove_dir(hierarchy.unwrap().path().join("onggi").join(&case.launch.id)));
    }
    drop(std::fs::remove_dir(Path::new("/sys/fs/cgroup/onggi").join(&case.launch.id)));
}

fn the_user_and_its_home(tree: &Path) {
    let mut case = sh(tree, "id -u; id -g; echo $HOME; echo fine > /dev/stdout");
    case.launch.user = "1234:77".into();
    assert_eq!(case.run(), ("1234\n77\n/\nfine\n".into(), String::new(), 0));
}

fn memory_runs_out(tree: &Path) {
    let mut case = sh(tree, "head -c 200000000 /dev/zero | tail >/dev/null");
    case.spec["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    case.run();
    case.await_unlocked();
    assert!(case.state().oom_killed, "{:?}", case.state());
    let case = sh(tree, "kill -9 $$; exit 137");
    assert_eq!(case.run().2, 137);
    case.await_unlocked();
    assert!(!case.state().oom_killed);
}

fn an_idle_monitor_is_small(tree: &Path) {
    let case = sh(tree, "head -c 3000000 /dev/zero; exec sleep 60");
    case.start(None).unwrap();
    let mut client = case.client();
    let monitor = client.state().unwrap().monitor.unwrap();
    std::thread::sleep(Duration::from_millis(3500));
    let rollup = std::fs::read_to_string(format!("/proc/{monitor}/smaps_rollup")).unwrap();
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let private = kib("Private_Dirty:");
    println!("  an idle monitor: PSS {} KiB, dirty {private} KiB", kib("Pss:"));
    assert!(private <= 512, "{rollup}");
}
