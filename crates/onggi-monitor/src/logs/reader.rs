//! A container's log as its readers see it, while it is written and rotated.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use onggi_fs::Root;
use onggi_sys::file::{self, Mode, OFlags};
use onggi_sys::{Errno, Error, Result};

use super::entry::{Entry, Stream};
use super::file_name;
use crate::state::State;

/// What a reader wants of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whether to wait for more until the container has ended.
    pub follow: bool,
    /// The last so many lines only.
    pub tail: Option<usize>,
    /// Nothing from before.
    pub since: Option<Timestamp>,
    /// Nothing from after; a follower ends there.
    pub until: Option<Timestamp>,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

impl Default for Options {
    /// All there is, without waiting.
    fn default() -> Self {
        Self { follow: false, tail: None, since: None, until: None, stdout: true, stderr: true }
    }
}

/// How often a follower looks for more. Nobody is told of an append to a file by the kernel without a watch that
/// rotation would have to keep up with; ten looks a second cost less than that.
const LOOK: Duration = Duration::from_millis(100);

/// A rotation between two looks at the names moves every file; to be unlucky this often means something else is wrong.
const ATTEMPTS: usize = 16;

/// Reads the log of the container in `dir`, oldest line first.
///
/// # Errors
/// When the directory cannot be opened; a log that does not exist is an empty one.
pub fn read(dir: &Path, options: Options) -> Result<Reader> {
    let dir = Root::open(dir)?;
    let mut reader = Reader { dir, options, current: None, line: Vec::new(), ready: VecDeque::new(), ended: false };
    reader.begin()?;
    Ok(reader)
}

/// The lines of a log; an iterator that a follower may wait in.
pub struct Reader {
    dir: Root,
    options: Options,
    current: Option<Open>,
    /// The beginning of a line that the writer has not finished.
    line: Vec<u8>,
    /// What a tail has gathered.
    ready: VecDeque<Entry>,
    /// Whether the container has ended, so that the next end of file is the last.
    ended: bool,
}

/// A file of the log and which one it is.
struct Open {
    file: BufReader<std::fs::File>,
    inode: u64,
}

impl Reader {
    /// Opens the oldest file, and for a tail reads up to its first line.
    fn begin(&mut self) -> Result<()> {
        self.current = self.oldest()?;
        if let Some(count) = self.options.tail {
            self.skip_to_tail(count)?;
        }
        Ok(())
    }

    /// Goes through what is there, keeping the last `count` lines.
    fn skip_to_tail(&mut self, count: usize) -> Result<()> {
        self.seek_near_tail(count)?;
        let mut last = VecDeque::new();
        while let Some(entry) = self.next_present()? {
            last.push_back(entry);
            if last.len() > count {
                last.pop_front();
            }
        }
        self.ready = last;
        Ok(())
    }

    /// Finds, from the end backwards, the file and offset after which there are at least `count` lines, so that a
    /// tail of ten does not parse thirty megabytes.
    fn seek_near_tail(&mut self, count: usize) -> Result<()> {
        let mut wanted = count;
        for age in 0.. {
            let Some(mut open) = self.open_age(age)? else { return Ok(()) };
            let (offset, lines) = from_the_end(open.file.get_mut(), wanted)?;
            open.file.seek(SeekFrom::Start(offset)).map_err(|error| failed(&error))?;
            self.current = Some(open);
            if lines >= wanted {
                return Ok(());
            }
            wanted -= lines;
        }
        Ok(())
    }

    /// The next line that is wanted and there now; `None` at the present end.
    fn next_present(&mut self) -> Result<Option<Entry>> {
        loop {
            if !self.read_line()? {
                if !self.next_file()? {
                    return Ok(None);
                }
                continue;
            }
            let entry = Entry::parse(&self.line);
            self.line.clear();
            match entry {
                Some(entry) if self.is_wanted(&entry) => return Ok(Some(entry)),
                _ => {}
            }
        }
    }

    /// Gathers a whole line; `false` if there is none yet.
    fn read_line(&mut self) -> Result<bool> {
        let Some(open) = &mut self.current else { return Ok(false) };
        open.file.read_until(b'\n', &mut self.line).map_err(|error| failed(&error))?;
        if self.line.last() != Some(&b'\n') {
            return Ok(false);
        }
        self.line.pop();
        Ok(true)
    }

