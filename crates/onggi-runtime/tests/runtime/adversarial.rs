//! Images and specifications made to reach the host. The letters are rows of the project's list of known attacks.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::{bundle, ours};

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A01: an image's `/dev/null` that is a link to what a mask would then leave open.
#[test]
fn a_swapped_null_device_masks_nothing_open() {
    ours!();
    let mut bundle = bundle!(
        "cat /proc/masked-file 2>/dev/zero | wc -c; (echo x > /proc/sys/kernel/core_pattern) 2>&1 | grep -c Read-only; wc -c < /secret"
    );
    let before = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let root = bundle.rootfs.path();
    symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
    std::fs::write(root.join("secret"), "hidden").unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/secret", "/proc/timer_list"]);
    // With a /dev of the image's own.
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    bundle.config["root"]["readonly"] = json!(false);
    let out = bundle.run();
    assert!(out.out.ends_with("1\n0\n"), "{out:?}");
    assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// A04: `/dev` as a link out of the root.
#[test]
fn devices_are_never_made_on_the_host() {
    ours!();
    let outside = tempfile::tempdir().unwrap();
    for target in
        [outside.path().to_path_buf(), Path::new("../../../../../../").join(outside.path().strip_prefix("/").unwrap())]
    {
        let mut bundle = bundle!("ls /dev/null");
        let dev = bundle.rootfs.path().join("dev");
        std::fs::remove_dir(&dev).unwrap();
        symlink(&target, &dev).unwrap();
        bundle.config["root"]["readonly"] = json!(false);
        // Refused, or kept inside; either way nothing out here.
        bundle.run();
        assert_eq!(names(outside.path()), Vec::<String>::new(), "{}", target.display());
    }
}

/// A06, A08: `/proc` or `/sys` as a link, with files where labels would be written.
#[test]
fn proc_and_sys_are_real_or_nothing_runs() {
    ours!();
    for name in ["proc", "sys"] {
        let bundle = bundle!("echo ran");
        let root = bundle.rootfs.path();
        std::fs::remove_dir(root.join(name)).unwrap();
        std::fs::create_dir_all(root.join("fake/self/attr")).unwrap();
        symlink("/fake", root.join(name)).unwrap();
        let outcome = bundle.run();
        assert!(outcome.out.is_empty() && outcome.err.contains("symbolic link"), "{outcome:?}");
        assert!(bundle.leftovers().is_empty());
    }
}

/// A03: nothing but a procfs over `/proc`.
#[test]
fn proc_is_not_covered() {
    let fake = tempfile::tempdir().unwrap();
    for destination in ["/proc", "/proc/self", "/proc/sys/kernel"] {
        let mut bundle = bundle!("echo ran");
        bundle.mount(json!({ "destination": destination, "source": fake.path(), "options": ["bind"] }));
        let outcome = bundle.run();
        assert!(outcome.out.is_empty(), "{destination}: {outcome:?}");
    }
}

/// A14: a volume whose target the image made a link to the host's `/etc`.
#[test]
fn a_volume_lands_inside() {
    let mut bundle = bundle!("cat /etc/mark");
    symlink("../../../../../../etc", bundle.rootfs.path().join("volume")).unwrap();
    let volume = tempfile::tempdir().unwrap();
    std::fs::write(volume.path().join("mark"), "inside\n").unwrap();
    bundle.mount(json!({ "destination": "/volume", "source": volume.path(), "options": ["bind"] }));
    assert_eq!(bundle.run().ok(), "inside\n");
    assert!(!Path::new("/etc/mark").exists());
}

/// B01: the image's program is ourselves, or opens us for writing while we enter.
#[test]
fn our_binary_cannot_be_written() {
    ours!();
    let binary = crate::support::runtime();
    let before = std::fs::metadata(&binary).unwrap();
    let mut bundle = bundle!("");
    let root = bundle.rootfs.path();
    std::fs::write(root.join("entry"), "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(root.join("entry"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.config["process"]["args"] = json!(["/entry", "features"]);
    bundle.run();
    // The other way: a process inside that waits for our exec and opens what /proc shows of it.
    let script = "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || \
                  (echo evil >> $p/exe) 2>/dev/null && echo opened $p $(readlink $p/exe); done; done";
    let mut holder = bundle!(script);
    for set in ["bounding", "effective", "permitted"] {
        holder.config["process"]["capabilities"][set] = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
    }
    holder.start();
    for _ in 0..20 {
        holder.exec("true").ok();
    }
    let after = std::fs::metadata(&binary).unwrap();
    assert_eq!((before.len(), before.mtime(), before.ino()), (after.len(), after.mtime(), after.ino()));
}

/// B02: the working directory through a descriptor that leads to the host.
#[test]
fn no_working_directory_on_the_host() {
    ours!();
    let bundle = bundle!("sleep 100");
    bundle.start();
    for number in 0..64 {
        let cwd = format!("/proc/self/fd/{number}");
        let outcome = bundle.call(&["exec", "--cwd", &cwd, &bundle.id, "ls"]);
        assert_ne!(outcome.code, 0, "exec --cwd {cwd}: {outcome:?}");
    }
    for number in [3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20] {
        for cwd in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/../../..")] {
            let mut second = bundle!("pwd; ls");
            second.config["process"]["cwd"] = json!(cwd);
            let outcome = second.run();
            assert_ne!(outcome.code, 0, "{cwd}: {outcome:?}");
        }
    }
}

/// A05, A07: a volume shared with somebody who swaps the target's parent for a link to the host, over and over.
#[test]
fn a_target_swapped_under_us_stays_inside() {
    ours!();
    let shared = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::create_dir(shared.path().join("real")).unwrap();
    let mut bundle = bundle!("true");
    bundle.mount(json!({ "destination": "/shared", "source": shared.path(), "options": ["bind"] }));
    bundle.mount(json!({ "destination": "/shared/flip/made/dir", "source": source.path(), "options": ["bind"] }));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (flip, real) = (shared.path().join("flip"), shared.path().join("real"));
            while !done.load(Ordering::Relaxed) {
                drop(std::fs::rename(&real, &flip));
                drop(std::fs::rename(&flip, &real));
                drop(symlink(outside.path(), &flip));
                drop(std::fs::remove_file(&flip));
            }
        });
        for _ in 0..100 {
            bundle.run();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(outside.path()), Vec::<String>::new());
    assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(shared.path().to_str().unwrap()));
}
