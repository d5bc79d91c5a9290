//! Compressed streams: told apart by their first bytes, inflated within limits, deflated the same way every time.

mod decode;
mod encode;

pub use decode::Decoder;
pub use encode::Encoder;

use onggi_diag::{Diagnose, Kind};

/// How a layer's tar stream is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several.
    Zstd,
}

impl Compression {
    /// Tells by the first bytes of a stream (four are enough).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a format that is recognised but not read.
    pub fn detect(head: &[u8]) -> Result<Self, Error> {
        Ok(match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', ..] => return Err(Error::Unsupported { format: "xz" }),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => return Err(Error::Unsupported { format: "bzip2" }),
            _ => Self::None,
        })
    }
}

/// How much a compressed stream may grow into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that come out, at most.
    pub size: u64,
    /// Bytes that come out for each that goes in, once more than `free` have come out.
    pub ratio: u64,
    /// Bytes that may come out whatever the ratio: an empty disk image or log compresses very well.
    pub free: u64,
    /// Binary logarithm of the window that a zstd frame may ask memory for.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        // Real layers shrink to a third, the emptiest to a fiftieth; deflate's own limit is 1 to 1032.
        // 128 MiB is what the zstd program accepts.
        Self { size: 1 << 40, ratio: 200, free: 1 << 30, window_log: 27 }
    }
}

/// Why a stream could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It ends before its format says.
    #[error("the compressed stream is cut short")]
    Truncated,
    /// It breaks its format or a checksum.
    #[error("the compressed stream is damaged: {what}")]
    Damaged {
        /// What the decoder says.
        what: String,
    },
    /// There is something behind its end.
    #[error("there is data after the end of the compressed stream")]
    Trailing,
    /// It grows beyond [`Limits`].
    #[error("{compressed} compressed bytes grow to more than {limit}: a decompression bomb")]
    Bomb {
        /// Bytes read so far.
        compressed: u64,
        /// Bytes that they may become.
        limit: u64,
    },
    /// It needs more memory than [`Limits`] allows.
    #[error("the compressed stream asks for a window of more than {} MiB", limit >> 20)]
    Window {
        /// Bytes that it may ask for.
        limit: u64,
    },
    /// Another format.
    #[error("{format} compression is not supported")]
    Unsupported {
        /// Its name.
        format: &'static str,
    },
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Truncated | Self::Damaged { .. } | Self::Trailing => Kind::Invalid,
            Self::Bomb { .. } | Self::Window { .. } => Kind::Hostile,
            Self::Unsupported { .. } => Kind::Unsupported,
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}
