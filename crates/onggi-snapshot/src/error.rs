//! Why a snapshot could not be had.

use std::path::PathBuf;

use onggi_diag::{Diagnose, Kind};
use onggi_oci::Digest;
use onggi_sys as sys;

/// Why a layer or a snapshot could not be made, mounted or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory that holds everything cannot be used.
    #[error("cannot open the layer store {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// The call that failed.
        source: sys::Error,
    },
    /// No such layer is unpacked.
    #[error("layer {layer} is not unpacked")]
    NoLayer {
        /// Its diff id.
        layer: Digest,
    },
    /// A layer could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] onggi_layer::Error),
    /// A layer could not be stored.
    #[error("cannot store layer {layer}")]
    Store {
        /// Its diff id.
        layer: Digest,
        /// The call that failed.
        source: sys::Error,
    },
    /// A layer does not fit on the layers below it.
    #[error("layer {layer} has a hard link `{}` to `{}`, which no layer below has", path.display(), target.display())]
    DanglingLink {
        /// Its diff id.
        layer: Digest,
        /// The link.
        path: PathBuf,
        /// The file it links to.
        target: PathBuf,
    },
    /// A layer could not be fitted on the layers below it.
    #[error("cannot fit layer {layer} on the layers below it")]
    Finish {
        /// Its diff id.
        layer: Digest,
        /// The call that failed.
        source: sys::Error,
    },
    /// More layers than overlayfs takes.
    #[error("the image has {count} layers, {limit} can be mounted")]
    TooManyLayers {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A name that cannot be a container's.
    #[error("`{id}` cannot name a snapshot")]
    BadId {
        /// The name.
        id: String,
    },
    /// The name is taken.
    #[error("there is a snapshot `{id}` already")]
    Exists {
        /// The name.
        id: String,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot `{id}`")]
    NotFound {
        /// The name.
        id: String,
    },
    /// A snapshot could not be made, read or removed.
    #[error("cannot use snapshot `{id}`")]
    Writable {
        /// The name.
        id: String,
        /// The call that failed.
        source: sys::Error,
    },
    /// The kernel refused the mount.
    #[error("cannot mount {what}")]
    Mount {
        /// What should have been mounted.
        what: String,
        /// The call that failed.
        source: sys::Error,
    },
    /// Others held on to the layers for too long.
    #[error("the layer store is in use")]
    Busy {
        /// The call that failed.
        source: sys::Error,
    },
    /// The store's own files are not what it wrote.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Listing or removing failed.
    #[error("cannot tidy the layer store")]
    Tidy {
        /// The call that failed.
        source: sys::Error,
    },
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unpack(source) => source.kind(),
            Self::NoLayer { .. } | Self::NotFound { .. } => Kind::NotFound,
            Self::DanglingLink { .. } | Self::BadId { .. } => Kind::Invalid,
            Self::TooManyLayers { .. } => Kind::Unsupported,
            Self::Exists { .. } => Kind::Exists,
            Self::Busy { .. } => Kind::Unavailable,
            Self::Damaged { .. } => Kind::Internal,
            Self::Open { source, .. }
            | Self::Store { source, .. }
            | Self::Finish { source, .. }
            | Self::Writable { source, .. }
            | Self::Mount { source, .. }
            | Self::Tidy { source } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unpack(source) => source.hint(),
            Self::NoLayer { .. } => Some("`onggi pull` of the image unpacks it again".into()),
            Self::Mount { source, .. } if source.is(sys::Errno::PERM) || source.is(sys::Errno::NODEV) => {
                Some("this needs overlayfs, as root or in a user namespace (Linux 5.11)".into())
            }
            Self::Open { source, .. } | Self::Store { source, .. } | Self::Writable { source, .. } => source.hint(),
            _ => None,
        }
    }
}
