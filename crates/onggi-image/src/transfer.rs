//! Why an image could not be pulled or pushed.

use onggi_diag::{Diagnose, Kind};
use onggi_oci::image::ConfigError;
use onggi_oci::{Digest, ManifestError, PlatformError, VerifyError};
use onggi_store::StoreError;

use crate::ImageError;

/// Why an image could not be pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The registry could not, or would not.
    #[error(transparent)]
    Registry(#[from] onggi_registry::Error),
    /// The images here could not.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What the name leads to is no manifest.
    #[error("cannot use the manifest {digest} of {image}")]
    Manifest {
        /// The image.
        image: String,
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// Indexes in indexes in indexes, perhaps without end.
    #[error("the indexes of {image} lie too deep in each other")]
    TooDeep {
        /// The image.
        image: String,
    },
    /// The image has nothing for the platform.
    #[error("cannot pull {image}")]
    Platform {
        /// The image.
        image: String,
        /// What was wanted and what there is.
        source: PlatformError,
    },
    /// Something other than a container image: a chart, a signature, a module.
    #[error("{image} is not a container image but `{media_type}`")]
    NotAnImage {
        /// What was asked for.
        image: String,
        /// What its configuration is.
        media_type: String,
    },
    /// A layer in a format that nobody here reads.
    #[error("layer {digest} of {image} has the unknown media type `{media_type}`")]
    LayerType {
        /// The image.
        image: String,
        /// The layer.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// Its configuration cannot be used.
    #[error("cannot use the configuration {digest} of {image}")]
    Config {
        /// The image.
        image: String,
        /// The configuration.
        digest: Digest,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Its configuration is larger than any should be.
    #[error("the configuration {digest} of {image} has {size} bytes, more than the {limit} that it may have")]
    LargeConfig {
        /// The image.
        image: String,
        /// The configuration.
        digest: Digest,
        /// How large it is said to be.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A layer did not come, or could not be unpacked.
    #[error("cannot pull layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why not.
        source: Box<TransferError>,
    },
    /// The image here lacks a part.
    #[error("cannot push {image}: blob {digest} is neither here nor on the registry")]
    Lacking {
        /// The image.
        image: String,
        /// The blob.
        digest: Digest,
    },
    /// A name by digest cannot be pushed to: the content decides it.
    #[error("cannot push to {image}: a digest is not a tag")]
    PushToDigest {
        /// What was asked for.
        image: String,
    },
    /// The machine could not.
    #[error("cannot {what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Another part of the same work failed first; that failure is the one that is told.
    #[error("stopped because another part failed")]
    Stopped,
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::Image(error.into())
    }
}

impl From<onggi_snapshot::Error> for TransferError {
    fn from(error: onggi_snapshot::Error) -> Self {
        Self::Image(error.into())
    }
}

impl TransferError {
    /// Whether the content that came is not what its digest says, so that it may be right elsewhere.
    pub(crate) fn is_wrong_content(&self) -> bool {
        matches!(
            self,
            Self::Image(ImageError::Store(StoreError::Verify(
                VerifyError::Mismatch { .. } | VerifyError::TooLong { .. }
            )))
        )
    }
}

impl Diagnose for TransferError {
    fn kind(&self) -> Kind {
        match self {
            Self::Registry(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Manifest { source, .. } => source.kind(),
            Self::Platform { source, .. } => source.kind(),
            Self::Config { source, .. } => source.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::TooDeep { .. } | Self::LargeConfig { .. } => Kind::Hostile,
            Self::NotAnImage { .. } | Self::LayerType { .. } => Kind::Unsupported,
            Self::Lacking { .. } => Kind::NotFound,
            Self::PushToDigest { .. } => Kind::Invalid,
            Self::Io { .. } | Self::Stopped => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Manifest { source, .. } => source.hint(),
            Self::Platform { source, .. } => source.hint(),
            Self::Config { source, .. } => source.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::PushToDigest { .. } => Some("give it a tag by `onggi tag` and push that".into()),
            _ => None,
        }
    }
}
