//! The same bytes in, the same bytes out: no time, no name, no machine in the header.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression as Level, GzBuilder};
use zstd::stream::write::Encoder as ZstdEncoder;

use super::Compression;

/// Compresses what is written to it.
pub struct Encoder<W: Write> {
    stage: Stage<W>,
}

enum Stage<W: Write> {
    Plain(W),
    Gzip(GzEncoder<W>),
    Zstd(ZstdEncoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Begins a stream at the level that Docker (gzip 6) and zstd (3) use when nobody says another.
    pub fn new(compression: Compression, output: W) -> io::Result<Self> {
        Self::with_level(compression, output, None)
    }

    /// Begins a stream at `level`: 0 to 9 for gzip, 1 to 22 for zstd.
    pub fn with_level(compression: Compression, output: W, level: Option<u32>) -> io::Result<Self> {
        let stage = match compression {
            Compression::None => Stage::Plain(output),
            Compression::Gzip => {
                let level = Level::new(level.unwrap_or(6).min(9));
                // 255 is "unknown": the operating system's number would differ from build to build.
                Stage::Gzip(GzBuilder::new().mtime(0).operating_system(255).write(output, level))
            }
            Compression::Zstd => {
                let level = i32::try_from(level.unwrap_or(3).clamp(1, 22)).unwrap_or(3);
                let mut encoder = ZstdEncoder::new(output, level)?;
                encoder.include_checksum(true)?;
                Stage::Zstd(encoder)
            }
        };
        Ok(Self { stage })
    }

    /// Ends the stream and gives its output back. An encoder that is dropped instead leaves half a stream.
    pub fn finish(self) -> io::Result<W> {
        match self.stage {
            Stage::Plain(output) => Ok(output),
            Stage::Gzip(encoder) => encoder.finish(),
            Stage::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match &mut self.stage {
            Stage::Plain(output) => output.write(data),
            Stage::Gzip(encoder) => encoder.write(data),
            Stage::Zstd(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stage {
            Stage::Plain(output) => output.flush(),
            Stage::Gzip(encoder) => encoder.flush(),
            Stage::Zstd(encoder) => encoder.flush(),
        }
    }
}
