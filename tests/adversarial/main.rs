//! Images and containers that were made to do harm, against the built binary. Each test names the row of the list of
//! attack classes that it stands for (A01 and so on) and what the class is known by.
#![expect(clippy::disallowed_methods, reason = "tests run programs and write scratch files; nothing here ships")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod identity;
mod mounts;
mod process;
mod surface;

use std::path::Path;

use onggi_testkit::{Onggi, Rootfs};

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_onggi");

/// A scratch onggi with the image `evil`: a busybox whose tree `change` has been at.
fn evil(change: impl FnOnce(&Path)) -> Onggi {
    evil_with(&[], change)
}

/// The same with lines of a Dockerfile for its configuration.
fn evil_with(changes: &[&str], change: impl FnOnce(&Path)) -> Onggi {
    let rootfs = Rootfs::busybox().unwrap().expect("needs a static busybox");
    change(rootfs.path());
    let onggi = Onggi::new(BINARY).unwrap();
    let archive = rootfs.tar().unwrap().to_string_lossy().into_owned();
    let changes = changes.iter().flat_map(|line| ["-c", line]);
    let words: Vec<&str> = ["import"].into_iter().chain(changes).chain([archive.as_str(), "evil"]).collect();
    onggi.run(words).ok().unwrap();
    onggi
}

/// Runs a script in `evil` without a network.
fn script(onggi: &Onggi, options: &[&str], text: &str) -> onggi_testkit::Outcome {
    let words = [&["run", "--rm", "--network", "none"], options, &["evil", "sh", "-c", text]].concat();
    onggi.run(words)
}