    /// Goes on to the file after the present one; `false` if the present one is the newest.
    fn next_file(&mut self) -> Result<bool> {
        let Some(inode) = self.current.as_ref().map(|open| open.inode) else {
            self.current = self.oldest()?;
            return Ok(self.current.is_some());
        };
        for _ in 0..ATTEMPTS {
            let Some(age) = self.age_of(inode)? else {
                // Rotated away while we read it: go on with the oldest that is left.
                self.current = self.oldest()?;
                self.line.clear();
                return Ok(self.current.is_some());
            };
            if age == 0 {
                return Ok(false);
            }
            // It has been renamed, so it is complete; but lines may have come between our last read and the renaming.
            if self.has_more()? {
                return Ok(true);
            }
            // The next one, unless all have moved on once more since we looked.
            if let Some(next) = self.open_age(age - 1)?
                && self.age_of(inode)? == Some(age)
            {
                self.current = Some(next);
                self.line.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has_more(&mut self) -> Result<bool> {
        let Some(open) = &mut self.current else { return Ok(false) };
        open.file.fill_buf().map(|bytes| !bytes.is_empty()).map_err(|error| failed(&error))
    }

    fn age_of(&self, inode: u64) -> Result<Option<u32>> {
        for age in 0.. {
            match file::stat_at(&self.dir, file_name(age)) {
                Ok(stat) if stat.st_ino == inode => return Ok(Some(age)),
                Ok(_) => {}
                // A gap at 0 is a rotation under way: the new file is not there yet.
                Err(error) if error.is(Errno::NOENT) && age > 0 => return Ok(None),
                Err(error) if error.is(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn oldest(&self) -> Result<Option<Open>> {
        let mut found = self.open_age(0)?;
        for age in 1.. {
            match self.open_age(age)? {
                Some(older) => found = Some(older),
                None => break,
            }
        }
        Ok(found)
    }

    fn open_age(&self, age: u32) -> Result<Option<Open>> {
        let opened: OwnedFd =
            match file::open(&self.dir, file_name(age), OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()) {
                Err(error) if error.is(Errno::NOENT) => return Ok(None),
                other => other?,
            };
        let inode = file::stat(&opened)?.st_ino;
        Ok(Some(Open { file: BufReader::new(opened.into()), inode }))
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        let stream = match entry.stream {
            Stream::Stdout => self.options.stdout,
            Stream::Stderr => self.options.stderr,
        };
        let (since, until) = (self.options.since, self.options.until);
        if !stream || (since.is_none() && until.is_none()) {
            return stream;
        }
        entry
            .timestamp()
            .is_some_and(|time| since.is_none_or(|since| time >= since) && until.is_none_or(|until| time <= until))
    }

    /// Whether a follower that has met the end is done.
    fn is_over(&mut self) -> Result<bool> {
        if self.ended || self.options.until.is_some_and(|until| Timestamp::now() > until) {
            return Ok(true);
        }
        // What was written before the end was recorded is read in one more round.
        self.ended = match State::load(&self.dir) {
            Ok(state) => !state.status.is_active(),
            Err(error) if error.is(Errno::NOENT) => true,
            Err(error) => return Err(error),
        };
        Ok(false)
    }

    fn advance(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            if let Some(entry) = self.next_present()? {
                return Ok(Some(entry));
            }
            if !self.options.follow || self.is_over()? {
                return Ok(None);
            }
            if !self.ended {
                std::thread::sleep(LOOK);
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The offset of the `wanted`-th line from the end, and how many there are from there on (fewer if the file is short).
fn from_the_end(file: &mut std::fs::File, wanted: usize) -> Result<(u64, usize)> {
    use std::os::unix::fs::FileExt;
    const BLOCK: usize = 64 * 1024;
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let (mut at, mut lines) = (size, 0);
    if wanted == 0 {
        return Ok((size, 0));
    }
    let mut block = vec![0; BLOCK];
    while at > 0 {
        let length = usize::try_from(at).unwrap_or(BLOCK).min(BLOCK);
        at -= u64::try_from(length).unwrap_or(0);
        let block = &mut block[..length];
        file.read_exact_at(block, at).map_err(|error| failed(&error))?;
        for index in (0..length).rev().filter(|&index| block[index] == b'\n') {
            // A newline ends a line; the line after it begins one further.
            if lines == wanted {
                return Ok((at + u64::try_from(index).unwrap_or(0) + 1, lines));
            }
            lines += 1;
        }
    }
    Ok((0, lines))
}

fn failed(error: &std::io::Error) -> Error {
    let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    Error::new("read", super::FILE, errno)
}

#[cfg(test)]
mod tests {
    use super::super::{Splitter, Writer};
    use super::*;
    use crate::launch::LogLimits;
    use crate::state::Status;
    use onggi_fs::Durability;

    struct Log {
        dir: tempfile::TempDir,
        writer: Writer,
        splitter: Splitter,
    }

    impl Log {
        fn new(max_size: u64, max_files: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let writer = Writer::open(Root::open(dir.path()).unwrap(), LogLimits { max_size, max_files }).unwrap();
            Self { dir, writer, splitter: Splitter::new(Stream::Stdout) }
        }

        fn write(&mut self, text: &str) {
            self.splitter.write(text.as_bytes(), &mut self.writer);
            self.writer.flush();
        }

        fn read(&self, options: Options) -> Vec<String> {
            read(self.dir.path(), options).unwrap().map(|entry| entry.unwrap().log).collect()
        }

        fn set(&self, status: Status) {
            let state = State { status, ..State::created() };
            state.save(Root::open(self.dir.path()).unwrap(), Durability::Volatile).unwrap();
        }
    }

    #[test]
    fn reads_across_files_and_tails_across_them() {
        let mut log = Log::new(300, 50);
        for number in 0..20 {
            log.write(&format!("{number}\n"));
        }
        let all: Vec<String> = (0..20).map(|number| format!("{number}\n")).collect();
        assert_eq!(log.read(Options::default()), all);
        for tail in [0, 1, 5, 19, 20, 1000] {
            let from = 20_usize.saturating_sub(tail);
            assert_eq!(log.read(Options { tail: Some(tail), ..Options::default() }), all[from..], "{tail}");
        }
    }

    #[test]
    fn a_window_of_time_and_streams() {
        let mut log = Log::new(1 << 20, 2);
        log.write("one\n");
        let middle = Timestamp::now();
        std::thread::sleep(Duration::from_millis(2));
        log.write("two\n");
        Splitter::new(Stream::Stderr).write(b"three\n", &mut log.writer);
        log.writer.flush();
        assert_eq!(log.read(Options { since: Some(middle), ..Options::default() }), ["two\n", "three\n"]);
        assert_eq!(log.read(Options { until: Some(middle), ..Options::default() }), ["one\n"]);
        assert_eq!(log.read(Options { stdout: false, ..Options::default() }), ["three\n"]);
    }

    #[test]
    fn no_log_is_an_empty_one_and_a_torn_line_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), Options::default()).unwrap().count(), 0);
        std::fs::File::create(dir.path().join("log")).unwrap();
        let mut log = Log::new(1 << 20, 1);
        std::io::Write::write_all(
            &mut std::fs::OpenOptions::new().append(true).open(log.dir.path().join("log")).unwrap(),
            b"{\"log\":\"tor\n",
        )
        .unwrap();
        log.write("whole\n");
        assert_eq!(log.read(Options::default()), ["whole\n"]);
    }

    #[test]
    fn a_follower_sees_every_line_of_a_log_that_rotates_under_it() {
        let mut log = Log::new(2000, 40);
        log.set(Status::Running);
        let path = log.dir.path().to_owned();
        let follower = std::thread::spawn(move || {
            let options = Options { follow: true, ..Options::default() };
            read(&path, options).unwrap().map(|entry| entry.unwrap().log).collect::<Vec<_>>()
        });
        for number in 0..700 {
            log.write(&format!("{number}\n"));
            if number % 50 == 0 {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
        log.set(Status::Exited);
        let seen = follower.join().unwrap();
        let all: Vec<String> = (0..700).map(|number| format!("{number}\n")).collect();
        assert_eq!(seen, all);
    }
}
