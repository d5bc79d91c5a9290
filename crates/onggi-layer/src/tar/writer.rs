//! Entries in, an archive out: ustar where it can say it, PAX where it cannot.

use std::io::{self, Read, Write};

use super::header::BLOCK;
use super::{Entry, Kind, Time, padding};

/// Writes an archive. The same entries always make the same bytes.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    buffer: Box<[u8]>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(output: W) -> Self {
        Self { output, buffer: vec![0; 128 * 1024].into_boxed_slice() }
    }

    /// Writes one entry; for a file, exactly `entry.size` bytes of `data`. Extents are not kept: holes become zeros.
    ///
    /// # Errors
    /// `UnexpectedEof` if `data` is shorter than the entry says; what is longer is cut off.
    pub fn append(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            self.extended_header(entry, &records)?;
        }
        self.output.write_all(&block(entry, type_flag(&entry.kind), stored(entry)))?;
        self.data(entry, data)
    }

    /// Writes the end of the archive and gives its output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        Ok(self.output)
    }

    fn extended_header(&mut self, entry: &Entry, records: &[u8]) -> io::Result<()> {
        let base = entry.path.rsplit(|&byte| byte == b'/').find(|part| !part.is_empty()).unwrap_or_default();
        let path = [b"PaxHeaders.0/", &base[..base.len().min(80)]].concat();
        let header = Entry { path, mode: 0o644, uid: 0, gid: 0, mtime: Time::default(), ..entry.clone() };
        self.output.write_all(&block(&header, b'x', records.len() as u64))?;
        self.output.write_all(records)?;
        self.pad(records.len() as u64)
    }

    fn data(&mut self, entry: &Entry, mut data: impl Read) -> io::Result<()> {
        let mut left = stored(entry);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            match data.read(&mut self.buffer[..want]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.output.write_all(&self.buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pad(stored(entry))
    }

    fn pad(&mut self, length: u64) -> io::Result<()> {
        let zeros = [0; BLOCK];
        let length = usize::try_from(padding(length)).unwrap_or(0);
        self.output.write_all(&zeros[..length])
    }
}

fn stored(entry: &Entry) -> u64 {
    if entry.kind == Kind::File { entry.size } else { 0 }
}

fn type_flag(kind: &Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink(_) => b'1',
        Kind::Symlink(_) => b'2',
        Kind::CharDevice(..) => b'3',
        Kind::BlockDevice(..) => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// The ustar block; what does not fit is cut short or zero here, and right in the extended header.
fn block(entry: &Entry, flag: u8, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (prefix, name) = split_path(&entry.path).unwrap_or((b"", &entry.path[..entry.path.len().min(100)]));
    put(&mut block[..100], name);
    put_octal(&mut block[100..108], u64::from(entry.mode));
    put_octal(&mut block[108..116], u64::from(entry.uid));
    put_octal(&mut block[116..124], u64::from(entry.gid));
    put_octal(&mut block[124..136], size);
    put_octal(&mut block[136..148], u64::try_from(entry.mtime.seconds).unwrap_or(0));
    block[156] = flag;
    if let (Kind::HardLink(target) | Kind::Symlink(target), b'1' | b'2') = (&entry.kind, flag) {
        put(&mut block[157..257], &target[..target.len().min(100)]);
    }
    block[257..265].copy_from_slice(b"ustar\x0000");
    if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = entry.kind {
        put_octal(&mut block[329..337], u64::from(major));
        put_octal(&mut block[337..345], u64::from(minor));
    }
    put(&mut block[345..500], prefix);
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    put_octal(&mut block[148..155], sum);
    block
}

fn put(field: &mut [u8], text: &[u8]) {
    field[..text.len()].copy_from_slice(text);
}

/// Octal digits and a NUL, zero where the field is too small.
fn put_octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let value = if fits(value, digits) { value } else { 0 };
    put(field, format!("{value:0digits$o}").as_bytes());
}

fn fits(value: u64, digits: usize) -> bool {
    u32::try_from(digits * 3).ok().and_then(|bits| value.checked_shr(bits)).unwrap_or(0) == 0
}

/// Prefix and name, if the path fits into ustar's two fields.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The slash of a directory's end belongs to its name.
    let slashes = path[..path.len() - 1].iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes
        .map(|(position, _)| (&path[..position], &path[position + 1..]))
        .find(|(prefix, name)| !prefix.is_empty() && prefix.len() <= 155 && name.len() <= 100)
}

/// The PAX records that `entry` needs, in the order of their keys.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &str, value: Vec<u8>| records.push((key.as_bytes().to_vec(), value));
    if entry.mtime.nanoseconds != 0 || u64::try_from(entry.mtime.seconds).map_or(true, |secs| !fits(secs, 11)) {
        add("mtime", decimal_time(entry.mtime));
    }
    if let Some(atime) = entry.atime {
        add("atime", decimal_time(atime));
    }
    for (key, value) in [("gid", entry.gid), ("uid", entry.uid)] {
        if !fits(u64::from(value), 7) {
            add(key, value.to_string().into_bytes());
        }
    }
    if !fits(stored(entry), 11) {
        add("size", entry.size.to_string().into_bytes());
    }
    if split_path(&entry.path).is_none() {
        add("path", entry.path.clone());
    }
    if let Kind::HardLink(target) | Kind::Symlink(target) = &entry.kind
        && target.len() > 100
    {
        add("linkpath", target.clone());
    }
    for (name, value) in &entry.xattrs {
        records.push(([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone()));
    }
    records.sort();
    records.iter().flat_map(|(key, value)| record(key, value)).collect()
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

fn decimal_time(time: Time) -> Vec<u8> {
    let Time { seconds, nanoseconds } = time;
    let text = match (seconds, nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        // PAX writes a number with a sign, so the fraction of a time before 1970 counts away from zero.
        (seconds, nanoseconds) if seconds < 0 => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        (seconds, nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
    };
    match nanoseconds {
        0 => text.into_bytes(),
        _ => text.trim_end_matches('0').as_bytes().to_vec(),
    }
}
