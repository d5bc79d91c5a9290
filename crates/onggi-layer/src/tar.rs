//! A bounded reader of tar streams: ustar, PAX, GNU (long names, sparse files) and the old formats before them.
//!
//! [`Reader`] yields one [`Entry`] after the other with everything its headers say; its data is read between two
//! entries. Nothing in a stream can make it allocate more than [`Limits`] allows, and where readers are known to
//! disagree about a stream (a size stated twice, a global header that renames) it refuses rather than chooses.
//!
//! Formats: tar(5); POSIX.1-2017, pax, "Extended Header"; GNU tar manual, "Sparse Formats".

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

use std::io::{self, BufRead};

pub use reader::Reader;
pub use sparse::Extent;
pub use writer::Writer;

use header::BLOCK;

/// How much a stream may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one extended header (PAX records, a GNU long name).
    pub header: usize,
    /// Bytes in a path or link.
    pub path: usize,
    /// Bytes in the value of one extended attribute.
    pub xattr: usize,
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes in one file, holes included.
    pub file: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // PATH_MAX and XATTR_SIZE_MAX are the kernel's; the rest is beyond any image seen.
        Self { header: 1 << 20, path: 4096, xattr: 64 << 10, entries: 20_000_000, file: 8 << 40 }
    }
}

/// A point in time; the nanoseconds always count towards the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds in the second.
    pub nanoseconds: u32,
}

/// Names and values of extended attributes.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with data.
    File,
    /// Another name for a path of the same archive (or, in a layer, of one below).
    HardLink(Vec<u8>),
    /// A symbolic link that says this.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One member of an archive, as its headers describe it. Paths are as written: nothing about them is checked
/// but their length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub path: Vec<u8>,
    /// The type, with what only that type has.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change.
    pub mtime: Time,
    /// Time of last access, where stated.
    pub atime: Option<Time>,
    /// Bytes in the file, holes included.
    pub size: u64,
    /// Where the data lies, of a sparse file.
    pub extents: Option<Vec<Extent>>,
    /// Extended attributes, in the archive's order.
    pub xattrs: Xattrs,
}

/// How header blocks are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    Gnu,
    Star,
}

/// Why a stream is not an archive that we read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream itself failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// It ends inside an entry.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// A header's checksum does not hold.
    #[error("a header of the archive is damaged: its checksum does not match")]
    Checksum,
    /// A field that is no number, or one that makes no sense there.
    #[error("a header of the archive has an impossible {field}")]
    Number {
        /// The field.
        field: &'static str,
    },
    /// An extended header that breaks the format.
    #[error("an extended header of the archive has an impossible `{key}`")]
    Pax {
        /// The record at fault.
        key: String,
    },
    /// A map of holes that contradicts itself.
    #[error("the map of a sparse file in the archive is impossible")]
    Sparse,
    /// Something is larger than [`Limits`] allows.
    #[error("the archive has {what} beyond the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it may be.
        limit: u64,
    },
    /// A type of entry that nobody should meet in a layer: a volume, a continuation.
    #[error("the archive has an entry of unknown type `{}`", char::from(*flag))]
    Type {
        /// The type flag.
        flag: u8,
    },
    /// There is data behind the end marker.
    #[error("there is data after the end of the archive")]
    Trailing,
}

impl Error {
    /// What a read error of a [`Reader`] or of the stream below it says.
    pub(crate) fn from_read(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::Read(error),
        }
    }
}

impl onggi_diag::Diagnose for Error {
    fn kind(&self) -> onggi_diag::Kind {
        match self {
            Self::Read(_) => onggi_diag::Kind::Unavailable,
            Self::Type { .. } => onggi_diag::Kind::Unsupported,
            Self::Limit { .. } => onggi_diag::Kind::Hostile,
            _ => onggi_diag::Kind::Invalid,
        }
    }
}

/// Fills `block`; the end of the stream in it is an error.
fn read_block(input: &mut impl BufRead, block: &mut [u8]) -> Result<(), Error> {
    input.read_exact(block).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Truncated,
        _ => Error::Read(error),
    })
}

/// The bytes that fill `length` up to a whole block.
fn padding(length: u64) -> u64 {
    length.wrapping_neg() % BLOCK as u64
}
