//! Groups on the kernel under us. Needs root and a writable cgroup mount; says so and passes where they are not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![expect(clippy::disallowed_methods, reason = "processes and the kernel's files are what is tested here")]

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use onggi_cgroup::{Cgroup, CgroupPath, Controller, Error};
use onggi_diag::{Diagnose, Kind};
use onggi_oci::runtime::{
    LinuxCpuBuilder, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder,
};

/// A group that is gone when the test is over, however it ends.
struct Group {
    path: CgroupPath,
}

impl Group {
    fn path(name: &str) -> Option<Self> {
        let path = CgroupPath::parse(&format!("/onggi-test-{}-{name}", std::process::id())).unwrap();
        match Cgroup::create(&path, None) {
            Ok(group) if group.exists() => group.remove().unwrap(),
            _ => {
                onggi_testkit::skip(name, "needs the right to make cgroups");
                return None;
            }
        }
        Some(Self { path })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = Cgroup::open(&self.path).unwrap();
        drop(group.kill_all(Duration::from_secs(10)));
        group.remove().unwrap();
    }
}

/// A process that is killed and reaped when the test is over.
struct Process(Child);

impl Process {
    fn start(command: &[&str]) -> Self {
        Self(Command::new(command[0]).args(&command[1..]).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn within(seconds: u64, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn some_limits() -> LinuxResources {
    LinuxResourcesBuilder::default()
        .memory(LinuxMemoryBuilder::default().limit(64 << 20).build().unwrap())
        .pids(LinuxPidsBuilder::default().limit(5).build().unwrap())
        .cpu(LinuxCpuBuilder::default().shares(512u64).quota(50_000).period(100_000u64).cpus("0").build().unwrap())
        .build()
        .unwrap()
}

fn file(group: &Cgroup, controller: Controller, v1: &str, v2: &str) -> String {
    let dir = group.dir_of(controller).unwrap();
    let name = if dir.join("cgroup.controllers").exists() { v2 } else { v1 };
    fs::read_to_string(dir.join(name)).unwrap().trim().to_owned()
}

#[test]
fn limits_are_in_the_kernel_and_the_group_goes_away_whole() {
    let Some(guard) = Group::path("limits") else { return };
    let group = Cgroup::create(&guard.path, Some(&some_limits())).unwrap();
    assert_eq!(file(&group, Controller::Memory, "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(file(&group, Controller::Pids, "pids.max", "pids.max"), "5");
    assert_eq!(file(&group, Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_ne!(file(&group, Controller::Cpuset, "cpuset.mems", "cpuset.mems.effective"), "");
    let places: Vec<PathBuf> = group.paths().into_values().collect();
    let process = Process::start(&["sleep", "1000"]);
    group.add(process.pid()).unwrap();
    assert_eq!(group.procs().unwrap(), [process.pid()]);
    for place in &places {
        let procs = fs::read_to_string(place.join("cgroup.procs")).unwrap();
        assert_eq!(procs.trim(), process.pid().to_string(), "{}", place.display());
    }
    let stats = group.stats().unwrap();
    assert_eq!(stats.pids.unwrap().current, 1);
    assert_eq!(stats.memory.unwrap().limit, Some(64 << 20));
    group.kill_all(Duration::from_secs(10)).unwrap();
    drop(process);
    group.remove().unwrap();
    assert!(places.iter().all(|place| !place.exists()));
}

#[test]
fn an_occupied_group_is_refused_and_left_alone() {
    let Some(guard) = Group::path("occupied") else { return };
    let first = Cgroup::create(&guard.path, Some(&some_limits())).unwrap();
    let process = Process::start(&["sleep", "1000"]);
    first.add(process.pid()).unwrap();
    let error = Cgroup::create(&guard.path, None).unwrap_err();
    assert!(matches!(error, Error::Occupied { processes: 1, .. }), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
    assert_eq!(first.procs().unwrap(), [process.pid()]);
}

#[test]
fn a_limit_that_fails_takes_the_whole_group_back() {
    let Some(guard) = Group::path("failing") else { return };
    let cpu = LinuxCpuBuilder::default().cpus("9999").build().unwrap();
    let resources = LinuxResourcesBuilder::default().cpu(cpu).build().unwrap();
    let error = Cgroup::create(&guard.path, Some(&resources)).unwrap_err();
    assert!(error.to_string().starts_with("cannot write \"9999\" to "), "{error}");
    assert!(error.to_string().ends_with("cpuset.cpus"), "{error}");
    assert!(!Cgroup::open(&guard.path).unwrap().exists());
}

#[test]
fn a_frozen_group_stands_still_and_thaws_on_every_way_out() {
    let Some(guard) = Group::path("freeze") else { return };
    let group = Cgroup::create(&guard.path, None).unwrap();
    let process = Process::start(&["sh", "-c", "while :; do :; done"]);
    group.add(process.pid()).unwrap();
    let frozen = group.freeze().unwrap();
    assert!(group.is_frozen().unwrap());
    let ticks = || fs::read_to_string(format!("/proc/{}/schedstat", process.pid())).unwrap();
    let before = ticks();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ticks(), before);
    drop(frozen);
    assert!(!group.is_frozen().unwrap());
    assert!(within(5, || ticks() != before));
    group.freeze().unwrap().keep();
    assert!(group.is_frozen().unwrap());
    group.thaw().unwrap();
    assert!(!group.is_frozen().unwrap());
}

#[test]
fn a_frozen_leftover_does_not_stop_the_next_one() {
    let Some(guard) = Group::path("leftover") else { return };
    let group = Cgroup::create(&guard.path, None).unwrap();
    group.freeze().unwrap().keep();
    let group = Cgroup::create(&guard.path, None).unwrap();
    assert!(!group.is_frozen().unwrap());
}

#[test]
fn a_group_that_keeps_forking_is_killed_to_the_last() {
    let Some(guard) = Group::path("bomb") else { return };
    let pids = LinuxPidsBuilder::default().limit(60).build().unwrap();
    let resources = LinuxResourcesBuilder::default().pids(pids).build().unwrap();
    let group = Cgroup::create(&guard.path, Some(&resources)).unwrap();
    let script = "read go; trap '' TERM; f() { while :; do sh -c 'trap \"\" TERM; sleep 0.02 & sleep 0.01' 2>/dev/null & done; }; f";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    group.add(i32::try_from(child.id()).unwrap()).unwrap();
    drop(std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n"));
    let process = Process(child);
    assert!(within(10, || group.procs().unwrap().len() > 30));
    group.kill_all(Duration::from_secs(20)).unwrap();
    drop(process);
    assert!(within(5, || group.procs().unwrap().is_empty()));
}

#[test]
fn groups_that_a_container_made_below_go_with_it() {
    let Some(guard) = Group::path("nested") else { return };
    let group = Cgroup::create(&guard.path, None).unwrap();
    let below: Vec<PathBuf> = group.paths().into_values().map(|path| path.join("a/b")).collect();
    for path in &below {
        fs::create_dir_all(path).unwrap();
    }
    let process = Process::start(&["sleep", "1000"]);
    let freezer = group.dir_of(Controller::Freezer).unwrap().join("a/b");
    fs::write(freezer.join("cgroup.procs"), process.pid().to_string()).unwrap();
    if let Some(path) = group.paths().get("").map(|path| path.join("a/b")) {
        fs::write(path.join("cgroup.procs"), process.pid().to_string()).unwrap();
    }
    assert_eq!(group.procs().unwrap(), [process.pid()]);
    group.kill_all(Duration::from_secs(10)).unwrap();
    drop(process);
    group.remove().unwrap();
    assert!(below.iter().all(|path| !path.exists()));
}

#[test]
fn an_out_of_memory_kill_is_told() {
    let Some(guard) = Group::path("oom") else { return };
    let memory = LinuxMemoryBuilder::default().limit(16 << 20).build().unwrap();
    let resources = LinuxResourcesBuilder::default().memory(memory).build().unwrap();
    let group = Cgroup::create(&guard.path, Some(&resources)).unwrap();
    assert!(!group.oom_killed().unwrap());
    let mut child = Command::new("sh")
        .args(["-c", "read go; x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    group.add(i32::try_from(child.id()).unwrap()).unwrap();
    drop(std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n"));
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status:?}");
    assert!(group.oom_killed().unwrap());
}

#[test]
fn a_process_enters_by_itself() {
    if let Ok(name) = std::env::var("ONGGI_TEST_ENTER") {
        let group = Cgroup::open(&CgroupPath::parse(&name).unwrap()).unwrap();
        group.entry(false).unwrap().enter().unwrap();
        println!("{}", fs::read_to_string("/proc/thread-self/cgroup").unwrap());
        return;
    }
    let Some(guard) = Group::path("enter") else { return };
    let group = Cgroup::create(&guard.path, None).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_enters_by_itself", "--nocapture"])
        .env("ONGGI_TEST_ENTER", guard.path.to_string())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    // A hierarchy that is mounted in somebody else's namespace is in the kernel's list too.
    let known = group.paths();
    let is_ours = |key: &str| key.split(',').any(|name| known.contains_key(name));
    let lines: Vec<&str> = output.lines().filter(|line| line.split(':').nth(1).is_some_and(is_ours)).collect();
    assert!(lines.len() >= group.paths().len().min(2), "{output}");
    assert!(lines.iter().all(|line| line.ends_with(&guard.path.to_string())), "{output}");
}

#[test]
fn devices_that_no_rule_allows_cannot_be_opened() {
    let Some(guard) = Group::path("devices") else { return };
    let deny = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build().unwrap();
    let allow = LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(LinuxDeviceType::C)
        .major(1)
        .minor(11)
        .access("r")
        .build()
        .unwrap();
    let dir = std::env::temp_dir().join(format!("onggi-cgroup-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let node = |name: &str, major: &str, minor: &str| {
        let path = dir.join(name);
        assert!(Command::new("mknod").arg(&path).args(["c", major, minor]).status().unwrap().success());
        path
    };
    let (kmsg, port) = (node("kmsg", "1", "11"), node("port", "1", "4"));
    let opens = |group: &Cgroup, path: &Path, how: &str| {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; exec 3{how}{}", path.display())])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        group.add(i32::try_from(child.id()).unwrap()).unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
        child.wait().unwrap().success()
    };
    let found = std::panic::catch_unwind(|| {
        let group = Cgroup::create(&guard.path, None).unwrap();
        let before = (opens(&group, &kmsg, "<"), opens(&group, &kmsg, ">"));
        group.remove().unwrap();
        let resources = LinuxResourcesBuilder::default().devices(vec![deny.clone(), allow.clone()]).build().unwrap();
        let group = Cgroup::create(&guard.path, Some(&resources)).unwrap();
        let after = (opens(&group, &kmsg, "<"), opens(&group, &kmsg, ">"), opens(&group, &port, "<"));
        (before, after, opens(&group, Path::new("/dev/null"), ">"))
    });
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(found.unwrap(), ((true, true), (true, false, false), true));
}
