//! The log file as its one writer sees it.

use std::os::fd::OwnedFd;

use onggi_fs::Root;
use onggi_sys::file::{self, AtFlags, Mode, OFlags, RenameFlags};
use onggi_sys::{Errno, Error, Result};

use super::entry::{Stream, encode};
use super::file_name;
use crate::launch::LogLimits;

/// Appends lines to a container's log and rotates it.
///
/// Lines gather in memory and reach the file by [`Writer::flush`], which the monitor calls once for each read from a
/// pipe: a write per batch, and nothing held back while the container is quiet.
pub(crate) struct Writer {
    dir: Root,
    limits: LogLimits,
    file: Option<OwnedFd>,
    /// Bytes in the file, without what is in `buffer`.
    size: u64,
    buffer: Vec<u8>,
    clock: Clock,
    /// The first failure to write: a full disk must not end the container, and is told once, when it ends.
    failure: Option<Error>,
}

impl Writer {
    /// Opens the log of the container in `dir`, to append.
    pub(crate) fn open(dir: Root, limits: LogLimits) -> Result<Self> {
        let mut this =
            Self { dir, limits, file: None, size: 0, buffer: Vec::new(), clock: Clock::new(), failure: None };
        if limits.max_files > 0 {
            this.open_file()?;
        }
        Ok(this)
    }

    /// Adds a line to the batch.
    pub(super) fn append(&mut self, stream: Stream, time: Option<&str>, text: &[u8], newline: bool) {
        if self.file.is_none() {
            return;
        }
        let before = self.buffer.len();
        let time = match time {
            Some(time) => time,
            None => self.clock.now(),
        };
        encode(&mut self.buffer, stream, time, text, newline);
        if self.size + self.buffered() > self.limits.max_size && (self.size > 0 || before > 0) {
            let line = self.buffer.split_off(before);
            self.flush();
            self.rotate();
            self.buffer = line;
        }
    }

    /// Writes the batch to the file.
    pub(crate) fn flush(&mut self) {
        let Some(file) = &self.file else { return };
        if self.buffer.is_empty() {
            return;
        }
        match file::write_all(file, &self.buffer) {
            Ok(()) => self.size += self.buffered(),
            Err(error) => {
                // Part of the batch may be there, its last line torn; readers skip a line that is none.
                let torn = file::write_all(file, b"\n");
                self.size = file::stat(file).map_or(self.size, |stat| stat.st_size.unsigned_abs());
                self.failure.get_or_insert(torn.err().unwrap_or(error));
            }
        }
        self.buffer.clear();
    }

    /// Gives the batch's memory back.
    pub(crate) fn shrink(&mut self) {
        self.flush();
        self.buffer = Vec::new();
    }

    /// Writes the rest; what could not be written, if anything could not.
    pub(crate) fn close(&mut self) -> Option<Error> {
        self.flush();
        self.file = None;
        self.failure.take()
    }

    fn buffered(&self) -> u64 {
        u64::try_from(self.buffer.len()).unwrap_or(u64::MAX)
    }

    fn open_file(&mut self) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW;
        let opened = file::open(&self.dir, file_name(0), flags, Mode::RUSR | Mode::WUSR)?;
        self.size = file::stat(&opened)?.st_size.unsigned_abs();
        self.file = Some(opened);
        Ok(())
    }

    /// Makes every file one older, drops the oldest, begins a new one.
    fn rotate(&mut self) {
        if let Err(error) = self.shift().and_then(|()| self.open_file()) {
            self.failure.get_or_insert(error);
        }
    }

    fn shift(&self) -> Result<()> {
        let oldest = self.limits.max_files - 1;
        if oldest == 0 {
            return file::unlink(&self.dir, file_name(0), AtFlags::empty());
        }
        for age in (0..oldest).rev() {
            match file::rename(&self.dir, file_name(age), &self.dir, file_name(age + 1), RenameFlags::empty()) {
                Err(error) if !error.is(Errno::NOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The time as text; the part before the fraction is made once a second.
struct Clock {
    second: i64,
    text: String,
    prefix: usize,
}

impl Clock {
    fn new() -> Self {
        Self { second: i64::MIN, text: String::new(), prefix: 0 }
    }

    fn now(&mut self) -> &str {
        use std::fmt::Write as _;
        let now = jiff::Timestamp::now();
        if now.as_second() != self.second {
            let whole = jiff::Timestamp::from_second(now.as_second()).unwrap_or_default();
            self.text = whole.to_string();
            self.prefix = self.text.len() - 1;
            self.second = now.as_second();
        }
        self.text.truncate(self.prefix);
        let nanos = now.subsec_nanosecond();
        if nanos > 0 {
            // Writing to a String cannot fail.
            let _infallible = write!(self.text, ".{nanos:09}");
            self.text.truncate(self.text.trim_end_matches('0').len());
        }
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::super::Splitter;
    use super::*;

    fn scratch(max_size: u64, max_files: u32) -> (tempfile::TempDir, Writer) {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(Root::open(dir.path()).unwrap(), LogLimits { max_size, max_files }).unwrap();
        (dir, writer)
    }

    #[test]
    fn stays_under_its_cap_and_keeps_lines_whole() {
        let (dir, mut writer) = scratch(1000, 3);
        let mut splitter = Splitter::new(Stream::Stdout);
        for number in 0..500 {
            splitter.write(format!("line {number}\n").as_bytes(), &mut writer);
            writer.flush();
        }
        assert_eq!(writer.close(), None);
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        for name in names {
            let text = std::fs::read_to_string(dir.path().join(&name)).unwrap();
            assert!(text.len() <= 1000 && text.ends_with("\"}\n"), "{name}");
        }
    }

    #[test]
    fn a_long_line_is_cut_at_sixteen_kibibytes() {
        let (dir, mut writer) = scratch(1 << 20, 1);
        let mut splitter = Splitter::new(Stream::Stdout);
        let long = vec![b'x'; 40_000];
        for chunk in long.chunks(7001) {
            splitter.write(chunk, &mut writer);
        }
        splitter.write(b"\nshort\nlast", &mut writer);
        splitter.finish(&mut writer);
        assert_eq!(writer.close(), None);
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        let entries: Vec<_> = text.lines().map(|line| super::super::Entry::parse(line.as_bytes()).unwrap()).collect();
        let lengths: Vec<usize> = entries.iter().map(|entry| entry.log.len()).collect();
        assert_eq!(lengths, [16384, 16384, 40_000 - 2 * 16384 + 1, 6, 4]);
        assert_eq!(entries[0].time, entries[2].time);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_piece_and_an_end() {
        let (dir, mut writer) = scratch(1 << 20, 1);
        let mut splitter = Splitter::new(Stream::Stdout);
        splitter.write(&[vec![b'y'; 16384], b"\n".to_vec()].concat(), &mut writer);
        assert_eq!(writer.close(), None);
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn no_files_means_no_log() {
        let (dir, mut writer) = scratch(1000, 0);
        Splitter::new(Stream::Stdout).write(b"x\n", &mut writer);
        assert_eq!(writer.close(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_clock_says_what_the_library_says() {
        let mut clock = Clock::new();
        for _ in 0..1000 {
            let before = jiff::Timestamp::now();
            let text = clock.now().to_owned();
            let parsed: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert!(before <= parsed && parsed <= jiff::Timestamp::now());
        }
    }
}
