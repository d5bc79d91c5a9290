//! A blob becomes a directory and a diff id, in one pass: one thread inflates, another hashes and writes files.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use onggi_fs::Root;
use onggi_oci::{Algorithm, Digest, Hasher};

use crate::apply::{Applied, Options, apply};
use crate::compression::{self, Decoder};
use crate::{Error, tar};

/// Bytes that the threads hand over at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks under way: enough for one side to run ahead while the other waits for a disk or a network.
const CHUNKS: usize = 8;

/// A layer unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the uncompressed stream.
    pub diff_id: Digest,
    /// Length of the uncompressed stream.
    pub size: u64,
    /// What is in it.
    pub applied: Applied,
}

/// Unpacks the (compressed) layer `blob` into the empty directory `into`.
///
/// `expected` is the diff id from the image's configuration. All of `blob` is read, so a reader that checks a
/// digest at its end has checked it.
///
/// # Errors
/// As [`apply`]; also when the stream is damaged, cut short, followed by something, a bomb, or not `expected`.
pub fn unpack(
    blob: impl Read + Send,
    into: &Root,
    expected: Option<&Digest>,
    limits: compression::Limits,
    options: &Options,
) -> Result<Unpacked, Error> {
    let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
    let (full_sender, full) = sync_channel(CHUNKS);
    let (empty_sender, empty) = channel();
    let mut input =
        Input { full, empty: empty_sender, chunk: Vec::new(), at: 0, hasher: Hasher::new(algorithm), size: 0 };
    let applied = thread::scope(|scope| {
        let inflate = move || inflate(blob, limits, &full_sender, &empty);
        let spawned = thread::Builder::new().name("inflate".into()).spawn_scoped(scope, inflate);
        spawned.map_err(|error| Error::archive(&options.layer, tar::Error::Read(error)))?;
        let applied = apply(&mut input, into, options);
        // Without a receiver the other thread stops at its next chunk.
        let Input { hasher, size, .. } = input;
        applied.map(|applied| Unpacked { diff_id: hasher.finish(), size, applied })
    });
    let unpacked = applied?;
    match expected {
        Some(expected) if *expected != unpacked.diff_id => {
            Err(Error::DiffId { layer: options.layer.clone(), expected: expected.clone(), found: unpacked.diff_id })
        }
        _ => Ok(unpacked),
    }
}

/// The inflating thread: fills chunks until the stream ends, fails, or nobody wants more.
fn inflate(
    blob: impl Read,
    limits: compression::Limits,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    let mut decoder = match Decoder::new(BufReader::with_capacity(CHUNK, blob), limits) {
        Ok(decoder) => decoder,
        Err(error) => return drop(full.send(Err(error))),
    };
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let result = fill(&mut decoder, &mut chunk);
        let ended = !matches!(result, Ok(CHUNK));
        let message = result.map(|length| {
            chunk.truncate(length);
            chunk
        });
        if full.send(message).is_err() || ended {
            return;
        }
    }
}

/// Reads until `chunk` is full or the stream ends.
fn fill(input: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match input.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The other end: chunks as one stream, hashed as they come.
struct Input {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hasher: Hasher,
    size: u64,
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            // The sender is gone only after the last chunk, which is short.
            let next = self.full.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.hasher.update(&next);
            self.size += next.len() as u64;
            drop(self.empty.send(std::mem::replace(&mut self.chunk, next)));
            self.at = 0;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let buffer = self.fill_buf()?;
        let length = buffer.len().min(out.len());
        out[..length].copy_from_slice(&buffer[..length]);
        self.consume(length);
        Ok(length)
    }
}
