//! Pulls that end at any moment, and disks that are full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use onggi_diag::{Diagnose, Kind};
use onggi_image::{Images, PullOptions};
use onggi_oci::media_type;
use onggi_testkit::{captured, needs};

use crate::made::{Content, name, packed, tar};
use crate::{Scratch, client, read_layer, told};

/// A few megabytes that do not compress.
fn noise(seed: u32, length: u32) -> Vec<u8> {
    (0..length).flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes()).collect()
}

fn large() -> Content {
    let layers: Vec<_> = (1..6)
        .map(|seed| {
            let archive = tar("noise", &noise(seed, 400_000));
            let blob = packed(&archive, onggi_layer::Compression::Gzip);
            (archive, media_type::LAYER_GZIP, blob)
        })
        .collect();
    Content::of(&layers)
}

#[test]
#[ignore = "runs as a child of the test below"]
fn child() {
    let Ok(dir) = std::env::var("ONGGI_TEST_DIR") else { return };
    let image = std::env::var("ONGGI_TEST_IMAGE").unwrap().parse().unwrap();
    let dir = Path::new(&dir);
    let images = Images::open(dir.join("images"), dir.join("layers")).unwrap();
    images.pull(&client(), &image, &PullOptions::default(), &()).unwrap();
}

#[test]
fn killed_at_any_moment_a_pull_leaves_nothing_half_made() {
    needs!("root");
    let server = large().serve();
    let scratch = Scratch::new();
    let mut finished = 0;
    for round in 0..40_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--ignored"])
            .env("ONGGI_TEST_DIR", scratch.path(""))
            .env("ONGGI_TEST_IMAGE", name(&server).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(5 + round * 37 % 400));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        finished += u32::from(ended.success());
        // Whoever opens it next removes what was left, but for downloads that can be continued.
        drop(Images::open(scratch.path("images"), scratch.path("layers")).unwrap());
        let listed = scratch.images.store().list().unwrap();
        if listed.is_empty() {
            scratch.assert_no_leftovers();
        } else {
            let image = scratch.images.resolve(&name(&server).to_string()).unwrap();
            assert_eq!(scratch.entries("layers/diff").len(), image.diff_ids().len());
            scratch
                .images
                .remove(&name(&server).to_string(), onggi_image::RemoveOptions { force: true, in_use: &|_| None })
                .unwrap();
        }
    }
    eprintln!("{finished} of 40 pulls were through before they were killed");
    let pulled = scratch.pull(&name(&server)).unwrap();
    assert_eq!(pulled.image.diff_ids().len(), 5);
    assert_eq!(scratch.entries("images/ingest"), [""; 0]);
}

/// A file system of two megabytes, gone with it.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        captured(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at)).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_is_told_and_given_back() {
    needs!("root");
    let server = large().serve();
    for full in ["images", "layers"] {
        let dir = tempfile::tempdir().unwrap();
        let small = Small::mount(&dir.path().join(full), "2m");
        let images = Images::open(dir.path().join("images"), dir.path().join("layers")).unwrap();
        let error = images.pull(&client(), &name(&server), &PullOptions::default(), &()).unwrap_err();
        let text = told(&error);
        assert!(text.contains("ENOSPC"), "{text}");
        assert!(text.contains("cannot pull layer sha256:"), "{text}");
        assert_eq!(error.kind(), Kind::Unavailable, "{text}");
        assert_eq!(images.store().list().unwrap(), []);
        // There is room again when what could have been resumed is given up.
        let nobody = |_: &onggi_oci::Digest| None;
        images.prune(onggi_image::PruneOptions { all: false, in_use: &nobody }).unwrap();
        let room = std::fs::File::create(small.0.join("room"));
        room.and_then(|mut file| std::io::Write::write_all(&mut file, &[1; 64 << 10])).unwrap();
        drop(images);
        drop(small);
    }
}

#[test]
fn a_layer_that_got_lost_is_unpacked_again_by_a_pull() {
    let server = Content::usual().serve();
    let scratch = Scratch::new();
    let pulled = scratch.pull(&name(&server)).unwrap();
    let layer = scratch.path("layers/diff").join(format!("sha256-{}", pulled.image.diff_ids()[0].hex()));
    std::fs::remove_dir_all(layer).unwrap();
    assert!(scratch.pull(&name(&server)).unwrap().up_to_date);
    assert_eq!(read_layer(&scratch, &pulled.image.diff_ids()[0], "one"), "1");
}
