//! Layers: written in one go into the store, from whatever there is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::path::Path;
use std::thread::ScopedJoinHandle;

use onggi_layer::compression;
use onggi_layer::tar::{Entry, Extent, Kind, Limits, Reader, Time, Writer};
use onggi_layer::{Compression, Decoder, Encoder};
use onggi_oci::{Algorithm, Descriptor, Digest, Hasher, media_type};
use onggi_store::{Lease, StoreError};

use super::BootstrapError;
use super::elf::Machine;

/// A layer in the store.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) blob: Descriptor,
    /// The digest of the archive inside.
    pub(super) diff_id: Digest,
}

/// What was seen of a root file system that was taken whole.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) entries: u64,
    pub(super) size: u64,
    pub(super) newest: i64,
    /// What the first program in it runs on.
    pub(super) machine: Option<Machine>,
    shell: bool,
    /// Whether `bin` is a link to `usr/bin`, and whether a shell is there.
    merged: bool,
    merged_shell: bool,
}

impl Seen {
    /// Notes an entry; `head` is how its data begins.
    pub(super) fn note(&mut self, entry: &Entry, head: &[u8]) {
        self.entries += 1;
        self.newest = self.newest.max(entry.mtime.seconds);
        if entry.kind == Kind::File {
            self.size += entry.size;
            if entry.mode & 0o111 != 0 && self.machine.is_none() {
                self.machine = Machine::of_head(head);
            }
        }
        match entry.path.strip_suffix(b"/").unwrap_or(&entry.path) {
            b"bin/sh" => self.shell = true,
            b"usr/bin/sh" => self.merged_shell = true,
            b"bin" => self.merged = matches!(&entry.kind, Kind::Symlink(target) if target.ends_with(b"usr/bin")),
            _ => {}
        }
    }

    pub(super) fn has_shell(&self) -> bool {
        self.shell || (self.merged && self.merged_shell)
    }
}

/// Where an archive is written to: counted into its diff id on the way to the compressor.
pub(super) type Output = Writer<Hashed<Encoder<io::PipeWriter>>>;

/// Stores the archive that `write` writes, compressed; whatever `write` answers comes back.
pub(super) fn store<T: Send>(
    lease: &Lease<'_>,
    write: impl FnOnce(&mut Output) -> Result<T, BootstrapError> + Send,
) -> Result<(Layer, T), BootstrapError> {
    let (reader, writer) = io::pipe().map_err(|source| BootstrapError::Write { source })?;
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || produce(writer, write));
        let mut produced = Produced { pipe: reader, producer: Some(producer), outcome: None };
        let stored = lease.put_stream(media_type::LAYER_GZIP, &mut produced);
        match (stored, produced.outcome.take()) {
            (_, Some(Err(error))) => Err(error),
            (Ok(blob), Some(Ok((diff_id, value)))) => Ok((Layer { blob, diff_id }, value)),
            (Err(error), _) => Err(of_store(error)),
            (Ok(_), None) => Err(BootstrapError::Write { source: io::ErrorKind::UnexpectedEof.into() }),
        }
    })
}

fn produce<T>(
    pipe: io::PipeWriter,
    write: impl FnOnce(&mut Output) -> Result<T, BootstrapError>,
) -> Result<(Digest, T), BootstrapError> {
    let failed = |source| BootstrapError::Write { source };
    let encoder = Encoder::new(Compression::Gzip, pipe).map_err(failed)?;
    let mut tar = Writer::new(Hashed { inner: encoder, hasher: Hasher::new(Algorithm::Sha256) });
    let value = write(&mut tar)?;
    let hashed = tar.finish().map_err(failed)?;
    hashed.inner.finish().and_then(|mut pipe| pipe.flush()).map_err(failed)?;
    Ok((hashed.hasher.finish(), value))
}

fn of_store(error: io::Error) -> BootstrapError {
    match error.downcast::<StoreError>() {
        Ok(error) => error.into(),
        Err(source) => BootstrapError::Write { source },
    }
}

