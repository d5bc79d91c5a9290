//! A writer that is killed at any moment, and a disk that is full: what is there afterwards is whole.
//!
//! The other process of each test is this very program, told by a variable what to be.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "runs itself, fills a disk")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use onggi_diag::{Diagnose, Kind};
use onggi_oci::{Descriptor, ImageManifest, Manifest, Reference, media_type};
use onggi_store::{Begun, CollectOptions, Lease, Store, StoreError};
use onggi_sys::Errno;
use onggi_testkit::needs;

/// Names the directory to work in, to the process that shall.
const ROLE: &str = "ONGGI_STORE_TEST_IN";

fn role() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn image(lease: &Lease<'_>, number: u32) -> Descriptor {
    let layer = format!("layer {number} ").repeat(20_000);
    let layer = lease.put_stream(media_type::LAYER, layer.as_bytes()).unwrap();
    let config = lease.put(media_type::IMAGE_CONFIG, format!("config {number}").as_bytes()).unwrap();
    let manifest = ImageManifest::new(config, vec![layer]);
    lease.put(media_type::IMAGE_MANIFEST, &serde_json::to_vec(&manifest).unwrap()).unwrap()
}

/// Does all that changes a store, over and over.
fn work(dir: &Path) {
    for number in 0.. {
        let store = Store::open(dir).unwrap();
        let lease = store.lease().unwrap();
        let target = image(&lease, number % 7);
        store.tag(&name(&format!("n{}", number % 5)), &target).unwrap();
        drop(lease);
        if number % 3 == 0 {
            store.untag(&name(&format!("n{}", number % 4))).unwrap();
            store.collect(&CollectOptions::default()).unwrap();
        }
    }
}

/// Whatever has a name is there to its last byte.
fn check(store: &Store) {
    for entry in store.list().unwrap() {
        let Manifest::Image(manifest) = store.manifest(&entry.descriptor).unwrap() else { panic!() };
        for blob in manifest.blobs() {
            store.open_described(blob).unwrap().verified().drain().unwrap();
        }
    }
}

#[test]
fn killed_at_any_moment_nothing_is_half() {
    if let Some(dir) = role() {
        return work(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    let mut most = 0;
    for round in 0..40_u64 {
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed_at_any_moment_nothing_is_half"])
            .env(ROLE, &images)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(3 + round * 37 % 120));
        worker.kill().unwrap();
        worker.wait().unwrap();
        let store = Store::open(&images).unwrap();
        check(&store);
        most = most.max(store.list().unwrap().len());
    }
    assert!(most > 1, "it was always killed too early");
    let store = Store::open(&images).unwrap();
    store
        .edit_names(|names| {
            let digests: Vec<_> = names.entries().map(|entry| entry.descriptor.digest).collect();
            digests.iter().for_each(|digest| drop(names.forget(digest)));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    store.collect(&CollectOptions { give_up_after: Duration::ZERO }).unwrap();
    let mut left: Vec<String> = Vec::new();
    for part in ["", "blobs/sha256", "ingest", "leases"] {
        let entries = std::fs::read_dir(images.join(part)).unwrap();
        left.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    left.sort();
    assert_eq!(left, [".collect.lock", ".names.lock", "blobs", "index.json", "ingest", "leases", "oci-layout"]);
}

fn is_full(error: &StoreError) -> bool {
    let full = matches!(error, StoreError::System { source, .. } if source.is(Errno::NOSPC));
    full && error.kind() == Kind::Unavailable && error.hint().is_some()
}

/// On a file system of 4 MiB.
fn fill(dir: &Path) {
    let store = Store::open(dir.join("images")).unwrap();
    let lease = store.lease().unwrap();
    let kept = image(&lease, 1);
    store.tag(&name("kept"), &kept).unwrap();
    let used = || std::fs::read_dir(dir.join("images/ingest")).unwrap().count();

    let large = vec![1; 8 << 20];
    let descriptor = Descriptor::of(media_type::LAYER, &large);
    let Begun::Ingest(mut ingest) = lease.ingest(&descriptor).unwrap() else { panic!() };
    let error = large.chunks(1 << 16).find_map(|chunk| ingest.append(chunk).err()).unwrap();
    assert!(is_full(&error) && error.to_string().contains(descriptor.digest.as_str()), "{error}");
    assert!(ingest.append(b"more").is_err() && ingest.commit().is_err());
    assert_eq!((used(), store.has(&descriptor.digest).unwrap()), (0, false));

    let error = lease.put_stream(media_type::LAYER, &large[..]).unwrap_err().downcast::<StoreError>().unwrap();
    assert!(is_full(&error), "{error}");
    assert_eq!(used(), 0);

    // Not one block left: names cannot change, and are as they were.
    let filler = dir.join("filler");
    drop(std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap()));
    assert!(is_full(&store.tag(&name("new"), &kept).unwrap_err()));
    assert!(is_full(&lease.put(media_type::IMAGE_CONFIG, &large[..9000]).unwrap_err()));
    assert_eq!(store.list().unwrap().len(), 1);
    check(&store);
    std::fs::remove_file(filler).unwrap();
    store.tag(&name("new"), &kept).unwrap();
    assert_eq!(store.list().unwrap().len(), 2);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if let Some(dir) = role() {
        return fill(&dir);
    }
    needs!("root", "unshare", "mount");
    let dir = tempfile::tempdir().unwrap();
    // The mount goes with the namespace, and that with the process.
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$1" && exec "$2" --exact a_full_disk_is_told_and_leaves_nothing"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script, "sh"]);
    command.arg(dir.path()).arg(std::env::current_exe().unwrap()).env(ROLE, dir.path());
    println!("{}", onggi_testkit::captured(&mut command).unwrap());
}
