//! A: what is mounted, and where.

use std::os::unix::fs::symlink;
use std::process::Command;

use onggi_testkit::{captured, needs};

use crate::{evil, evil_with, script};

/// A directory outside that no container may touch; its content must stay.
fn victim() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "untouched").unwrap();
    dir
}

fn untouched(victim: &tempfile::TempDir) {
    let names: Vec<_> = std::fs::read_dir(victim.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["file"], "something was made outside of the container");
    assert_eq!(std::fs::read_to_string(victim.path().join("file")).unwrap(), "untouched");
}

#[test]
fn a01_masked_paths_stay_masked_when_the_null_device_is_a_link() {
    needs!("root");
    let before = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let onggi = evil(|root| symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap());
    let outcome = script(&onggi, &[], "echo harm > /dev/null; wc -c < /proc/timer_list; cat /proc/kcore | wc -c");
    assert!(outcome.code != 0 || outcome.stdout == "0\n0\n", "{outcome:?}");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

#[test]
fn a04_a_dev_that_is_a_link_leads_nowhere_outside() {
    needs!("root");
    let victim = victim();
    for target in [victim.path().to_str().unwrap(), "../../../../../../tmp", "/tmp/x"] {
        let onggi = evil(|root| {
            std::fs::remove_dir(root.join("dev")).unwrap();
            symlink(target, root.join("dev")).unwrap();
        });
        let outcome = script(&onggi, &[], "true");
        assert!(outcome.code == 0 || outcome.stderr.starts_with("error: "), "{outcome:?}");
        untouched(&victim);
    }
}

#[test]
fn a06_a08_a_proc_that_is_a_link_is_refused() {
    needs!("root");
    let onggi = evil(|root| {
        std::fs::remove_dir(root.join("proc")).unwrap();
        std::fs::create_dir_all(root.join("notproc/self/attr")).unwrap();
        std::fs::write(root.join("notproc/self/attr/exec"), "").unwrap();
        symlink("/notproc", root.join("proc")).unwrap();
    });
    let outcome = script(&onggi, &[], "cat /proc/self/status");
    // Either nothing runs, or what runs has a real procfs; never a program that trusts a fake one.
    assert!(outcome.code != 0 || outcome.stdout.contains("CapEff:"), "{outcome:?}");
}

#[test]
fn a07_mount_points_are_never_made_outside() {
    needs!("root");
    let victim = victim();
    let onggi = evil(|root| symlink(victim.path(), root.join("out")).unwrap());
    let data = tempfile::tempdir().unwrap();
    for destination in ["/out/made/deep", "/out/../out/made"] {
        let volume = format!("{}:{destination}", data.path().display());
        script(&onggi, &["-v", &volume], "true");
        untouched(&victim);
    }
}

#[test]
fn a10_a_read_only_bind_is_read_only_below_too() {
    needs!("root");
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    captured(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&inner)).unwrap();
    let onggi = evil(|_| {});
    let volume = format!("{}:/x:ro", dir.path().display());
    let outcome = script(
        &onggi,
        &["-v", &volume],
        "touch /x/inner/f 2>/dev/null && echo written; touch /x/g 2>/dev/null && echo written",
    );
    captured(Command::new("umount").arg(&inner)).unwrap();
    assert_eq!(outcome.stdout, "", "{outcome:?}");
}

#[test]
fn a11_mounts_made_inside_stay_inside() {
    needs!("root");
    let dir = tempfile::tempdir().unwrap();
    let onggi = evil(|_| {});
    let volume = format!("{}:/x", dir.path().display());
    let outcome =
        script(&onggi, &["-v", &volume, "--cap-add", "SYS_ADMIN"], "mount -t tmpfs tmpfs /x && touch /x/f; sleep 0.3");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(dir.path().to_str().unwrap()), "{outcome:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a12_a_read_only_root_leaves_nothing_that_is_not_meant_to_be_written() {
    needs!("root");
    let onggi = evil(|_| {});
    let text = "for d in $(find / -xdev -type d 2>/dev/null; echo /sys /proc /sys/fs/cgroup); do touch $d/.probe 2>/dev/null && echo $d; done";
    let outcome = script(&onggi, &["--read-only"], text);
    let writable: Vec<&str> = outcome.stdout.lines().filter(|dir| !["/dev", "/dev/shm"].contains(dir)).collect();
    assert_eq!(writable, [] as [&str; 0]);
}

#[test]
fn a14_h02_volumes_of_the_image_are_resolved_inside_it() {
    needs!("root");
    let inode = |path: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    let onggi = evil_with(&["VOLUME /a", "VOLUME /../../../../etc"], |root| {
        symlink("/etc", root.join("a")).unwrap();
        std::fs::write(root.join("etc/of-the-image"), "").unwrap();
    });
    let outcome = script(&onggi, &[], "ls /etc; stat -c %i /etc /a/.");
    assert!(!outcome.stdout.contains("shadow"), "{outcome:?}");
    assert!(!outcome.stdout.lines().any(|line| line == inode("/etc").to_string()), "{outcome:?}");
}

#[test]
fn a17_cgroups_and_the_release_agent_are_out_of_reach() {
    needs!("root");
    let onggi = evil(|_| {});
    let text = "for f in $(find /sys/fs/cgroup -maxdepth 3 -name cgroup.procs -o -maxdepth 3 -name release_agent -o -maxdepth 3 -name devices.allow); do \
                (echo 0 > $f) 2>/dev/null && echo $f; done; true";
    assert_eq!(script(&onggi, &[], text).stdout, "");
}
