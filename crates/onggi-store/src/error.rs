//! Why the store could not.

use onggi_diag::{Diagnose, Kind};
use onggi_oci::{Digest, ManifestError, VerifyError};
use onggi_sys as sys;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The blob is not there.
    #[error("no blob {digest} in the image store")]
    NoBlob {
        /// Its name.
        digest: Digest,
    },
    /// What came, or what lies in the store, is not what its name promises.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The blob is too long for what it is supposed to be.
    #[error("blob {digest} of {size} bytes is larger than the {limit} that it may have")]
    TooLarge {
        /// Its name.
        digest: Digest,
        /// Its length.
        size: u64,
        /// How long it may be.
        limit: usize,
    },
    /// Somebody else is receiving the same blob.
    #[error("another process is receiving blob {digest}, and did not finish in time")]
    Busy {
        /// Its name.
        digest: Digest,
    },
    /// A manifest that names lead to cannot be read, so what it needs is not known.
    #[error("cannot read manifest {digest} in the image store")]
    Manifest {
        /// Its name.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// `oci-layout` or `index.json` are not what they should be.
    #[error("the image store's {file} is malformed")]
    Layout {
        /// Which of them.
        file: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The directory holds a layout of another version.
    #[error("image layout version `{version}` is not supported")]
    Version {
        /// What `oci-layout` says.
        version: String,
    },
    /// The kernel refused.
    #[error("cannot {what}")]
    System {
        /// What was being done.
        what: String,
        /// The call.
        source: sys::Error,
    },
}

impl Diagnose for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoBlob { .. } => Kind::NotFound,
            Self::Verify(error) => error.kind(),
            Self::TooLarge { .. } => Kind::Hostile,
            Self::Busy { .. } => Kind::Unavailable,
            Self::Manifest { source, .. } => source.kind(),
            Self::Layout { .. } => Kind::Internal,
            Self::Version { .. } => Kind::Unsupported,
            Self::System { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBlob { .. } => Some("pull the image again; what is there already is not fetched twice".into()),
            Self::Manifest { digest, .. } => Some(format!("`onggi rmi {digest}` removes the image it belongs to")),
            Self::System { source, .. } => source.hint(),
            _ => None,
        }
    }
}

impl From<StoreError> for std::io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::System { source, .. } => std::io::Error::from(source.errno()).kind(),
            StoreError::NoBlob { .. } => std::io::ErrorKind::NotFound,
            _ => std::io::ErrorKind::InvalidData,
        };
        std::io::Error::new(kind, error)
    }
}

/// Says what was being done when a call failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> Doing<T> for sys::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::System { what: what(), source })
    }
}
