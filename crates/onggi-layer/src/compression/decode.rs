//! Member by member, frame by frame, within limits.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::{Compression, Error, Limits};

/// Decompresses a stream of any supported format.
///
/// Its errors carry a [`struct@Error`] inside when the stream is at fault, and are the input's own otherwise.
pub struct Decoder<R: BufRead> {
    stage: Stage<R>,
    limits: Limits,
    /// Bytes that came out.
    produced: u64,
}

enum Stage<R: BufRead> {
    Plain(Counted<R>),
    Gzip(Box<GzDecoder<Counted<R>>>),
    Zstd(Box<ZstdDecoder<'static, Counted<R>>>),
    Ended,
}

/// Counts what is read, and remembers whether a failure was the input's.
struct Counted<R> {
    input: R,
    count: u64,
    failed: bool,
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `input` and begins.
    pub fn new(mut input: R, limits: Limits) -> io::Result<Self> {
        let compression = Compression::detect(input.fill_buf()?)?;
        let input = Counted { input, count: 0, failed: false };
        let stage = Stage::begin(compression, input, limits)?;
        Ok(Self { stage, limits, produced: 0 })
    }

    /// Reads on past the end of a member or frame, if there is another.
    fn next_member(&mut self) -> io::Result<()> {
        let (mut input, format) = match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Gzip(decoder) => (decoder.into_inner(), Compression::Gzip),
            Stage::Zstd(decoder) => (decoder.finish(), Compression::Zstd),
            Stage::Plain(_) | Stage::Ended => return Ok(()),
        };
        let head = input.fill_buf()?;
        if head.is_empty() {
            return Ok(());
        }
        // Four bytes may straddle the input's buffers; the first of the format is enough to go on or to refuse.
        let continues = match format {
            Compression::Gzip => head[0] == 0x1f,
            _ => matches!(head[0], 0x28 | 0x50..=0x5f),
        };
        if !continues {
            return Err(Error::Trailing.into());
        }
        self.stage = Stage::begin(format, input, self.limits)?;
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        let compressed = self.stage.consumed();
        let limit = self.limits.size.min(self.limits.free.max(compressed.saturating_mul(self.limits.ratio)));
        if self.produced > limit { Err(Error::Bomb { compressed, limit }.into()) } else { Ok(()) }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match &mut self.stage {
                Stage::Plain(input) => input.read(out)?,
                Stage::Gzip(decoder) => {
                    decoder.read(out).map_err(|error| blame(error, decoder.get_ref(), self.limits))?
                }
                Stage::Zstd(decoder) => {
                    decoder.read(out).map_err(|error| blame(error, decoder.get_ref(), self.limits))?
                }
                Stage::Ended => return Ok(0),
            };
            self.produced += count as u64;
            match (&self.stage, count) {
                (Stage::Plain(_), count) => return Ok(count),
                (_, 0) => self.next_member()?,
                (_, count) => return self.check().map(|()| count),
            }
        }
    }
}

impl<R: BufRead> Stage<R> {
    fn begin(compression: Compression, input: Counted<R>, limits: Limits) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(input),
            Compression::Gzip => Self::Gzip(Box::new(GzDecoder::new(input))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(input)?.single_frame();
                decoder.window_log_max(limits.window_log)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    fn consumed(&self) -> u64 {
        match self {
            Self::Plain(input) => input.count,
            Self::Gzip(decoder) => decoder.get_ref().count,
            Self::Zstd(decoder) => decoder.get_ref().count,
            Self::Ended => u64::MAX,
        }
    }
}

/// Tells a decoder's complaint from its input's failure.
fn blame<R>(error: io::Error, input: &Counted<R>, limits: Limits) -> io::Error {
    if input.failed {
        return error;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated.into(),
        _ if error.to_string().contains("too much memory") => Error::Window { limit: 1 << limits.window_log }.into(),
        _ => Error::Damaged { what: error.to_string() }.into(),
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let result = self.input.read(out);
        match &result {
            Ok(count) => self.count += *count as u64,
            Err(_) => self.failed = true,
        }
        result
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.input.fill_buf() {
            Ok(buffer) => Ok(buffer),
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        self.count += amount as u64;
        self.input.consume(amount);
    }
}
