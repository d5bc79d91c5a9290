//! Why something could not be done with an image.

use onggi_diag::{Diagnose, Kind};
use onggi_oci::image::ConfigError;
use onggi_oci::{Digest, PlatformError, ReferenceError};
use onggi_store::StoreError;

use crate::ArchiveError;

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Nothing here is called so.
    #[error("no such image: {query}")]
    NotFound {
        /// What was asked for.
        query: String,
    },
    /// Several images have an ID that begins so.
    #[error("`{query}` is the beginning of {count} images' IDs")]
    Ambiguous {
        /// What was asked for.
        query: String,
        /// How many there are.
        count: usize,
    },
    /// Not a name.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The unpacked layers could not be had.
    #[error(transparent)]
    Layers(#[from] onggi_snapshot::Error),
    /// An archive could not be written or read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The kernel refused.
    #[error("cannot {what}")]
    System {
        /// What was being done.
        what: String,
        /// The call.
        source: onggi_sys::Error,
    },
    /// The image has nothing for the platform.
    #[error("cannot use image {image}")]
    Platform {
        /// The image.
        image: String,
        /// What was wanted and what there is.
        source: PlatformError,
    },
    /// The image exists for the platform, but that part of it is not here.
    #[error("image {image} is here, but not its content for {platform}")]
    Absent {
        /// The image.
        image: String,
        /// What was wanted.
        platform: String,
    },
    /// Its configuration cannot be used.
    #[error("cannot read the configuration {digest} of an image")]
    Config {
        /// The configuration.
        digest: Digest,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// Something other than a container image: a chart, a signature, a module.
    #[error("{image} is not a container image but `{media_type}`")]
    NotAnImage {
        /// What was asked for.
        image: String,
        /// What its configuration is.
        media_type: String,
    },
    /// A name with a digest cannot be given: the content decides it.
    #[error("cannot tag an image as {name}: a digest is not a tag")]
    TagWithDigest {
        /// What was asked for.
        name: String,
    },
    /// A container needs it.
    #[error(
        "cannot remove image {image}: {} container {container} uses it",
        if *running { "running" } else { "stopped" }
    )]
    InUse {
        /// The image as given.
        image: String,
        /// The container.
        container: String,
        /// Whether it runs.
        running: bool,
    },
    /// Removing by ID would take names away from several repositories.
    #[error("cannot remove image {image}: it has names in several repositories: {}", names.join(", "))]
    SeveralNames {
        /// The image as given.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
}

impl Diagnose for ImageError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::Absent { .. } => Kind::NotFound,
            Self::Ambiguous { .. } | Self::TagWithDigest { .. } => Kind::Invalid,
            Self::Name(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Layers(error) => error.kind(),
            Self::Archive(error) => error.kind(),
            Self::System { source, .. } => source.kind(),
            Self::Platform { source, .. } => source.kind(),
            Self::Config { source, .. } => source.kind(),
            Self::NotAnImage { .. } => Kind::Unsupported,
            Self::InUse { .. } | Self::SeveralNames { .. } => Kind::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { query } => {
                Some(format!("`onggi pull {query}` fetches it, `onggi images` lists what is here"))
            }
            Self::Ambiguous { .. } => Some("give more of the ID; `onggi images --no-trunc` shows the whole".into()),
            Self::Name(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Layers(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::System { source, .. } => source.hint(),
            Self::Platform { source, .. } => source.hint(),
            Self::Absent { image, platform } => Some(format!("`onggi pull --platform {platform} {image}` fetches it")),
            Self::InUse { running: true, .. } => Some("stop and remove the container first".into()),
            Self::InUse { .. } => Some("remove the container first, or use `--force` to take the name away".into()),
            Self::SeveralNames { .. } => Some("`--force` removes it with all its names".into()),
            _ => None,
        }
    }
}
