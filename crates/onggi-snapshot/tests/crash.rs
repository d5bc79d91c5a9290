//! Killed at any moment, and many at once: what is there is whole.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "the test kills a child of its own program")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use onggi_fs::{Durability, Root};
use onggi_layer::tar::{Entry, Kind, Time, Writer};
use onggi_oci::Digest;
use onggi_snapshot::{Error, Snapshots};

const STORE: &str = "ONGGI_TEST_STORE";
const FILES: u32 = 30;

/// The bytes of layer `number`: some files, with a subdirectory that has no entry.
fn archive(number: u32) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for index in 0..FILES {
        let data = vec![b'x'; 5000];
        let entry = Entry {
            path: format!("some/where/{number}-{index}").into_bytes(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            atime: None,
            size: data.len() as u64,
            extents: None,
            xattrs: Vec::new(),
        };
        writer.append(&entry, data.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

/// Every layer that is there has all its files, and every snapshot mounts.
fn check(store: &Snapshots, dir: &Path) {
    for diff_id in store.layers().unwrap() {
        let name = format!("{}-{}", diff_id.algorithm().name(), diff_id.hex());
        let files = dir.join("diff").join(name).join("fs/some/where");
        assert_eq!(fs::read_dir(&files).unwrap().count(), FILES as usize);
    }
    for id in store.writables().unwrap() {
        let mount = Root::from(store.mount(&id, Durability::Durable).unwrap());
        assert!(mount.dir("some/where").is_ok(), "{id}");
        store.remove_writable(&id).unwrap();
    }
}

#[test]
fn killed_at_any_moment() {
    onggi_testkit::needs!("root");
    let dir = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut seen = 0;
    for round in 0..60 {
        let mut child = Command::new(&program)
            .args(["--exact", "the_one_that_is_killed", "--nocapture"])
            .env(STORE, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(2_000 + 1_300 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Snapshots::open(dir.path()).unwrap();
        let left = fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".tmp-"));
        assert_eq!(left.count(), 0, "round {round}");
        check(&store, dir.path());
        seen += store.layers().unwrap().len();
        let kept = store.prune::<Error>(Duration::from_secs(5), || Ok(HashSet::new())).unwrap();
        assert_eq!(kept.layers.len(), kept.layers.iter().collect::<HashSet<_>>().len());
    }
    assert!(seen > 0, "the child was always killed before it did anything");
}

#[test]
fn the_one_that_is_killed() {
    let Some(dir) = std::env::var_os(STORE) else { return };
    let store = Snapshots::open(dir).unwrap();
    for number in 0..1000 {
        let layers = [archive(number), archive(number + 1)].map(|bytes| {
            let diff_id = Digest::of(&bytes);
            let _lease = store.lease().unwrap();
            store.unpack(&diff_id, bytes.as_slice()).unwrap();
            diff_id
        });
        store.create_writable(&format!("c{number}"), &layers, Durability::Volatile).unwrap();
        drop(store.mount(&format!("c{number}"), Durability::Durable).unwrap());
        store.remove_writable(&format!("c{number}")).unwrap();
    }
}

/// Prune beside those who unpack and run: nobody who holds a lease loses a layer.
#[test]
fn prune_beside_unpack_and_run() {
    onggi_testkit::needs!("root");
    let dir = tempfile::tempdir().unwrap();
    let rounds = 40;
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let path = dir.path();
            scope.spawn(move || {
                let store = Snapshots::open(path).unwrap();
                for round in 0..rounds {
                    let lease = store.lease().unwrap();
                    let layers = [archive(round % 4), archive(round % 5 + 10)].map(|bytes| {
                        let diff_id = Digest::of(&bytes);
                        store.unpack(&diff_id, bytes.as_slice()).unwrap();
                        diff_id
                    });
                    let id = format!("w{worker}-{round}");
                    store.create_writable(&id, &layers, Durability::Volatile).unwrap();
                    drop(lease);
                    let mount = Root::from(store.mount(&id, Durability::Durable).unwrap());
                    assert!(mount.open_file(format!("some/where/{}-0", round % 4)).is_ok());
                    drop(mount);
                    store.remove_writable(&id).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let store = Snapshots::open(dir.path()).unwrap();
            for _ in 0..rounds {
                store.prune::<Error>(Duration::from_secs(30), || Ok(HashSet::new())).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
    });
    let store = Snapshots::open(dir.path()).unwrap();
    store.prune::<Error>(Duration::from_secs(5), || Ok(HashSet::new())).unwrap();
    assert!(store.layers().unwrap().is_empty());
}
