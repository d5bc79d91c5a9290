//! The same as an ordinary user, in a user namespace: with subordinate ids and without.

use std::process::Command;

use onggi_testkit::{Onggi, Rootfs, User, captured, needs};

use crate::BINARY;

/// nobody: an ordinary user that every machine has.
const UID: u32 = 65534;

fn onggi(user: User) -> Option<Onggi> {
    if captured(Command::new("unshare").args(["--map-root-user", "true"])).is_err() {
        onggi_testkit::skip("rootless", "this kernel gives no user namespaces");
        return None;
    }
    let onggi = Onggi::as_user(BINARY, user).unwrap();
    let rootfs = Rootfs::busybox().unwrap().unwrap();
    let archive = rootfs.tar().unwrap();
    captured(Command::new("chmod").arg("a+r").arg(&archive)).unwrap();
    onggi.run(["import", "-c", "CMD [\"sh\"]", archive.to_str().unwrap(), "bb"]).ok().unwrap();
    Some(onggi)
}

#[test]
fn with_subordinate_ids() {
    needs!("root", "newuidmap", "setpriv");
    let Some(onggi) = onggi(User::Subordinate(UID)) else { return };
    let ran = onggi.run(["run", "--rm", "bb", "sh", "-c", "id -u; cat /proc/self/uid_map | wc -l; echo $$"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0\n2\n1\n"), "{}", ran.stderr);
    let other = onggi.run(["run", "--rm", "-u", "1234", "bb", "sh", "-c", "id -u; touch /tmp/x && stat -c %u /tmp/x"]);
    assert_eq!((other.code, other.stdout.as_str()), (0, "1234\n1234\n"), "{}", other.stderr);
    whole_life(&onggi);
}

#[test]
fn with_one_id_alone() {
    needs!("root", "setpriv");
    let Some(onggi) = onggi(User::Ordinary(UID)) else { return };
    let ran = onggi.run(["run", "--rm", "bb", "sh", "-c", "id -u; cat /proc/self/uid_map"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "0", &UID.to_string(), "1"]);
    whole_life(&onggi);
}

fn whole_life(onggi: &Onggi) {
    onggi.run(["run", "-d", "--name", "box", "bb", "sh", "-c", "echo up; sleep 1000"]).ok().unwrap();
    let pid = onggi.run(["inspect", "-f", "{{.State.Pid}}", "box"]).line().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
    assert!(uid.contains(&UID.to_string()), "the container's root is the user outside: {uid}");
    assert_eq!(onggi.run(["exec", "box", "echo", "inside"]).ok().unwrap().stdout, "inside\n");
    assert_eq!(onggi.run(["logs", "box"]).stdout, "up\n");
    assert_eq!(onggi.run(["ps", "--format", "{{.Names}}"]).stdout, "box\n");
    onggi.run(["stop", "-t", "0", "box"]).ok().unwrap();
    onggi.run(["rm", "box"]).ok().unwrap();
    let host = onggi.run(["run", "--rm", "--network", "host", "bb", "ls", "/sys/class/net"]);
    assert_eq!(host.code, 0, "{}", host.stderr);
    let bridge = onggi.run(["run", "--rm", "--network", "bridge", "bb", "true"]);
    assert!(bridge.code == 125 && bridge.stderr.contains("hint: "), "{bridge:?}");
    let limited = onggi.run(["run", "--rm", "-m", "64m", "bb", "true"]);
    assert!(limited.code == 0 || (limited.code == 125 && limited.stderr.contains("memory")), "{limited:?}");
}
