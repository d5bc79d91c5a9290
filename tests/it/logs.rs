//! What containers wrote, and who reads it.

use std::io::Read as _;
use std::process::Stdio;

use onggi_testkit::needs;

use crate::with_busybox;

#[test]
fn both_streams_in_their_order() {
    needs!("root");
    let onggi = with_busybox();
    onggi
        .run([
            "run",
            "--name",
            "box",
            "--network",
            "none",
            "bb",
            "sh",
            "-c",
            "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf three",
        ])
        .ok()
        .unwrap();
    let logs = onggi.run(["logs", "box"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("one\nthree", "two\n"));
    assert_eq!(onggi.run(["logs", "-n", "1", "box"]).stdout, "three");
    let stamped = onggi.run(["logs", "-t", "-n", "1", "box"]).stdout;
    let (time, rest) = stamped.split_once(' ').unwrap();
    assert!(time.ends_with('Z') && time.starts_with("20") && rest == "three", "{stamped}");
    assert_eq!(onggi.run(["logs", "--since", "2001-01-01", "--until", "2002-01-01", "box"]).stdout, "");
    assert_eq!(onggi.run(["logs", "nosuchbox"]).code, 1);
}

#[test]
fn followed_to_the_end() {
    needs!("root");
    let onggi = with_busybox();
    onggi
        .run([
            "run",
            "-d",
            "--name",
            "box",
            "--network",
            "none",
            "bb",
            "sh",
            "-c",
            "for i in 1 2 3 4; do echo $i; sleep 0.2; done",
        ])
        .ok()
        .unwrap();
    let followed = onggi.run(["logs", "-f", "box"]);
    assert_eq!((followed.code, followed.stdout.as_str()), (0, "1\n2\n3\n4\n"));
}

#[test]
fn a_flood_is_rotated_and_nothing_is_lost_to_who_follows() {
    needs!("root");
    let onggi = with_busybox();
    // 40 MB of log for a cap of three files of 10 MiB.
    let script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); head -c 2000000 /dev/zero | tr '\\0' x | fold -w 999; done; echo; echo end";
    let mut command = onggi
        .command(["run", "--name", "box", "--network", "none", "bb", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    command.stdout.take().unwrap().read_to_end(&mut seen).unwrap();
    assert!(command.wait().unwrap().success());
    assert_eq!(seen.iter().filter(|&&byte| byte == b'x').count(), 40_000_000);
    let id = onggi.run(["ps", "-aq", "--no-trunc"]).line().to_owned();
    let dir = onggi.data().join("containers").join(id);
    let kept: u64 = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("log"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(kept > 10 << 20 && kept <= 31 << 20, "{kept} bytes of log are kept");
    assert_eq!(onggi.run(["logs", "-n", "1", "box"]).stdout, "end\n");
}

#[test]
fn bytes_that_are_no_text_come_through_attached() {
    needs!("root");
    let onggi = with_busybox();
    let mut command = onggi
        .command([
            "run",
            "--rm",
            "--network",
            "none",
            "bb",
            "sh",
            "-c",
            "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %o $i)\"; i=$((i+1)); done",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    command.stdout.take().unwrap().read_to_end(&mut seen).unwrap();
    command.wait().unwrap();
    assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
}
