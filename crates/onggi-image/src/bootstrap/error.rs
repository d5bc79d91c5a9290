//! Why an image could not be made of this machine's files.

use std::io;
use std::path::PathBuf;

use onggi_diag::{Diagnose, Kind};
use onggi_store::StoreError;

use crate::ImageError;

/// Why an image could not be made of this machine's files.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// No program is called so.
    #[error("no program `{name}`{}", if searched.is_empty() { String::new() } else { format!(" in {}", list(searched)) })]
    NoProgram {
        /// What was asked for.
        name: String,
        /// Where it was looked for; nowhere else if it is a path.
        searched: Vec<PathBuf>,
    },
    /// A file is executable and yet nothing that a kernel starts.
    #[error("{} is neither an ELF program nor a script", path.display())]
    NotAProgram {
        /// The file.
        path: PathBuf,
    },
    /// An ELF file that contradicts itself.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The loader of a program would not find a library either.
    #[error("cannot find library `{name}`, which {} needs", needed_by.display())]
    NoLibrary {
        /// The library.
        name: String,
        /// Who needs it.
        needed_by: PathBuf,
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// What starts a script or loads a program is not there.
    #[error("cannot find {}, which {} needs", name.display(), needed_by.display())]
    NoInterpreter {
        /// The interpreter or loader.
        name: PathBuf,
        /// Who needs it.
        needed_by: PathBuf,
    },
    /// Asked to be the list of its applets, busybox did not answer.
    #[error("cannot ask {} for its applets", path.display())]
    Applets {
        /// The busybox.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something of this machine cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A path that leads in a circle, through something that is no directory, or to a device or socket.
    #[error("cannot take {}: it leads in a circle, or to neither a file nor a directory", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The archive is none that we read.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        source: onggi_layer::tar::Error,
    },
    /// There is nothing to make an image of.
    #[error("{} is empty", path.display())]
    Empty {
        /// The directory or archive.
        path: PathBuf,
    },
    /// The layer could not be written.
    #[error("cannot write the image's layer")]
    Write {
        /// Why not.
        source: io::Error,
    },
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image could not be named.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Diagnose for BootstrapError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoProgram { .. } | Self::NoLibrary { .. } | Self::NoInterpreter { .. } => Kind::NotFound,
            Self::NotAProgram { .. } | Self::Damaged { .. } | Self::Path { .. } | Self::Empty { .. } => Kind::Invalid,
            Self::Applets { source, .. } | Self::Read { source, .. } | Self::Write { source } => of_io(source),
            Self::Archive { source, .. } => source.kind(),
            Self::Store(error) => error.kind(),
            Self::Image(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram { .. } => Some("give its path, or install it on this machine first".into()),
            Self::NoLibrary { searched, .. } => Some(format!("it is in none of {}", list(searched))),
            Self::NotAProgram { .. } => Some("a file without execute permission is taken as data".into()),
            Self::Store(error) => error.hint(),
            Self::Image(error) => error.hint(),
            _ => None,
        }
    }
}

fn of_io(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Denied,
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData => Kind::Invalid,
        _ => Kind::Unavailable,
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
