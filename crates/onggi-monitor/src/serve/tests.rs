//! The loop around plain shells.

#![expect(clippy::disallowed_methods, reason = "the children of these tests are ordinary programs")]
#![expect(clippy::zombie_processes, reason = "the loop under test reaps them")]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use onggi_fs::Root;
use onggi_sys::file::Mode;
use onggi_sys::pidfd;

use super::*;
use crate::client::{Client, ClientError, Event, SOCKET, Session};
use crate::launch::LogLimits;
use crate::logs;
use crate::message::{Patience, Slow, Streams as Wanted};
use crate::state::Status;

/// A sandbox that is no more than a process group.
struct Shell {
    group: i32,
    state: State,
}

impl Sandbox for Shell {
    fn exec(&mut self, exec: Exec) -> std::result::Result<Task, Refusal> {
        let args = exec.process.args().clone().unwrap_or_default();
        let (_, task) = child(&args, exec.stdin, false);
        Ok(task)
    }

    fn kill_all(&mut self) -> std::result::Result<(), Record> {
        // Nothing here kills grandchildren, so that a test can see what happens when they stay.
        Ok(())
    }

    fn dies_with_first(&self) -> bool {
        false
    }

    fn freeze(&mut self, frozen: bool) -> std::result::Result<(), Record> {
        let group = format!("-{}", self.group);
        Command::new("kill").args([if frozen { "-STOP" } else { "-CONT" }, "--", &group]).status().unwrap();
        Ok(())
    }

    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn save(&mut self) -> std::result::Result<(), Record> {
        Ok(())
    }
}