/// Digests what passes through it.
pub(super) struct Hashed<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(data)?;
        self.hasher.update(&data[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

type Outcome<T> = Result<(Digest, T), BootstrapError>;

/// What a thread produces, as a stream whose end is only an end if the thread says so.
struct Produced<'s, T> {
    pipe: PipeReader,
    producer: Option<ScopedJoinHandle<'s, Outcome<T>>>,
    outcome: Option<Outcome<T>>,
}

impl<T> Read for Produced<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        if let Some(producer) = self.producer.take() {
            match producer.join() {
                Ok(outcome) => self.outcome = Some(outcome),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        match &self.outcome {
            Some(Ok(_)) => Ok(0),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Copies the archive in the file at `path`, whatever its compression, entry by entry.
///
/// Names lose a leading `./` and `/`, an entry of the root itself is dropped, holes become zeros; all else is kept.
pub(super) fn copy(path: &Path, tar: &mut Output, latest: Option<i64>) -> Result<Seen, BootstrapError> {
    let read = |source| BootstrapError::Read { path: path.to_owned(), source };
    let wrong = |source| BootstrapError::Archive { path: path.to_owned(), source };
    let file = BufReader::with_capacity(256 * 1024, File::open(path).map_err(read)?);
    let decoder = Decoder::new(file, compression::Limits::default()).map_err(read)?;
    let mut reader = Reader::new(BufReader::with_capacity(256 * 1024, decoder), Limits::default());
    let mut seen = Seen::default();
    while let Some(mut entry) = reader.next_entry().map_err(wrong)? {
        entry.path = plain(&entry.path).to_vec();
        if entry.path.is_empty() {
            continue;
        }
        if let Kind::HardLink(target) = &mut entry.kind {
            *target = plain(target).to_vec();
        }
        clamp(&mut entry, latest);
        let extents = entry.extents.take();
        let head = if entry.kind == Kind::File { reader.fill_buf().map_err(read)? } else { &[] };
        seen.note(&entry, head);
        tar.append(&entry, Filled::new(&mut reader, extents, entry.size)).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => read(source),
            _ => BootstrapError::Write { source },
        })?;
    }
    if seen.entries == 0 {
        return Err(BootstrapError::Empty { path: path.to_owned() });
    }
    Ok(seen)
}

/// Nothing later than `latest`.
pub(super) fn clamp(entry: &mut Entry, latest: Option<i64>) {
    if let Some(latest) = latest.filter(|latest| entry.mtime.seconds >= *latest) {
        entry.mtime = Time { seconds: latest, nanoseconds: 0 };
    }
    entry.atime = None;
}

fn plain(mut path: &[u8]) -> &[u8] {
    loop {
        match path {
            [b'/', rest @ ..] | [b'.', b'/', rest @ ..] => path = rest,
            b"." => return b"",
            _ => return path,
        }
    }
}

/// The data of an entry with its holes filled.
struct Filled<R> {
    data: R,
    /// What is still to come: bytes of a hole, then bytes of data.
    runs: Vec<(u64, u64)>,
}

impl<R> Filled<R> {
    fn new(data: R, extents: Option<Vec<Extent>>, size: u64) -> Self {
        let Some(extents) = extents else { return Self { data, runs: vec![(0, u64::MAX)] } };
        let mut at = 0;
        let mut runs = Vec::new();
        for extent in extents {
            runs.push((extent.offset.saturating_sub(at), extent.length));
            at = extent.offset.saturating_add(extent.length);
        }
        runs.push((size.saturating_sub(at), 0));
        runs.reverse();
        Self { data, runs }
    }
}

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((hole, data)) = self.runs.last_mut() {
            if *hole > 0 {
                let count = buffer.len().min(usize::try_from(*hole).unwrap_or(usize::MAX));
                buffer[..count].fill(0);
                *hole -= u64::try_from(count).unwrap_or(0);
                return Ok(count);
            }
            if *data > 0 {
                let wanted = buffer.len().min(usize::try_from(*data).unwrap_or(usize::MAX));
                let count = self.data.read(&mut buffer[..wanted])?;
                *data -= u64::try_from(count).unwrap_or(0);
                return Ok(count);
            }
            self.runs.pop();
        }
        Ok(0)
    }
}
