//! A container's output on disk: the lines of Docker's `json-file`, in files that are rotated by size.
//!
//! ```text
//! containers/ID/log       being written; appended to by the monitor alone
//!               log.1     the one before it; log.2 is older still
//! ```
//!
//! A line is `{"log":"...\n","stream":"stdout","time":"2026-01-02T03:04:05.678Z"}`. Output without a newline is cut
//! every 16 KiB, and such a piece has no `\n` at its end. A file is renamed only when it is complete, so a reader that
//! meets the end of one it has open, and finds another under its name, has read all of it.

mod entry;
mod reader;
mod splitter;
mod writer;

pub use entry::{Entry, Stream};
pub use reader::{Options, Reader, read};
pub(crate) use splitter::Splitter;
pub(crate) use writer::Writer;

/// The file being written.
pub const FILE: &str = "log";

/// The name of the `age`-th file: 0 is being written.
pub fn file_name(age: u32) -> String {
    if age == 0 { FILE.to_owned() } else { format!("{FILE}.{age}") }
}
