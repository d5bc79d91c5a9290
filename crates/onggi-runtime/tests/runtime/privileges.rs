//! What the program is and may do.

use serde_json::json;

use crate::support::bundle;

const CAPABILITIES: [&str; 4] = ["bounding", "effective", "permitted", "inheritable"];

#[test]
fn user_groups_and_mask() {
    let mut bundle = bundle!("id; umask; pwd");
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27 });
    bundle.config["process"]["cwd"] = json!("/made/for/it");
    bundle.config["root"]["readonly"] = json!(false);
    assert_eq!(bundle.run().ok(), "uid=1000 gid=1001 groups=5,6\n0027\n/made/for/it\n");
}

#[test]
fn five_sets_of_capabilities() {
    let mut bundle = bundle!("grep ^Cap /proc/self/status; grep NoNew /proc/self/status");
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    for set in CAPABILITIES {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_NET_RAW", "CAP_CHOWN"]);
    }
    bundle.config["process"]["capabilities"]["ambient"] = json!(["CAP_NET_RAW"]);
    let out = bundle.run().ok().replace('\t', "");
    // Executing a plain file as another user than root leaves what is ambient.
    assert!(out.contains("CapPrm:0000000000002000") && out.contains("CapEff:0000000000002000"), "{out}");
    assert!(out.contains("CapAmb:0000000000002000") && out.contains("CapBnd:0000000000002001"), "{out}");
    assert!(out.contains("NoNewPrivs:1"), "{out}");
}

#[test]
fn nothing_is_inheritable_or_ambient_unasked() {
    let bundle = bundle!("grep -E 'CapInh|CapAmb' /proc/self/status; sleep 100");
    bundle.start();
    for out in [
        bundle.exec("grep -E 'CapInh|CapAmb' /proc/self/status").ok(),
        bundle
            .call(&["exec", "--cap", "CAP_NET_RAW", &bundle.id, "grep", "-E", "CapInh|CapAmb", "/proc/self/status"])
            .ok(),
    ] {
        assert_eq!(out.matches("0000000000000000").count(), 2, "{out}");
    }
}

#[test]
fn what_the_machine_lacks_is_left_out_aloud() {
    let mut bundle = bundle!("grep CapBnd /proc/self/status");
    let bounding = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = bounding.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap().to_owned();
    let bounding = u64::from_str_radix(&bounding, 16).unwrap();
    if bounding & 1 << 24 != 0 {
        return onggi_testkit::skip(module_path!(), "this machine has CAP_SYS_RESOURCE");
    }
    bundle.config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_RESOURCE", "CAP_CHOWN"]);
    let outcome = bundle.run();
    assert!(outcome.err.contains("left out: CAP_SYS_RESOURCE"), "{outcome:?}");
    assert!(outcome.ok().contains("0000000000000001"));
}

#[test]
fn limits_of_the_process() {
    let mut bundle = bundle!("ulimit -n; ulimit -H -n; ulimit -c");
    bundle.config["process"]["rlimits"] = json!([
        { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }
    ]);
    assert_eq!(bundle.run().ok(), "100\n200\n0\n");
}

#[test]
fn seccomp_with_and_without_new_privileges() {
    for no_new_privileges in [true, false] {
        let mut bundle = bundle!("grep Seccomp: /proc/self/status; mkdir /dev/shm/x; echo $?");
        bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        bundle.config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }]
        });
        let outcome = bundle.run();
        assert!(outcome.out.contains("Seccomp:\t2") && outcome.out.ends_with("1\n"), "{outcome:?}");
        assert!(outcome.err.contains("Function not implemented"), "{outcome:?}");
    }
}

#[test]
fn a_strict_filter_need_not_allow_what_the_runtime_does() {
    let mut bundle = bundle!("exit 5");
    // What a busybox shell that only exits calls, and execve. Nothing of sendmsg, prctl, setuid, capset.
    let names = [
        "execve",
        "exit_group",
        "arch_prctl",
        "brk",
        "mmap",
        "munmap",
        "mprotect",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlink",
        "readlinkat",
        "getrandom",
        "uname",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "getpid",
        "getppid",
        "rt_sigaction",
        "rt_sigprocmask",
        "stat",
        "newfstatat",
        "getcwd",
        "fstat",
        "ioctl",
        "write",
        "close_range",
        "fcntl",
        "dup2",
        "close",
    ];
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": names.as_slice(), "action": "SCMP_ACT_ALLOW" }]
    });
    assert_eq!(bundle.run().code, 5);
}

#[test]
fn signals_are_as_a_new_program_expects() {
    // Rust ignores SIGPIPE, and what is ignored stays so over exec.
    let bundle = bundle!("grep -E 'SigIgn|SigBlk' /proc/self/status; true");
    let out = bundle.run().ok();
    assert_eq!(out.matches("0000000000000000").count(), 2, "{out}");
}

#[test]
fn when_and_where_it_runs() {
    let mut bundle = bundle!("cut -d' ' -f19 /proc/self/stat; sleep 100");
    bundle.config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 7 });
    bundle.start();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", bundle.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Nice is field 19 and the policy field 41 of the whole line; two come before what is left of it.
    assert_eq!((fields[16], fields[38]), ("7", "3"), "{stat}");
    let process = json!({
        "args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "user": { "uid": 0, "gid": 0 },
        "env": ["PATH=/bin"], "execCPUAffinity": { "initial": "0", "final": "0" }
    });
    let file = bundle.dir().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    assert_eq!(bundle.call(&["exec", "-p", file.to_str().unwrap(), &bundle.id]).ok(), "Cpus_allowed_list:\t0\n");
}
