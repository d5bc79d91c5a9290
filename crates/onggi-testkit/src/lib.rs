//! What the black-box tests share: a scratch [`Onggi`] with directories of its own, root file systems and images to run,
//! real [`Registry`] and [`Docker`] processes, and [`Machine`], a picture of what the kernel holds, to compare before
//! and after.
//!
//! Whatever is started or made here is ended and removed by a guard, also when the test fails. A test that lacks
//! something says so by [`skip`], which `cargo xtask test` collects.
#![expect(clippy::disallowed_methods, reason = "tests run programs and write scratch files; nothing here ships")]
#![expect(clippy::print_stderr, reason = "a skipped test says so aloud")]

mod docker;
mod fake;
mod machine;
mod onggi;
mod podman;
mod program;
mod registry;
mod rootfs;

pub use docker::Docker;
pub use fake::{FakeServer, Reply, Seen};
pub use machine::Machine;
pub use onggi::{Onggi, Outcome, User};
pub use podman::Podman;
pub use program::{captured, find, wait_until};
pub use registry::Registry;
pub use rootfs::{Rootfs, busybox, compile_static};

use std::io::Write as _;

/// Says aloud that `test` was left out, and why; `$ONGGI_SKIPS` collects the lines.
///
/// With `$ONGGI_NO_SKIPS` set, in a lane that promises everything, a skip is a failure.
pub fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("ONGGI_NO_SKIPS").is_none(), "{test} was left out: {why}");
    eprintln!("left out: {test}: {why}");
    if let Some(path) = std::env::var_os("ONGGI_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        if let Ok(mut file) = file {
            // A lost line loses a remark, not a test.
            let _ignored = writeln!(file, "{test}: {why}");
        }
    }
}

/// Returns from the test, saying so, unless all named things are there: `root`, or a program's name.
///
/// ```no_run
/// # fn test() {
/// onggi_testkit::needs!("root", "skopeo");
/// # }
/// ```
#[macro_export]
macro_rules! needs {
    ($($thing:expr),+ $(,)?) => {
        $(if let Some(why) = $crate::lacks($thing) {
            $crate::skip(concat!(module_path!(), ":", line!()), &why);
            return;
        })+
    };
}

/// Why `thing` is not to be had here; nothing if it is.
pub fn lacks(thing: &str) -> Option<String> {
    match thing {
        "root" => (program::effective_uid() != 0).then(|| "needs root".to_owned()),
        program => find(program).is_none().then(|| format!("needs the program {program}")),
    }
}
