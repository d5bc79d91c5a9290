//! Another program beside the first.

use serde_json::json;

use crate::support::bundle;

#[test]
fn same_world_other_program() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    let pid = bundle.pid();
    let out = bundle.exec("for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup | cut -d: -f3 | sort -u; exit 0").ok();
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert!(out.contains(theirs.to_str().unwrap()), "{name}: {out}");
    }
    // Seen from its own cgroup namespace: right at the top in every hierarchy.
    assert!(out.ends_with("\n/\n"), "{out}");
    assert_eq!(bundle.exec("exit 7").code, 7);
    assert_eq!(bundle.exec("kill -TERM $$").code, 128 + 15);
}

#[test]
fn flags_change_the_process() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    let call = |flags: &[&str], script: &str| {
        let all: Vec<&str> =
            ["exec"].iter().chain(flags).copied().chain([bundle.id.as_str(), "/bin/sh", "-c", script]).collect();
        bundle.call(&all)
    };
    assert_eq!(call(&["--cwd", "/etc", "-e", "A=1", "-e", "TERM=x"], "pwd; echo $A $TERM").ok(), "/etc\n1 x\n");
    assert_eq!(call(&["-u", "1000:1001", "-g", "7"], "id").ok(), "uid=1000 gid=1001 groups=7\n");
    assert!(call(&["--cap", "CAP_NET_RAW"], "grep CapEff /proc/self/status").ok().contains("20002420"));
    assert!(call(&["-u", "1:"], "true").failed().contains("--user"));
    assert_eq!(bundle.call(&["exec", &bundle.id, "nope"]).code, 127);
    assert_eq!(bundle.call(&["exec", &bundle.id, "/etc"]).code, 126);
    let process = bundle.dir().join("process.json");
    let json = json!({ "args": ["/bin/echo", "by file"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    std::fs::write(&process, json.to_string()).unwrap();
    assert_eq!(bundle.call(&["exec", "-p", process.to_str().unwrap(), &bundle.id]).ok(), "by file\n");
}

#[test]
fn detached_with_a_pid_file() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    let file = bundle.dir().join("pid");
    let mut command = bundle.command(&["exec", "-d", "--pid-file", file.to_str().unwrap(), &bundle.id, "sleep", "50"]);
    assert!(
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap().success()
    );
    let pid = std::fs::read_to_string(&file).unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, "sleep\u{0}50\u{0}");
}

#[test]
fn no_descriptor_of_the_host_comes_along() {
    let bundle = bundle!("sleep 100");
    bundle.start();
    // A descriptor that leaks from whoever calls us, as a shell's or an engine's may.
    let leak = std::fs::File::open("/").unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&leak);
    let script = format!("exec {number}< /etc; exec \"$@\"");
    for args in [vec!["exec", &bundle.id, "ls", "/proc/self/fd"], vec!["run", "second"]] {
        let mut second = bundle!("ls /proc/self/fd");
        second.id = "second".into();
        let inner = if args[0] == "run" { second.command(&args) } else { bundle.command(&args) };
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
        command.current_dir(inner.get_current_dir().unwrap()).stdin(std::process::Stdio::null());
        let out = String::from_utf8(command.output().unwrap().stdout).unwrap();
        // The fourth is ls reading the directory.
        assert_eq!(out, "0\n1\n2\n3\n", "{args:?}");
    }
}
