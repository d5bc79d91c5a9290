//! The built binary, asked as a user would ask it; a module per capability. What it does is checked against what the
//! kernel says, not against its own records.
#![expect(clippy::disallowed_methods, reason = "tests run programs and write scratch files; nothing here ships")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crash;
mod errors;
mod exec;
mod images;
mod lifecycle;
mod logs;
mod network;
mod registry;
mod rootless;
mod table;

use onggi_testkit::Onggi;

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_onggi");

/// A scratch onggi with the image `bb`, a static busybox whose command is `sh`.
fn with_busybox() -> Onggi {
    let onggi = Onggi::new(BINARY).unwrap();
    onggi.busybox("bb").unwrap();
    onggi
}
