//! What `docker run` and `onggi run` answer to the same words: output, exit code, and the fields of `inspect` that
//! scripts read. Each row says what is right; where dockerd is installed the same rows are put to it too, so a row that
//! docker itself fails is a wrong row.

use std::path::Path;
use std::process::{Command, Stdio};

use onggi_testkit::{Docker, Onggi, Outcome, Rootfs, needs, skip};

use crate::BINARY;

/// One invocation. `{dir}` in a word is a scratch directory with an `env` file and a `data` directory in it.
struct Row {
    what: &'static str,
    /// What follows `run --rm`.
    run: &'static [&'static str],
    input: &'static str,
    code: i32,
    out: &'static str,
}

const fn row(what: &'static str, run: &'static [&'static str], code: i32, out: &'static str) -> Row {
    Row { what, run, input: "", code, out }
}

const ROWS: &[Row] = &[
    row("output", &["bb", "echo", "hello"], 0, "hello\n"),
    row("the image's command", &["app"], 0, "entry cmd\n"),
    row("arguments replace the image's command", &["app", "a", "b c"], 0, "entry a b c\n"),
    row("an entrypoint forgets the image's command", &["--entrypoint", "echo", "app"], 0, "\n"),
    row("an entrypoint with arguments", &["--entrypoint", "echo", "app", "x"], 0, "x\n"),
    row("an empty entrypoint", &["--entrypoint", "", "app", "echo", "bare"], 0, "bare\n"),
    row("exit code", &["bb", "sh", "-c", "exit 3"], 3, ""),
    row("the largest exit code", &["bb", "sh", "-c", "exit 255"], 255, ""),
    row("death by a signal", &["bb", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, ""),
    row("no such command", &["bb", "nosuchcommand"], 127, ""),
    row("no such path", &["bb", "/no/such/path"], 127, ""),
    row("not executable", &["bb", "/etc/passwd"], 126, ""),
    row("a directory as command", &["bb", "/etc"], 126, ""),
    row("no such image", &["--pull", "never", "nosuchimage"], 125, ""),
    row("no such flag", &["--no-such-flag", "bb"], 125, ""),
    row("no such user", &["-u", "nosuchuser", "bb", "true"], 125, ""),
    row("a variable", &["-e", "A=1 2", "bb", "sh", "-c", "echo \"$A\""], 0, "1 2\n"),
    row(
        "a variable of the caller",
        &["-e", "ONGGI_TEST_VARIABLE", "bb", "sh", "-c", "echo $ONGGI_TEST_VARIABLE"],
        0,
        "from outside\n",
    ),
    row("variables from a file", &["--env-file", "{dir}/env", "bb", "sh", "-c", "echo $B $C"], 0, "2 three words\n"),
    row("the image's variable", &["--entrypoint", "sh", "app", "-c", "echo $FROM_IMAGE"], 0, "yes\n"),
    row(
        "a variable overrides the image's",
        &["-e", "FROM_IMAGE=no", "--entrypoint", "sh", "app", "-c", "echo $FROM_IMAGE"],
        0,
        "no\n",
    ),
    row(
        "the default environment",
        &["-h", "box", "bb", "env"],
        0,
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=box\nHOME=/root\n",
    ),
    row("a user's home", &["-u", "nobody", "bb", "sh", "-c", "echo $HOME"], 0, "/\n"),
    row("the working directory", &["bb", "pwd"], 0, "/\n"),
    row("another working directory", &["-w", "/tmp", "bb", "pwd"], 0, "/tmp\n"),
    row("a working directory that is made", &["-w", "/new/dir", "bb", "pwd"], 0, "/new/dir\n"),
    row("the image's working directory", &["--entrypoint", "pwd", "app"], 0, "/srv\n"),
    row("a user by name", &["-u", "nobody", "bb", "id", "-u"], 0, "65534\n"),
    row("a user by number", &["-u", "1234:5678", "bb", "sh", "-c", "id -u; id -g"], 0, "1234\n5678\n"),
    row("a user and a group by name", &["-u", "nobody:staff", "bb", "id", "-g"], 0, "50\n"),
    row("a number without an entry is in group 0", &["-u", "4321", "bb", "sh", "-c", "id -u; id -g"], 0, "4321\n0\n"),
    row("the group is among the groups", &["-u", "nobody", "bb", "id", "-G"], 0, "65534 50\n"),
    row("a group alone", &["-u", ":50", "bb", "sh", "-c", "id -u; id -g"], 0, "0\n50\n"),
    row("a host name", &["-h", "box", "bb", "hostname"], 0, "box\n"),
    row(
        "the host name is in /etc/hosts",
        &["-h", "box", "--network", "none", "bb", "sh", "-c", "grep -c localhost /etc/hosts; cat /etc/hostname"],
        0,
        "2\nbox\n",
    ),
    Row { what: "input", run: &["-i", "bb", "cat"], input: "one\ntwo", code: 0, out: "one\ntwo" },
    Row { what: "no input without -i", run: &["bb", "cat"], input: "lost", code: 0, out: "" },
    Row { what: "input that is not read", run: &["-i", "bb", "true"], input: "unread", code: 0, out: "" },
    row("a terminal", &["-t", "bb", "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo tty"], 0, "tty\r\n"),
    row("no terminal", &["bb", "sh", "-c", "test -t 1 || echo none"], 0, "none\n"),
    row("standard error apart", &["bb", "sh", "-c", "echo out; echo err >&2"], 0, "out\n"),
    row(
        "much output",
        &["bb", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x | fold -w 100 | sort -u"],
        0,
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
    ),
    row("pid 1", &["bb", "sh", "-c", "echo $$"], 0, "1\n"),
    row("umask", &["bb", "sh", "-c", "umask"], 0, "0022\n"),
    row("dashes behind the image are the container's", &["bb", "--", "echo", "a"], 127, ""),
    row(
        "a switch told its value, and told twice",
        &["--rm", "-it=false", "-i=true", "-i=false", "bb", "echo", "a"],
        0,
        "a\n",
    ),
    row("a variable without a name", &["-e", "", "bb", "true"], 125, ""),
    row(
        "a variable that the caller has not takes the image's away",
        &["-e", "FROM_IMAGE", "--entrypoint", "sh", "app", "-c", "echo \"<$FROM_IMAGE>\""],
        0,
        "<>\n",
    ),
    Row {
        what: "input beside attached output",
        run: &["-i", "-a", "stdout", "bb", "cat"],
        input: "one",
        code: 0,
        out: "one",
    },
    row("a memory limit that nothing fits in", &["-m", "5m", "bb", "true"], 125, ""),
    row(
        "the files of /etc under a read-only root",
        &[
            "--read-only",
            "bb",
            "sh",
            "-c",
            "for f in hosts hostname resolv.conf; do (: >> /etc/$f) 2>/dev/null && echo $f; done; echo end",
        ],
        0,
        "end\n",
    ),
    row("a read-only root", &["--read-only", "bb", "touch", "/x"], 1, ""),
    row("shm stays writable under a read-only root", &["--read-only", "bb", "touch", "/dev/shm/x"], 0, ""),
    row(
        "the default capabilities",
        &["bb", "grep", "-E", "Cap(Inh|Prm|Eff|Bnd|Amb)", "/proc/self/status"],
        0,
        "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n",
    ),
    row(
        "one more capability",
        &["--cap-add", "NET_ADMIN", "bb", "grep", "CapEff", "/proc/self/status"],
        0,
        "CapEff:\t00000000a80435fb\n",
    ),
    row(
        "capabilities dropped",
        &["--cap-drop", "ALL", "bb", "grep", "CapEff", "/proc/self/status"],
        0,
        "CapEff:\t0000000000000000\n",
    ),
    row(
        "all dropped but one",
        &["--cap-drop", "all", "--cap-add", "CAP_CHOWN", "bb", "grep", "CapEff", "/proc/self/status"],
        0,
        "CapEff:\t0000000000000001\n",
    ),
    row(
        "a user other than root has none",
        &["-u", "nobody", "bb", "grep", "CapEff", "/proc/self/status"],
        0,
        "CapEff:\t0000000000000000\n",
    ),
    row("chown without its capability", &["--cap-drop", "CHOWN", "bb", "chown", "nobody", "/tmp"], 1, ""),
    row("no such capability", &["--cap-add", "NO_SUCH", "bb", "true"], 125, ""),
    row(
        "a filter is on",
        &["bb", "grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/self/status"],
        0,
        "NoNewPrivs:\t0\nSeccomp:\t2\n",
    ),
    row(
        "a memory limit",
        &[
            "-m",
            "64m",
            "bb",
            "sh",
            "-c",
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
        ],
        0,
        "67108864\n",
    ),
    row(
        "a limit of processes",
        &[
            "--pids-limit",
            "20",
            "bb",
            "sh",
            "-c",
            "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max",
        ],
        0,
        "20\n",
    ),
    row(
        "a limit of processors",
        &[
            "--cpus",
            "0.5",
            "bb",
            "sh",
            "-c",
            "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max",
        ],
        0,
        "50000\n",
    ),
    row("a bad size", &["-m", "lots", "bb", "true"], 125, ""),
    row("a directory of the host", &["-v", "{dir}/data:/data", "bb", "cat", "/data/file"], 0, "content\n"),
    row("a read-only directory of the host", &["-v", "{dir}/data:/data:ro", "bb", "touch", "/data/new"], 1, ""),
    row("a relative path in the container", &["-v", "{dir}/data:data", "bb", "true"], 125, ""),
    row("a volume by name", &["-v", "table-volume:/v", "bb", "sh", "-c", "touch /v/x && ls /v"], 0, "x\n"),
    row("without a network", &["--network", "none", "bb", "ls", "/sys/class/net"], 0, "lo\n"),
    row("no such network", &["--network", "nosuchnetwork", "bb", "true"], 125, ""),
    row(
        "devices",
        &["bb", "sh", "-c", "for d in full null random tty urandom zero; do test -c /dev/$d && echo $d; done"],
        0,
        "full\nnull\nrandom\ntty\nurandom\nzero\n",
    ),
    row(
        "links in /dev",
        &["bb", "sh", "-c", "readlink /dev/fd; readlink /dev/stdin; readlink /dev/ptmx"],
        0,
        "/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n",
    ),
    row("masked files are empty", &["bb", "sh", "-c", "wc -c < /proc/timer_list; wc -c < /proc/keys"], 0, "0\n0\n"),
    row(
        "kernel settings are read-only",
        &["bb", "sh", "-c", "echo 1 > /proc/sys/kernel/printk 2>/dev/null || echo refused"],
        0,
        "refused\n",
    ),
    row("sysfs is read-only", &["bb", "sh", "-c", "grep -c ' /sys sysfs ro' /proc/mounts"], 0, "1\n"),
    row("a label needs no value", &["-l", "a", "-l", "b=c", "bb", "true"], 0, ""),
    row("a bad name", &["--name", "no/slash", "bb", "true"], 125, ""),
    row("no command at all", &["bare"], 125, ""),
];

/// A container that is created and looked at: what follows `create`, the template, the answer.
const INSPECTED: &[(&str, &[&str], &str, &str)] = &[
    (
        "state",
        &["bb", "true"],
        "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.State.Pid}}",
        "created false 0 0",
    ),
    (
        "words",
        &["bb", "echo", "a b"],
        "{{.Path}} {{json .Args}} {{json .Config.Cmd}} {{json .Config.Entrypoint}}",
        "echo [\"a b\"] [\"echo\",\"a b\"] null",
    ),
    (
        "entrypoint",
        &["app", "x"],
        "{{.Path}} {{json .Args}} {{json .Config.Entrypoint}}",
        "echo [\"entry\",\"x\"] [\"echo\",\"entry\"]",
    ),
    (
        "names",
        &["--name", "table-name", "-h", "box", "bb"],
        "{{.Name}} {{.Config.Hostname}} {{.Config.Image}}",
        "/table-name box bb",
    ),
    (
        "limits",
        &["-m", "64m", "--cpus", "1.5", "--pids-limit", "7", "bb"],
        "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}",
        "67108864 1500000000 7",
    ),
    (
        "flags",
        &["-t", "-i", "--read-only", "--privileged", "bb"],
        "{{.Config.Tty}} {{.Config.OpenStdin}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}",
        "true true true true",
    ),
    (
        "rights",
        &["--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "bb"],
        "{{len .HostConfig.CapAdd}} {{len .HostConfig.CapDrop}}",
        "1 1",
    ),
    (
        "a capability by its whole name",
        &["--cap-add", "net_admin", "bb"],
        "{{json .HostConfig.CapAdd}}",
        "[\"CAP_NET_ADMIN\"]",
    ),
    ("labels", &["-l", "a=b", "bb"], "{{.Config.Labels.a}} {{index .Config.Labels \"a\"}}", "b b"),
    (
        "user and directory",
        &["-u", "nobody", "-w", "/tmp", "bb"],
        "{{.Config.User}} {{.Config.WorkingDir}}",
        "nobody /tmp",
    ),
    ("removal", &["--rm", "bb"], "{{.HostConfig.AutoRemove}}", "true"),
    ("network", &["--network", "none", "bb"], "{{.HostConfig.NetworkMode}}", "none"),
    ("variables", &["-e", "A=1", "bb"], "{{index .Config.Env 0}}", "A=1"),
    ("binds", &["-v", "/tmp:/x:ro", "bb"], "{{json .HostConfig.Binds}}", "[\"/tmp:/x:ro\"]"),
    (
        "stop",
        &["--stop-signal", "SIGUSR1", "--stop-timeout", "3", "bb"],
        "{{.Config.StopSignal}} {{.Config.StopTimeout}}",
        "SIGUSR1 3",
    ),
];

/// Somebody who is asked the same.
trait Engine {
    fn command(&self) -> Command;

    fn ask(&self, words: &[String], input: &str) -> Outcome {
        let mut command = self.command();
        command.args(words).env("ONGGI_TEST_VARIABLE", "from outside");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended without reading.
        drop(std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()));
        child.wait_with_output().unwrap().into()
    }
}

impl Engine for Onggi {
    fn command(&self) -> Command {
        Onggi::command(self, [] as [&str; 0])
    }
}

impl Engine for Docker {
    fn command(&self) -> Command {
        Docker::command(self)
    }
}

/// `bb` (a busybox with the command `sh`), `app` (an entrypoint, a command, a variable, a directory), `bare` (no command).
fn import_images(engine: &impl Engine, archive: &str) {
    let app = ["ENTRYPOINT [\"echo\",\"entry\"]", "CMD [\"cmd\"]", "ENV FROM_IMAGE=yes", "WORKDIR /srv"];
    for (name, changes) in [("bb", &["CMD [\"sh\"]"][..]), ("app", &app[..]), ("bare", &[])] {
        let mut words = vec!["import".to_owned()];
        words.extend(changes.iter().flat_map(|change| ["-c".to_owned(), (*change).to_owned()]));
        words.extend([archive.to_owned(), name.to_owned()]);
        engine.ask(&words, "").ok().unwrap();
    }
}

fn differences(engine: &impl Engine, dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for row in ROWS {
        let words: Vec<String> = ["run", "--rm"].iter().chain(row.run).map(|word| filled(word, dir)).collect();
        let outcome = engine.ask(&words, row.input);
        if outcome.code != row.code || outcome.stdout != row.out {
            found.push(format!("{}: {words:?} gave {outcome:?}", row.what));
        }
    }
    for (what, create, template, expected) in INSPECTED {
        let words: Vec<String> = std::iter::once(&"create").chain(*create).map(|word| filled(word, dir)).collect();
        let created = engine.ask(&words, "");
        let id = created.line().to_owned();
        let shown = engine.ask(&["inspect".into(), "-f".into(), (*template).to_owned(), id.clone()], "");
        if shown.line() != *expected {
            found.push(format!("{what}: {create:?} gave {created:?}, inspect {shown:?}"));
        }
        engine.ask(&["rm".into(), "-f".into(), id], "");
    }
    found
}

fn filled(word: &str, dir: &Path) -> String {
    word.replace("{dir}", &dir.to_string_lossy())
}

fn scratch() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("env"), "# a comment\nB=2\n\nC=three words\n").unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    std::fs::write(dir.path().join("data/file"), "content\n").unwrap();
    dir
}

fn archive() -> (Rootfs, String) {
    let rootfs = Rootfs::busybox().unwrap().expect("needs a static busybox");
    std::fs::create_dir(rootfs.path().join("srv")).unwrap();
    let archive = rootfs.tar().unwrap().to_string_lossy().into_owned();
    (rootfs, archive)
}

#[test]
fn onggi_answers_as_the_table_says() {
    needs!("root");
    let (_rootfs, archive) = archive();
    let onggi = Onggi::in_netns(BINARY).unwrap();
    import_images(&onggi, &archive);
    let dir = scratch();
    let differences = differences(&onggi, dir.path());
    assert!(
        differences.is_empty(),
        "{} of {}:\n{}",
        differences.len(),
        ROWS.len() + INSPECTED.len(),
        differences.join("\n")
    );
}

#[test]
fn docker_answers_as_the_table_says() {
    needs!("root");
    let Some(docker) = Docker::start().unwrap() else {
        skip("table::docker_answers_as_the_table_says", "dockerd is not installed");
        return;
    };
    let (_rootfs, archive) = archive();
    import_images(&docker, &archive);
    let dir = scratch();
    let differences = differences(&docker, dir.path());
    assert!(
        differences.is_empty(),
        "{} of {}:\n{}",
        differences.len(),
        ROWS.len() + INSPECTED.len(),
        differences.join("\n")
    );
}
