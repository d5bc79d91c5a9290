//! What the program finds around it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::json;

use crate::support::{Outcome, bundle, runtime};

#[test]
fn a_default_bundle_is_a_world_of_its_own() {
    let bundle = bundle!(
        "echo pid $$; hostname; cat /proc/self/mountinfo | cut -d' ' -f5 | sort | uniq | tr '\\n' ' '; \
         cat /sys/class/net/lo/flags; ls /sys/class/net"
    );
    let out = bundle.run().ok();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], ["pid 1", "runc"]);
    for mount in ["/", "/dev", "/dev/mqueue", "/dev/pts", "/dev/shm", "/proc", "/sys", "/sys/fs/cgroup"] {
        assert!(lines[2].split(' ').any(|found| found == mount), "{mount}: {out}");
    }
    // Up, and nobody else.
    assert!(lines[2].contains("0x9") && lines[3..] == ["lo"], "{out}");
    assert_eq!(bundle.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn devices_and_links_are_there() {
    let bundle = bundle!(
        "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; \
         for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; echo x > /dev/null; head -c 3 /dev/zero | wc -c"
    );
    let out = bundle.run().ok();
    for device in [
        "null character special file 1:3 666",
        "zero character special file 1:5 666",
        "tty character special file 5:0 666",
    ] {
        assert!(out.contains(device), "{device}: {out}");
    }
    assert!(out.contains("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n3\n"), "{out}");
}

#[test]
fn devices_of_the_specification() {
    let mut bundle = bundle!("stat -c '%n %F %t:%T %a %u:%g' /dev/deep/node /dev/pipe");
    bundle.config["linux"]["devices"] = json!([
        { "path": "/dev/deep/node", "type": "b", "major": 7, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6 },
        { "path": "/dev/pipe", "type": "p", "fileMode": 0o600 }
    ]);
    assert_eq!(bundle.run().ok(), "/dev/deep/node block special file 7:3 640 5:6\n/dev/pipe fifo 0:0 600 0:0\n");
}

#[test]
fn nothing_writable_where_nothing_should_be() {
    let bundle = bundle!(
        "for f in /x /proc/sys/kernel/core_pattern /sys/fs/cgroup/x; do \
         (echo x > $f) 2>&1 | sed \"s#.*: ##\"; done; wc -c < /proc/timer_list; ls /sys/firmware | wc -l; \
         (echo x > /sys/firmware/x) 2>&1 | sed 's#.*: ##'; find / -xdev -writable -type d 2>/dev/null | head"
    );
    let out = bundle.run().ok();
    assert_eq!(out.matches("Read-only file system").count(), 4, "{out}");
    assert!(out.contains("\n0\n0\n"), "{out}");
    assert!(!out.contains("\n/"), "nothing on the read-only root is writable: {out}");
}

#[test]
fn a_read_only_bind_is_read_only_to_its_depth() {
    let mut bundle = bundle!("touch /top/a /deep/a /deep/sub/a; touch /top/sub/a && echo written; exit 0");
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("sub")).unwrap();
    bundle.mount(json!({ "destination": "/top", "source": host.path(), "options": ["rbind", "ro"] }));
    bundle.mount(json!({ "destination": "/deep", "source": host.path(), "options": ["rbind", "rro"] }));
    bundle.config["root"]["readonly"] = json!(false);
    // The submount lives in a mount namespace of the test's, so that nothing is left however it ends.
    let script = format!("mount -t tmpfs none {}/sub && exec \"$@\"", host.path().display());
    let inner = bundle.command(&["run", &bundle.id]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(runtime())
        .args(inner.get_args())
        .current_dir(bundle.dir());
    let outcome = Outcome::from(command.output().unwrap());
    assert_eq!(outcome.err.matches("Read-only file system").count(), 3, "{outcome:?}");
    assert_eq!(outcome.out, "written\n", "plain `ro` is of the one mount");
}

#[test]
fn binds_make_their_targets_and_follow_links_inside() {
    let mut bundle = bundle!("cat /etc/link; cat /made/for/it; ls -l /etc/link");
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "from the host\n").unwrap();
    // As Ubuntu's /etc/resolv.conf: a link to what is not there yet.
    std::os::unix::fs::symlink("../run/inner/file", bundle.rootfs.path().join("etc/link")).unwrap();
    for destination in ["/etc/link", "made/for/it"] {
        bundle.mount(
            json!({ "destination": destination, "source": host.path().join("file"), "options": ["bind", "ro"] }),
        );
    }
    let out = bundle.run().ok();
    assert_eq!(out.matches("from the host\n").count(), 2, "{out}");
    assert!(bundle.rootfs.path().join("run/inner/file").exists());
}

#[test]
fn host_mounts_do_not_show_ours() {
    let mut bundle = bundle!("mount -t tmpfs none /tmp && grep -c ' /tmp ' /proc/self/mountinfo");
    bundle.config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN"]);
    for set in ["effective", "permitted"] {
        bundle.config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
    }
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(bundle.run().ok(), "1\n");
    let path = bundle.rootfs.path().display().to_string();
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!after.contains(&path) && !before.contains(&path));
}