fn child(args: &[String], stdin: bool, logged: bool) -> (i32, Task) {
    let mut command = Command::new(&args[0]);
    command.args(&args[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command.stdin(if stdin { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let streams = Streams::Pipes {
        stdin: child.stdin.take().map(OwnedFd::from),
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
    };
    (pid, Task::new(child.id(), pidfd::open(pid).unwrap(), streams, logged).unwrap())
}

/// A monitor around a shell, in a thread.
struct Rig {
    dir: tempfile::TempDir,
    monitor: Option<JoinHandle<Ended>>,
}

impl Rig {
    fn new(script: &str, stdin: Stdin) -> Self {
        Self::with(script, stdin, LogLimits::default(), None)
    }

    fn with(script: &str, stdin: Stdin, limits: LogLimits, adopted: Option<(OwnedFd, Wanted)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let listener = unix::listen_at(&root, SOCKET, Mode::RUSR | Mode::WUSR, 16).unwrap();
        let args = ["/bin/sh", "-c", script].map(str::to_owned);
        let monitor = std::thread::spawn(move || {
            let (group, task) = child(&args, stdin != Stdin::Null, true);
            let shell = Shell { group, state: State { status: Status::Running, ..State::created() } };
            let habits = Habits { stdin, stop_signal: SIGTERM, stop_timeout: Duration::from_secs(10) };
            let log = Writer::open(root, limits).unwrap();
            let mut server = Server::new(shell, habits, log, SignalFd::new(&[]).unwrap());
            if let Some((socket, wanted)) = adopted {
                server.adopt(socket, Some(wanted)).unwrap();
            }
            server.listen(listener);
            let ended = server.run(task).unwrap();
            let (_, log_failure, mut farewell) = server.into_parts();
            assert_eq!(log_failure, None);
            farewell.say(Exit { code: ended.code().into(), oom_killed: false });
            farewell.stay().unwrap();
            ended
        });
        Self { dir, monitor: Some(monitor) }
    }

    fn client(&self) -> Client {
        Client::connect(self.dir.path()).unwrap()
    }

    fn attach(&self) -> Session {
        self.client().attach(ALL).unwrap()
    }

    fn end(&mut self) -> Ended {
        self.monitor.take().unwrap().join().unwrap()
    }

    fn log(&self) -> Vec<String> {
        logs::read(self.dir.path(), logs::Options::default()).unwrap().map(|entry| entry.unwrap().log).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

const ALL: Wanted = Wanted { stdin: true, stdout: true, stderr: true, slow: Slow::Wait };

/// Everything until the end: standard output, standard error, exit code.
fn collect(session: &mut Session) -> (Vec<u8>, Vec<u8>, i32) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match session.receive().unwrap() {
            Event::Output(Stream::Stdout, data) => out.extend(data),
            Event::Output(Stream::Stderr, data) => err.extend(data),
            Event::Answer(Answer::Exited(exit)) => return (out, err, exit.code),
            Event::Answer(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn input_reaches_the_process_and_output_the_client_and_the_log() {
    let mut rig = Rig::new("read line; echo got $line; echo oops >&2; cat; exit 3", Stdin::Once);
    let mut session = rig.attach();
    session.write(b"first\nrest\n").unwrap();
    session.close_stdin().unwrap();
    let (out, err, code) = collect(&mut session);
    assert_eq!((out.as_slice(), err.as_slice(), code), (&b"got first\nrest\n"[..], &b"oops\n"[..], 3));
    assert_eq!(rig.end(), Ended::Exited(3));
    let mut log = rig.log();
    log.sort();
    assert_eq!(log, ["got first\n", "oops\n", "rest\n"]);
}

#[test]
fn a_session_from_the_first_byte_loses_nothing() {
    let (ours, theirs) = unix::pair().unwrap();
    let mut rig = Rig::with(
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done",
        Stdin::Null,
        LogLimits { max_size: 100_000, max_files: 2 },
        Some((theirs, ALL)),
    );
    let mut session = Session::of_container(Client::over(ours, rig.dir.path()));
    // Slower than the shell, so that queues fill.
    std::thread::sleep(Duration::from_millis(50));
    let (out, _, code) = collect(&mut session);
    let expected: String = (0..20000).map(|number| format!("line {number}\n")).collect();
    assert!(out == expected.as_bytes());
    assert_eq!(code, 0);
    rig.end();
}

#[test]
fn a_slow_reader_that_may_be_dropped_is_and_the_container_goes_on() {
    let script = "head -c 8000000 /dev/zero | tr '\\0' x; echo; echo done";
    let mut rig = Rig::with(script, Stdin::Null, LogLimits { max_size: 20 << 20, max_files: 1 }, None);
    let mut slow = rig.client().attach(Wanted { slow: Slow::Drop, ..ALL }).unwrap();
    assert_eq!(rig.client().wait().unwrap().code, 0);
    let error = loop {
        match slow.receive() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, ClientError::Refused { error, .. } if error.chain[0].contains("slowly")), "{error:?}");
    rig.end();
    assert_eq!(rig.log().last().unwrap(), "done\n");
}

#[test]
fn a_slow_reader_that_may_not_be_dropped_holds_the_process_back() {
    let mut rig = Rig::new("sleep 0.5; head -c 4000000 /dev/zero", Stdin::Null);
    let mut session = rig.attach();
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(rig.client().state().unwrap().status, Status::Running);
    let (out, _, code) = collect(&mut session);
    // What was written before the client came is only in the log.
    assert!(out.len() > 1_000_000 && code == 0, "{}", out.len());
    rig.end();
}

#[test]
fn exec_has_its_own_streams_and_code() {
    let mut rig = Rig::new("exec sleep 30", Stdin::Null);
    let exec = |script: &str, stdin| Exec {
        process: onggi_oci::runtime::ProcessBuilder::default()
            .args(["/bin/sh", "-c", script].map(str::to_owned))
            .build()
            .unwrap(),
        user: String::new(),
        stdin,
        detach: false,
        terminal_size: None,
    };
    let mut first = rig.client().exec(exec("cat; exit 7", true)).unwrap();
    let mut second = rig.client().exec(exec("echo here; echo there >&2; exit 8", false)).unwrap();
    assert_eq!(collect(&mut second), (b"here\n".to_vec(), b"there\n".to_vec(), 8));
    first.write(b"through").unwrap();
    first.close_stdin().unwrap();
    assert_eq!(collect(&mut first), (b"through".to_vec(), vec![], 7));
    let mut killed = rig.client().exec(exec("exec sleep 30", false)).unwrap();
    killed.kill(9).unwrap();
    let code = loop {
        match killed.receive().unwrap() {
            Event::Answer(Answer::Done) => {}
            Event::Answer(Answer::Exited(exit)) => break exit.code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 137);
    assert_eq!(rig.client().stop(None, Patience::Configured).unwrap().code, 143);
    rig.end();
    assert_eq!(rig.log(), [""; 0]);
}

#[test]
fn stop_becomes_a_kill_when_time_is_over() {
    let mut rig = Rig::new("trap '' TERM; while :; do echo up; sleep 0.1; done", Stdin::Null);
    let mut session = rig.attach();
    while !matches!(session.receive().unwrap(), Event::Output(..)) {}
    let begun = Instant::now();
    assert_eq!(rig.client().stop(None, Patience::Seconds(1)).unwrap().code, 137);
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(4));
    rig.end();
}

#[test]
fn a_paused_container_can_be_stopped() {
    let mut rig = Rig::new("exec sleep 30", Stdin::Null);
    let mut client = rig.client();
    client.pause().unwrap();
    assert_eq!(client.state().unwrap().status, Status::Paused);
    assert!(client.pause().is_err());
    assert_eq!(client.stop(None, Patience::Endless).unwrap().code, 143);
    rig.end();
}

#[test]
fn a_grandchild_with_the_pipe_does_not_hang_the_end() {
    let mut rig = Rig::new("sleep 5 & echo bye; exit 4", Stdin::Null);
    let begun = Instant::now();
    assert_eq!(rig.client().wait().unwrap().code, 4);
    assert!(begun.elapsed() < Duration::from_secs(4));
    rig.end();
    assert_eq!(rig.log(), ["bye\n"]);
}

#[test]
fn a_process_that_reads_nothing_takes_nobody_with_it() {
    let mut rig = Rig::new("exec sleep 30", Stdin::Once);
    let mut session = rig.attach();
    let feeder = std::thread::spawn(move || {
        // More than any queue holds: blocks until the end.
        drop(session.write(&vec![b'x'; 4 << 20]));
    });
    std::thread::sleep(Duration::from_millis(100));
    rig.client().kill(15).unwrap();
    assert_eq!(rig.end(), Ended::Signaled(15));
    feeder.join().unwrap();
}

#[test]
fn the_last_client_of_once_closes_the_input() {
    let mut rig = Rig::new("cat; echo over", Stdin::Once);
    let mut session = rig.attach();
    session.write(b"hello\n").unwrap();
    drop(session);
    assert_eq!(rig.end(), Ended::Exited(0));
    assert_eq!(rig.log(), ["hello\n", "over\n"]);
}

#[test]
fn nonsense_gets_one_client_dismissed() {
    let mut rig = Rig::new("exec sleep 30", Stdin::Null);
    let root = Root::open(rig.dir.path()).unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x01\x01\0\0\xff\xff\xff\xff", b"\x01\x01\0\0\x01\0\0\0{"] {
        let mut socket = File::from(unix::connect_at(&root, SOCKET).unwrap());
        socket.write_all(garbage).unwrap();
        let mut client = Client::over(OwnedFd::from(socket), rig.dir.path());
        assert!(matches!(client.receive().unwrap(), Event::Answer(Answer::Failed { .. })));
    }
    let mut client = rig.client();
    assert!(matches!(client.kill(4711), Err(ClientError::Refused { .. })));
    assert!(matches!(client.resize(1, 1), Err(ClientError::Refused { .. })));
    client.kill(9).unwrap();
    assert_eq!(rig.end(), Ended::Signaled(9));
    assert!(rig.path(SOCKET).exists());
}

/// Joins `session` with these streams, in this thread.
fn join(session: Session, stdin: Option<&File>, out: &File, terminal: bool) -> crate::Ended {
    crate::interactive(
        session,
        &crate::Interaction {
            stdin: stdin.map(AsFd::as_fd),
            stdout: out.as_fd(),
            stderr: out.as_fd(),
            terminal,
            proxy_signals: true,
            detach_keys: crate::DetachKeys::default(),
        },
    )
    .unwrap()
}

#[test]
fn a_command_copies_both_ways_at_once() {
    let mut rig = Rig::new("cat; exit 6", Stdin::Once);
    let session = rig.attach();
    let (input, feed) = event::pipe().unwrap();
    let (drain, output) = event::pipe().unwrap();
    // More each way than all queues together hold.
    let data = vec![b'x'; 5 << 20];
    let sent = data.clone();
    let feeder = std::thread::spawn(move || File::from(feed).write_all(&sent).unwrap());
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut File::from(drain), &mut all).unwrap();
        all
    });
    let output = File::from(output);
    let ended = join(session, Some(&File::from(input)), &output, false);
    drop(output);
    assert_eq!(ended, crate::Ended::Exited(Exit { code: 6, oom_killed: false }));
    feeder.join().unwrap();
    assert!(reader.join().unwrap() == data);
    rig.end();
}

#[test]
fn keys_leave_a_terminal_as_it_was() {
    use onggi_sys::file::{self, CWD, OFlags};
    use onggi_sys::pty;
    let mut rig = Rig::new("read line; echo got $line", Stdin::Open);
    let master = file::open(CWD, "/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    pty::unlock(&master).unwrap();
    let terminal = File::from(pty::peer(&master).unwrap());
    let before =
        format!("{:?}", pty::make_raw(&terminal).map(|before| pty::restore(&terminal, &before).map(|()| before)));
    let typing = File::from(file::dup(&master).unwrap());
    let typist = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        (&typing).write_all(b"a\x10").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        (&typing).write_all(b"\x11").unwrap();
    });
    assert_eq!(join(rig.attach(), Some(&terminal), &terminal, true), crate::Ended::Detached);
    typist.join().unwrap();
    let after =
        format!("{:?}", pty::make_raw(&terminal).map(|before| pty::restore(&terminal, &before).map(|()| before)));
    assert_eq!(before, after);
    let mut session = rig.attach();
    session.write(b"b\n").unwrap();
    assert_eq!(collect(&mut session), (b"got ab\n".to_vec(), vec![], 0));
    rig.end();
}

#[test]
fn output_that_nobody_takes_ends_the_command_and_not_the_container() {
    let mut rig = Rig::new("sleep 0.3; echo one; read line; exit 2", Stdin::Open);
    let (drain, output) = event::pipe().unwrap();
    drop(drain);
    let session = rig.attach();
    let ended = crate::interactive(
        session,
        &crate::Interaction {
            stdin: None,
            stdout: output.as_fd(),
            stderr: output.as_fd(),
            terminal: false,
            proxy_signals: false,
            detach_keys: crate::DetachKeys::none(),
        },
    );
    assert!(matches!(ended, Err(ClientError::Output(_))), "{ended:?}");
    let mut session = rig.attach();
    session.write(b"\n").unwrap();
    assert_eq!(collect(&mut session).2, 2);
    rig.end();
}

#[test]
fn an_end_that_comes_with_the_beginning_is_seen_at_once() {
    let mut rig = Rig::new("exec sleep 30", Stdin::Null);
    let process = onggi_oci::runtime::ProcessBuilder::default().args(["/bin/true".to_owned()]).build().unwrap();
    let exec = Exec { process, user: String::new(), stdin: false, detach: false, terminal_size: None };
    let null = File::options().write(true).open("/dev/null").unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        let session = rig.client().exec(exec.clone()).unwrap();
        assert_eq!(join(session, None, &null, false), crate::Ended::Exited(Exit { code: 0, oom_killed: false }));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    rig.client().kill(9).unwrap();
    rig.end();
}
