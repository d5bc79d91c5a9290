//! Bad input: a clear error that names the object, a code that is not zero, and nothing half-made.

use std::process::Command;

use onggi_testkit::{Machine, Onggi, captured, needs};

use crate::{BINARY, with_busybox};

#[test]
fn the_last_line_of_defence_is_a_sentence() {
    needs!("root");
    let onggi = with_busybox();
    let mark = onggi.dir().to_string_lossy().into_owned();
    let before = Machine::now(&mark);
    for (words, code, says) in [
        (&["run", "--rm", "--network", "none", "bb", "nosuch"][..], 127, "nosuch"),
        (&["run", "--rm", "--network", "none", "bb", "/etc"], 126, "/etc"),
        (&["run", "--rm", "--pull", "never", "absent"], 125, "absent"),
        (&["run", "--rm", "-v", "relative", "bb"], 125, "relative"),
        (&["run", "--rm", "-v", "/a:/b:nonsense", "bb"], 125, "nonsense"),
        (&["run", "--rm", "-w", "relative", "bb"], 125, "relative"),
        (&["run", "--rm", "-m", "1x", "bb"], 125, "1x"),
        (&["run", "--rm", "--cpus", "many", "bb"], 125, "many"),
        (&["run", "--rm", "--cap-add", "FLY", "bb"], 125, "FLY"),
        (&["run", "--rm", "--network", "moon", "bb"], 125, "moon"),
        (&["run", "--rm", "-u", "4294967296", "--network", "none", "bb", "true"], 125, "4294967296"),
        (&["run", "--rm", "-u", "-1", "--network", "none", "bb", "true"], 125, "-1"),
        (&["run", "--rm", "--env-file", "/no/such/file", "bb"], 125, "/no/such/file"),
        (&["run", "--rm", "--hostname", "bad name", "bb"], 125, "bad name"),
        (&["stop", "absent"], 1, "absent"),
        (&["rm", "absent"], 1, "absent"),
        (&["start", "absent"], 1, "absent"),
        (&["rmi", "absent"], 1, "absent"),
        (&["inspect", "absent"], 1, "absent"),
        (&["tag", "absent", "x"], 1, "absent"),
        (&["tag", "bb", "Upper/Case"], 1, "Upper/Case"),
        (&["history", "absent"], 1, "absent"),
        (&["save", "absent"], 1, "absent"),
        (&["load", "-i", "/no/such/file"], 1, "/no/such/file"),
        (&["import", "/no/such/file"], 1, "/no/such/file"),
        (&["ps", "--filter", "nonsense"], 1, "nonsense"),
        (&["ps", "--format", "{{.Nope}}{{"], 1, "template"),
        (&["logs", "--tail", "x", "bb"], 1, "x"),
    ] {
        let outcome = onggi.run(words);
        assert_eq!(outcome.code, code, "{words:?}: {outcome:?}");
        assert!(
            outcome.stderr.starts_with("error: ") && outcome.stderr.contains(says),
            "{words:?}: {}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("panicked"), "{words:?}: {}", outcome.stderr);
    }
    assert_eq!(onggi.run(["ps", "-aq"]).stdout, "", "a failed run leaves a container");
    onggi_testkit::wait_until("nothing is left", std::time::Duration::from_secs(10), || {
        Machine::now(&mark).leaked_since(&before).is_empty()
    })
    .unwrap();
}

#[test]
fn archives_that_are_none() {
    needs!("root");
    let onggi = Onggi::new(BINARY).unwrap();
    for input in [&b""[..], b"not a tar archive at all", &[0x1f, 0x8b, 8, 0, 0, 0], &[0; 4096]] {
        for command in [&["load"][..], &["import", "-", "x"]] {
            // No bytes, or zeros alone, are an empty archive: nothing for load, an empty tree for import.
            if command[0] == "import" && input.iter().all(|&byte| byte == 0) {
                continue;
            }
            let outcome = onggi.feed(command, input);
            assert!(outcome.code == 1 && outcome.stderr.starts_with("error: "), "{command:?} {input:?}: {outcome:?}");
        }
    }
    assert_eq!(onggi.run(["images", "-aq", "x"]).stdout, "");
}

/// A small file system of its own, unmounted on drop.
struct Small(tempfile::TempDir);

impl Small {
    fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        captured(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path()))
            .unwrap();
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(captured(Command::new("umount").arg("-l").arg(self.0.path())));
    }
}

#[test]
fn a_full_disk() {
    needs!("root");
    let small = Small::new("3m");
    let source = with_busybox();
    let archive = source.run_bytes(["save", "bb"]);
    let onggi = Onggi::new(BINARY).unwrap();
    let root = small.0.path().join("data");
    let outcome = onggi.feed(["--root", root.to_str().unwrap(), "load"], &archive[..]);
    // The image has some two megabytes, packed and unpacked more than three together.
    let again = onggi.feed(["--root", root.to_str().unwrap(), "load"], &archive[..]);
    for outcome in [outcome, again] {
        if outcome.code == 0 {
            continue;
        }
        assert!(outcome.stderr.contains("ENOSPC") && outcome.stderr.contains("hint: "), "{outcome:?}");
        let listed = onggi.run(["--root", root.to_str().unwrap(), "images", "-q"]);
        assert_eq!((listed.code, listed.stdout.as_str()), (0, ""), "{listed:?}");
        onggi.run(["--root", root.to_str().unwrap(), "system", "prune", "-f"]).ok().unwrap();
        let left: u64 =
            captured(Command::new("du").args(["-sk"]).arg(&root)).unwrap().split('\t').next().unwrap().parse().unwrap();
        assert!(left < 200, "{left} KiB stay after a prune");
    }
}
