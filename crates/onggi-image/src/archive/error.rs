//! Why an archive could not be written or read.

use std::io;

use onggi_diag::{Diagnose, Kind};
use onggi_layer::{compression, tar};
use onggi_oci::VerifyError;
use onggi_store::StoreError;

/// Why an archive of images could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream could not be read.
    #[error("cannot read the archive of images")]
    Read(#[source] io::Error),
    /// It is no tar archive, or a damaged one.
    #[error("cannot read the archive of images")]
    Tar(#[source] tar::Error),
    /// The stream could not be written.
    #[error("cannot write the archive of images")]
    Write(#[source] io::Error),
    /// It has neither Docker's list of images nor OCI's.
    #[error("there is no image in the archive: it has neither manifest.json nor index.json")]
    NoImage,
    /// One of its lists is not as it should be.
    #[error("the archive's {file} is malformed")]
    Document {
        /// Which of them.
        file: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It names something that it does not have.
    #[error("the archive speaks of `{name}`, and does not have it")]
    Missing {
        /// The name.
        name: String,
    },
    /// A name that leads out of it.
    #[error("the archive has a name that leads out of it: `{name}`")]
    Escape {
        /// The name.
        name: String,
    },
    /// A device, a pipe or the like.
    #[error("the archive has an entry that no archive of images has: `{name}`")]
    Odd {
        /// The name.
        name: String,
    },
    /// Docker's list and OCI's are of different images.
    #[error("the archive's manifest.json and index.json speak of different images")]
    Disagree,
    /// A change that cannot be made to an image's configuration.
    #[error("cannot apply the change `{change}`: {problem}")]
    Change {
        /// As given.
        change: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Diagnose for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(error) | Self::Write(error) => kind_of(error),
            Self::Tar(tar::Error::Read(error)) => kind_of(error),
            Self::Tar(error) => error.kind(),
            Self::Escape { .. } | Self::Disagree => Kind::Hostile,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoImage => Some("`onggi import` makes an image of a root file system's archive".into()),
            Self::Read(error) | Self::Write(error) => inner::<StoreError>(error).and_then(Diagnose::hint),
            Self::Change { .. } => Some(
                "changes are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME \
                 and WORKDIR, as in a Dockerfile"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// The kind of what is inside an error of reading or writing.
fn kind_of(error: &io::Error) -> Kind {
    if let Some(error) = inner::<StoreError>(error) {
        return error.kind();
    }
    if let Some(error) = inner::<VerifyError>(error) {
        return error.kind();
    }
    if let Some(error) = inner::<compression::Error>(error) {
        return error.kind();
    }
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Kind::Invalid,
        _ => Kind::Unavailable,
    }
}

fn inner<T: std::error::Error + 'static>(error: &io::Error) -> Option<&T> {
    error.get_ref()?.downcast_ref()
}
