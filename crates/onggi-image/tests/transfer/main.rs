//! Pull and push: with Debian's registry and other tools' images, and against registries that lie.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests run programs and write scratch files")]

mod beside;
mod crash;
mod lies;
mod made;
mod peers;
mod resume;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use onggi_diag::Diagnose;
use onggi_image::{Event, Images, Phase, Progress, PullOptions, Pulled, TransferError};
use onggi_oci::Reference;
use onggi_registry::{Client, Config, Patience};
use tempfile::TempDir;

/// Images in directories of their own, which go with it.
struct Scratch {
    dir: TempDir,
    images: Images,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("onggi-transfer-").tempdir().unwrap();
        let images = Images::open(dir.path().join("images"), dir.path().join("layers")).unwrap();
        Self { dir, images }
    }

    fn pull(&self, name: &Reference) -> Result<Pulled, TransferError> {
        self.images.pull(&client(), name, &PullOptions::default(), &())
    }

    /// What lies in `dir` below it, by name.
    fn entries(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join(dir)) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Nothing that could be taken for an image, or for a part of one that is complete.
    #[track_caller]
    fn assert_nothing_half_made(&self) {
        assert_eq!(self.images.store().list().unwrap(), []);
        assert_eq!(self.entries("images/leases"), [""; 0]);
        self.assert_no_leftovers();
    }

    /// No work in progress that nobody is at, and no blob that is not what its name says.
    #[track_caller]
    fn assert_no_leftovers(&self) {
        let work: Vec<_> = self.entries("layers").into_iter().filter(|name| name.starts_with(".tmp")).collect();
        assert_eq!(work, [""; 0]);
        for digest in self.entries("images/blobs/sha256") {
            let content = std::fs::read(self.dir.path().join("images/blobs/sha256").join(&digest)).unwrap();
            assert_eq!(onggi_oci::Digest::of(&content).hex(), digest);
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A tree of unpacked layers has modes and names that a plain removal may stumble over.
        drop(std::process::Command::new("rm").arg("-rf").arg(self.dir.path()).status());
    }
}

fn client() -> Client {
    Client::new(Config { patience: quick(), ..Config::default() })
}

/// As patient as a test can be.
fn quick() -> Patience {
    Patience {
        connect: Duration::from_secs(2),
        answer: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        retries: 2,
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_secs(2),
    }
}

/// The error with its causes and its hint, as a user would read it.
fn told(error: &TransferError) -> String {
    let mut lines = onggi_diag::chain(error);
    lines.extend(error.hint().map(|hint| format!("hint: {hint}")));
    lines.join("\n")
}

/// Remembers how far each blob got in the end.
#[derive(Default)]
struct Watch {
    phases: Mutex<Vec<(String, Phase)>>,
}

impl Watch {
    fn last(&self) -> Vec<Phase> {
        let phases = self.phases.lock().unwrap();
        let mut last: Vec<(String, Phase)> = Vec::new();
        for (digest, phase) in phases.iter() {
            match last.iter_mut().find(|(known, _)| known == digest) {
                Some(entry) => entry.1 = *phase,
                None => last.push((digest.clone(), *phase)),
            }
        }
        last.into_iter().map(|(_, phase)| phase).collect()
    }
}

impl Progress for Watch {
    fn event(&self, event: Event<'_>) {
        if let Event::Blob { digest, phase } = event {
            self.phases.lock().unwrap().push((digest.to_string(), phase));
        }
    }
}

/// What the file `path` of an unpacked image says.
fn read_layer(scratch: &Scratch, diff_id: &onggi_oci::Digest, path: &str) -> String {
    let layer = format!("layers/diff/sha256-{}/fs", diff_id.hex());
    std::fs::read_to_string(scratch.path(&layer).join(Path::new(path))).unwrap()
}
