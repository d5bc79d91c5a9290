//! Headers in, entries out.

use std::io::{self, BufRead, Read};

use super::header::{BLOCK, Header};
use super::pax::Records;
use super::{Dialect, Entry, Error, Kind, Limits, Time, padding, read_block, sparse};

/// Reads the archive in a stream, entry by entry.
///
/// The data of the current entry is what the reader itself yields as [`BufRead`], stored bytes only (of a sparse
/// file: its extents one after the other). What is left of it is skipped by the next [`Reader::next_entry`].
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    limits: Limits,
    /// Stored bytes of the current entry not read yet.
    left: u64,
    /// Bytes that fill the current entry up to a block.
    padding: u64,
    entries: u64,
    global: Records,
    ended: bool,
}

/// Headers that only describe the entry after them.
#[derive(Default)]
struct Ahead {
    pax: Option<Records>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    /// Begins at the start of an archive.
    pub fn new(input: R, limits: Limits) -> Self {
        Self { input, limits, left: 0, padding: 0, entries: 0, global: Records::default(), ended: false }
    }

    /// The next entry; `None` at the end of the archive, when all of the stream has been read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.skip_rest()?;
        let mut ahead = Ahead::default();
        let mut block = [0; BLOCK];
        while self.read_header(&mut block)? {
            self.count()?;
            let header = Header::check(&block)?;
            if !self.take_ahead(&header, &mut ahead)? {
                return self.entry(&block, &header, ahead).map(Some);
            }
        }
        if ahead.pax.is_some() || ahead.path.is_some() || ahead.link.is_some() {
            return Err(Error::Truncated);
        }
        self.ended = true;
        self.drain()?;
        Ok(None)
    }

    /// The stream behind the archive.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn count(&mut self) -> Result<(), Error> {
        self.entries += 1;
        let limit = self.limits.entries;
        if self.entries > limit { Err(Error::Limit { what: "more entries", limit }) } else { Ok(()) }
    }

    /// Whether there is another header: an archive ends with two blocks of zeros, or where its stream ends.
    fn read_header(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Error> {
        if self.input.fill_buf().map_err(Error::Read)?.is_empty() {
            return Ok(false);
        }
        read_block(&mut self.input, block)?;
        Ok(block.iter().any(|&byte| byte != 0))
    }

    /// Takes in a header that describes the next one; false if `header` is an entry's own.
    fn take_ahead(&mut self, header: &Header<'_>, ahead: &mut Ahead) -> Result<bool, Error> {
        match header.type_flag() {
            b'x' | b'X' => {
                let records = self.records(header)?;
                ahead.pax = Some(records);
            }
            b'g' => {
                let records = self.records(header)?;
                if records.names_one_file() {
                    return Err(Error::Pax { key: "path or size in a global header".into() });
                }
                self.global = records.over(&self.global);
            }
            b'L' => ahead.path = Some(self.long_name(header)?),
            b'K' => ahead.link = Some(self.long_name(header)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn records(&mut self, header: &Header<'_>) -> Result<Records, Error> {
        let records = Records::parse(&self.extension(header)?)?;
        let limit = self.limits.xattr;
        match records.xattrs.iter().any(|(_, value)| value.len() > limit) {
            true => Err(Error::Limit { what: "an extended attribute", limit: limit as u64 }),
            false => Ok(records),
        }
    }

    fn long_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Error> {
        let mut name = self.extension(header)?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    /// The data of a header that is not an entry.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Error> {
        let (size, limit) = (header.size()?, self.limits.header);
        let length = usize::try_from(size).ok().filter(|&length| length <= limit);
        let length = length.ok_or(Error::Limit { what: "an extended header", limit: limit as u64 })?;
        let mut data = vec![0; length];
        read_block(&mut self.input, &mut data)?;
        self.padding = padding(size);
        self.skip_rest()?;
        Ok(data)
    }

    fn entry(&mut self, block: &[u8; BLOCK], header: &Header<'_>, ahead: Ahead) -> Result<Entry, Error> {
        let pax = ahead.pax.unwrap_or_default().over(&self.global);
        let link = pax.link.or(ahead.link).unwrap_or_else(|| header.link());
        let mut path = pax.path.or(ahead.path).unwrap_or_else(|| header.path());
        let kind = kind(header, &path, link)?;
        let stored = match kind {
            Kind::File => pax.size.map_or_else(|| header.size(), Ok)?,
            // The size of anything else says nothing about data that follows, whatever it says.
            _ => 0,
        };
        (self.left, self.padding) = (stored, padding(stored));
        let mut size = stored;
        let mut extents = None;
        if header.type_flag() == b'S' {
            if header.dialect() != Dialect::Gnu {
                return Err(Error::Type { flag: b'S' });
            }
            let (real, map) = sparse::read_old(block, &mut self.input)?;
            (size, extents) = (real, Some(sparse::check(map, real, stored)?));
        } else if pax.sparse.is_used() && kind == Kind::File {
            let real = pax.sparse.real_size.ok_or(Error::Sparse)?;
            let map = match (pax.sparse.major, pax.sparse.minor) {
                (Some(1), Some(0)) => {
                    let (taken, map) = sparse::read_1_0(&mut self.input, stored)?;
                    self.left -= taken;
                    map
                }
                (None | Some(0), _) => pax.sparse.map.ok_or(Error::Sparse)?,
                _ => return Err(Error::Sparse),
            };
            (size, extents) = (real, Some(sparse::check(map, real, self.left)?));
            path = pax.sparse.name.unwrap_or(path);
        }
        let entry = Entry {
            path,
            kind,
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime().map(|seconds| Time { seconds, nanoseconds: 0 }), Ok)?,
            atime: pax.atime,
            size,
            extents,
            xattrs: pax.xattrs,
        };
        self.check_limits(&entry)?;
        Ok(entry)
    }

    fn check_limits(&self, entry: &Entry) -> Result<(), Error> {
        let limit = self.limits.path;
        let link = match &entry.kind {
            Kind::HardLink(target) | Kind::Symlink(target) => target.len(),
            _ => 0,
        };
        if entry.path.len() > limit || link > limit {
            return Err(Error::Limit { what: "a path", limit: limit as u64 });
        }
        if entry.size > self.limits.file {
            return Err(Error::Limit { what: "a file", limit: self.limits.file });
        }
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        let padding = std::mem::take(&mut self.padding);
        let mut left = std::mem::take(&mut self.left) + padding;
        while left > 0 {
            let available = self.input.fill_buf().map_err(Error::Read)?.len();
            if available == 0 {
                // Some writers (umoci's `insert`) end right behind the last file's data: nothing of it is missing.
                return if left <= padding { Ok(()) } else { Err(Error::Truncated) };
            }
            let step = available.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.input.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    /// Reads what is behind the end marker, which must be filling.
    fn drain(&mut self) -> Result<(), Error> {
        loop {
            let buffer = self.input.fill_buf().map_err(Error::Read)?;
            if buffer.iter().any(|&byte| byte != 0) {
                return Err(Error::Trailing);
            }
            match buffer.len() {
                0 => return Ok(()),
                length => self.input.consume(length),
            }
        }
    }
}

impl<R: BufRead> BufRead for Reader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let buffer = self.input.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, Error::Truncated));
        }
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        Ok(&buffer[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.left -= amount as u64;
        self.input.consume(amount);
    }
}

impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(out.len());
        out[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}

fn kind(header: &Header<'_>, path: &[u8], link: Vec<u8>) -> Result<Kind, Error> {
    Ok(match header.type_flag() {
        // Before there were types, a directory was a name that ends in a slash.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink(link),
        b'2' => Kind::Symlink(link),
        b'3' => header.device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        b'4' => header.device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        flag => return Err(Error::Type { flag }),
    })
}