#[test]
fn limits_reach_the_kernel() {
    let mut bundle = bundle!("sleep 100");
    bundle.config["linux"]["resources"] = json!({
        "memory": { "limit": 33_554_432 }, "pids": { "limit": 21 }, "cpu": { "shares": 512 }
    });
    bundle.start();
    assert_eq!(bundle.cgroup_file("memory", "memory.limit_in_bytes", "memory.max"), "33554432");
    assert_eq!(bundle.cgroup_file("pids", "pids.max", "pids.max"), "21");
    let members = bundle.cgroup_file("pids", "cgroup.procs", "cgroup.procs");
    assert_eq!(members, bundle.pid().to_string());
    bundle.call(&["delete", "--force", &bundle.id]).ok();
    assert!(bundle.leftovers().is_empty(), "{:?}", bundle.leftovers());
}

#[test]
fn users_of_a_user_namespace() {
    let mut bundle = bundle!(
        "id -u; cat /proc/self/uid_map | tr -s ' '; echo x > /dev/null && echo null; stat -c %u /dev/mqueue /dev/shm; sleep 100"
    );
    bundle.map_users();
    // Nobody but us may reach the root filesystem by its name.
    let shut = tempfile::tempdir().unwrap();
    let inside = shut.path().join("rootfs");
    std::os::unix::fs::symlink(bundle.rootfs.path(), &inside).unwrap();
    bundle.config["root"]["path"] = json!(inside);
    bundle.start();
    let status = std::fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
    assert!(status.contains("Uid:\t100000\t100000\t100000\t100000"), "{status}");
    let out =
        bundle.exec("id -u; echo x > /dev/null && echo null; stat -c %u /dev/mqueue; mount | grep -c /dev/null").ok();
    assert_eq!(out, "0\nnull\n0\n1\n");
}

#[test]
fn a_clock_of_its_own() {
    let mut bundle = bundle!("cut -d. -f1 /proc/uptime");
    bundle.namespace(json!({ "type": "time" }));
    bundle.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 10_000_000 } });
    assert!(bundle.run().ok().trim().parse::<u64>().unwrap() >= 10_000_000);
}

#[test]
fn namespaces_are_joined_by_path() {
    let first = bundle!("sleep 100");
    first.start();
    let mut second = bundle!("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ps");
    let pid = first.pid();
    for namespace in second.config["linux"]["namespaces"].as_array_mut().unwrap() {
        let name = match namespace["type"].as_str().unwrap() {
            "network" => "net",
            kind @ ("ipc" | "pid") => kind,
            _ => continue,
        };
        namespace["path"] = json!(format!("/proc/{pid}/ns/{name}"));
    }
    let out = second.run().ok();
    for name in ["net", "ipc"] {
        let theirs = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert!(out.contains(theirs.to_str().unwrap()), "{out}");
    }
    assert!(out.contains("sleep 100"), "{out}");
}

#[test]
fn settings_of_its_own_namespaces() {
    let mut bundle = bundle!("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/kernel/domainname");
    bundle.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmax": "12345678" });
    bundle.config["domainname"] = json!("inside");
    assert_eq!(bundle.run().ok(), "1\n12345678\ninside\n");
}

#[test]
fn a_tmpfs_starts_with_what_it_covers() {
    let mut bundle = bundle!(
        "cat /etc/inner/passwd; readlink /etc/inner/link; stat -c '%a %u' /etc/inner/mode; touch /etc/inner/new"
    );
    let etc = bundle.rootfs.path().join("etc/inner");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("passwd"), "ours\n").unwrap();
    std::fs::write(etc.join("mode"), "").unwrap();
    std::fs::set_permissions(etc.join("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", etc.join("link")).unwrap();
    bundle.mount(json!({ "destination": "/etc/inner", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }));
    assert_eq!(bundle.run().ok(), "ours\n/etc/shadow\n4751 0\n");
    assert!(!etc.join("new").exists());
}

#[test]
fn owners_shown_as_others() {
    let mut bundle = bundle!("stat -c '%u %g' /shown /shown/file; touch /shown/new");
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("file"), "").unwrap();
    std::os::unix::fs::chown(host.path().join("file"), Some(7), Some(9)).unwrap();
    // On the mount, what is 0..100 on disk is 1000..1100.
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 100 }]);
    bundle.mount(json!({
        "destination": "/shown", "source": host.path(), "options": ["bind"], "uidMappings": map, "gidMappings": map
    }));
    bundle.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    assert_eq!(bundle.run().ok(), "1000 1000\n1007 1009\n");
    let made = std::fs::metadata(host.path().join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0));
}

#[test]
fn owners_as_the_user_namespace_has_them() {
    let mut bundle = bundle!("stat -c %u /shown; touch /shown/new && echo made");
    let host = tempfile::tempdir().unwrap();
    bundle.map_users();
    // The root itself is not mapped, so nobody inside can make the target.
    std::fs::create_dir(bundle.rootfs.path().join("shown")).unwrap();
    bundle.mount(json!({ "destination": "/shown", "source": host.path(), "options": ["rbind", "ridmap"] }));
    assert_eq!(bundle.run().ok(), "0\nmade\n");
    assert_eq!(std::fs::metadata(host.path().join("new")).unwrap().uid(), 0);
}
