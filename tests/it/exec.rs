//! `onggi exec`: where the command runs, what it gets, what it answers.

use std::process::Command;

use onggi_testkit::{Onggi, captured, needs};

use crate::with_busybox;

/// A busybox that sleeps under the name `box`.
fn sleeping(options: &[&str]) -> Onggi {
    let onggi = with_busybox();
    let words = ["run", "-d", "--name", "box", "--network", "none"];
    let words: Vec<&str> = words.into_iter().chain(options.iter().copied()).chain(["bb", "sleep", "1000"]).collect();
    onggi.run(words).ok().unwrap();
    onggi
}

#[test]
fn answers_with_output_and_exit_code() {
    needs!("root");
    let onggi = sleeping(&["-e", "FROM_RUN=1", "-w", "/tmp"]);
    for (words, code, stdout) in [
        (&["box", "echo", "a b"][..], 0, "a b\n"),
        (&["box", "sh", "-c", "exit 7"], 7, ""),
        (&["box", "sh", "-c", "kill -9 $$"], 137, ""),
        (&["box", "nosuchcommand"], 127, ""),
        (&["box", "/etc/passwd"], 126, ""),
        (&["-e", "A=1", "box", "sh", "-c", "echo $A $FROM_RUN"], 0, "1 1\n"),
        (&["box", "pwd"], 0, "/tmp\n"),
        (&["-w", "/etc", "box", "pwd"], 0, "/etc\n"),
        (&["-u", "nobody", "box", "id", "-u"], 0, "65534\n"),
        (&["-u", "1:2", "box", "sh", "-c", "id -u; id -g"], 0, "1\n2\n"),
        (&["-t", "box", "sh", "-c", "test -t 1 && echo tty"], 0, "tty\r\n"),
        (&["box", "cat"], 0, ""),
    ] {
        let outcome = onggi.run([&["exec"][..], words].concat());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (code, stdout), "{words:?}: {}", outcome.stderr);
    }
    assert_eq!(onggi.feed(["exec", "-i", "box", "tr", "a-z", "A-Z"], b"shout").stdout, "SHOUT");
    assert_eq!(onggi.run(["exec", "nosuchbox", "true"]).code, 1);
    assert_eq!(onggi.run(["exec", "-u", "nosuchuser", "box", "true"]).code, 126);
}

#[test]
fn is_in_every_namespace_and_cgroup_of_the_container() {
    needs!("root");
    let onggi = sleeping(&["-m", "128m"]);
    let pid = onggi.run(["inspect", "-f", "{{.State.Pid}}", "box"]).line().to_owned();
    onggi.run(["exec", "-d", "box", "sleep", "77"]).ok().unwrap();
    let find = || captured(Command::new("pgrep").args(["-x", "-f", "sleep 77"])).unwrap_or_default();
    onggi_testkit::wait_until("the command runs", std::time::Duration::from_secs(5), || !find().is_empty()).unwrap();
    let inner = find().lines().next().unwrap().to_owned();
    for namespace in ["mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_eq!(of(&inner), of(&pid), "{namespace}");
        assert_ne!(of(&inner), of("self"), "{namespace}");
    }
    let cgroups = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroups(&inner), cgroups(&pid));
    let status = |pid: &str, field: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        text.lines().find(|line| line.starts_with(field)).map(str::to_owned)
    };
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp:", "NoNewPrivs"] {
        assert_eq!(status(&inner, field), status(&pid, field), "{field}");
    }
}

#[test]
fn gets_no_descriptor_but_its_three() {
    needs!("root");
    let onggi = sleeping(&[]);
    for words in [
        &["exec", "box", "ls", "/proc/self/fd"][..],
        &["run", "--rm", "--network", "none", "bb", "ls", "/proc/self/fd"],
    ] {
        // ls itself opens the directory as 3.
        assert_eq!(onggi.run(words).stdout.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    }
    for fd in 3..32 {
        let dir = format!("/proc/self/fd/{fd}");
        let outcome = onggi.run(["exec", "-w", &dir, "box", "pwd"]);
        assert_ne!(outcome.code, 0, "a working directory of {dir} was taken: {}", outcome.stdout);
    }
}

#[test]
fn many_at_once() {
    needs!("root");
    let onggi = sleeping(&[]);
    std::thread::scope(|scope| {
        let onggi = &onggi;
        let all: Vec<_> = (0..40)
            .map(|number| {
                scope.spawn(move || onggi.run(["exec", "box", "sh", "-c", &format!("echo {number}; exit {number}")]))
            })
            .collect();
        for (number, one) in all.into_iter().enumerate() {
            let outcome = one.join().unwrap();
            assert_eq!(
                (outcome.code, outcome.line()),
                (i32::try_from(number).unwrap(), number.to_string().as_str()),
                "{}",
                outcome.stderr
            );
        }
    });
}

#[test]
fn not_in_a_container_that_does_not_run() {
    needs!("root");
    let onggi = with_busybox();
    onggi.run(["create", "--name", "idle", "bb"]).ok().unwrap();
    let outcome = onggi.run(["exec", "idle", "true"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("not running") && outcome.stderr.contains("hint: "), "{}", outcome.stderr);
}
