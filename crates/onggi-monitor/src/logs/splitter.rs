//! A stream of bytes cut into lines.

use super::entry::Stream;
use super::writer::Writer;

/// The longest piece of a line that is logged at once; Docker's number, which readers of its files rely on.
const PIECE: usize = 16 * 1024;

/// Cuts what is read from one stream into lines and keeps the last, unfinished one.
pub(crate) struct Splitter {
    stream: Stream,
    /// The beginning of a line whose end has not come yet: shorter than [`PIECE`].
    partial: Vec<u8>,
    /// When the first piece of the present line was seen: all pieces carry that time.
    since: Option<String>,
}

impl Splitter {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, partial: Vec::new(), since: None }
    }

    /// Logs the lines that `data` completes.
    pub(crate) fn write(&mut self, mut data: &[u8], to: &mut Writer) {
        while !data.is_empty() {
            let room = PIECE - self.partial.len();
            let window = &data[..data.len().min(room)];
            match window.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    self.line(&data[..end], to);
                    data = &data[end + 1..];
                }
                None if window.len() == room => {
                    self.piece(window, to);
                    data = &data[room..];
                }
                None => {
                    self.partial.extend_from_slice(window);
                    return;
                }
            }
        }
    }

    /// Logs what is left when the stream has ended.
    pub(crate) fn finish(&mut self, to: &mut Writer) {
        if !self.partial.is_empty() {
            self.piece(b"", to);
        }
        self.partial = Vec::new();
    }

    fn line(&mut self, end: &[u8], to: &mut Writer) {
        let time = self.since.take();
        if self.partial.is_empty() {
            to.append(self.stream, time.as_deref(), end, true);
        } else {
            self.partial.extend_from_slice(end);
            to.append(self.stream, time.as_deref(), &self.partial, true);
            self.partial.clear();
        }
    }

    fn piece(&mut self, end: &[u8], to: &mut Writer) {
        self.partial.extend_from_slice(end);
        let time = self.since.get_or_insert_with(crate::state::now);
        to.append(self.stream, Some(time), &self.partial, false);
        self.partial.clear();
    }

    /// Gives back memory that no unfinished line needs.
    pub(crate) fn shrink(&mut self) {
        self.partial.shrink_to_fit();
    }
}
