//! Why a layer was refused.

use std::io;
use std::path::PathBuf;

use onggi_diag::{Diagnose, Kind};
use onggi_oci::Digest;
use onggi_sys as sys;

use crate::{compression, tar};

/// Why a layer could not be unpacked or written; `layer` is the name the caller gave it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tar stream is damaged, cut short or made to harm.
    #[error("layer {layer} is not a sound archive")]
    Archive {
        /// The layer.
        layer: String,
        /// What is wrong with it.
        source: tar::Error,
    },
    /// The compressed stream is damaged, cut short, has a tail or is a bomb.
    #[error("layer {layer} cannot be decompressed")]
    Compression {
        /// The layer.
        layer: String,
        /// What is wrong with it.
        source: compression::Error,
    },
    /// An entry's name leads out of the root or means nothing.
    #[error("layer {layer} has an impossible name `{name}`: {reason}")]
    Name {
        /// The layer.
        layer: String,
        /// The name as it stands in the archive.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// Whether the name looks made to do harm.
        hostile: bool,
    },
    /// An entry that cannot be what it says where it says.
    #[error("layer {layer} has an entry `{}` that cannot be: {reason}", path.display())]
    Entry {
        /// The layer.
        layer: String,
        /// The entry.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The kernel refused to make an entry.
    #[error("cannot unpack `{}` of layer {layer}", path.display())]
    Unpack {
        /// The layer.
        layer: String,
        /// The entry.
        path: PathBuf,
        /// The call that failed.
        source: sys::Error,
    },
    /// The uncompressed layer is not the one that the image's configuration names.
    #[error("layer {layer} unpacks to {found}, not to {expected} as its image says")]
    DiffId {
        /// The layer.
        layer: String,
        /// The diff id in the image.
        expected: Digest,
        /// The diff id of what was unpacked.
        found: Digest,
    },
    /// A tree could not be read while writing it out.
    #[error("cannot read `{}` to archive it", path.display())]
    Walk {
        /// The file.
        path: PathBuf,
        /// The call that failed.
        source: sys::Error,
    },
    /// The archive could not be written, or a file changed while it was.
    #[error("cannot archive `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

impl Error {
    /// An archive that could not be read, or that could not be decompressed.
    pub(crate) fn archive(layer: &str, source: tar::Error) -> Self {
        let layer = layer.to_owned();
        let tar::Error::Read(read) = source else { return Self::Archive { layer, source } };
        match read.downcast::<compression::Error>() {
            Ok(source) => Self::Compression { layer, source },
            Err(read) => Self::Archive { layer, source: tar::Error::Read(read) },
        }
    }
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Archive { source, .. } => source.kind(),
            Self::Compression { source, .. } => source.kind(),
            Self::Name { hostile: true, .. } | Self::DiffId { .. } => Kind::Hostile,
            Self::Name { .. } | Self::Entry { .. } => Kind::Invalid,
            Self::Unpack { source, .. } | Self::Walk { source, .. } => source.kind(),
            Self::Write { .. } => Kind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack { source, .. } if source.is(sys::Errno::INVAL) => Some(
                "the owner of that file may have no place in this user namespace; \
                 a range of 65536 ids in /etc/subuid and /etc/subgid gives it one"
                    .into(),
            ),
            Self::Unpack { source, .. } | Self::Walk { source, .. } => source.hint(),
            _ => None,
        }
    }
}
