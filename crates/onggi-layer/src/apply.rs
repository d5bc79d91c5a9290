//! A tar stream becomes a directory that overlayfs mounts as a lower layer.
//!
//! Every entry is made by descriptors inside the root: a parent is reached one component at a time and no link on
//! the way is followed, except inside the root to a directory of the same layer. What exists is never opened, only
//! replaced. The layers below are not looked at, so layers unpack in any order; what cannot be decided without
//! them is left in [`Finish`].

mod attributes;
mod place;
mod walk;

use std::io::BufRead;
use std::path::{Path, PathBuf};

use onggi_fs::Root;
use onggi_sys as sys;

use crate::name::{self, BadName, Target};
use crate::overlay::Namespace;
use crate::{Error, Finish, tar};
use walk::Walk;

/// Who shall own what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whom the archive names.
    Archive,
    /// Whoever unpacks: the only choice in a user namespace that holds one id.
    Caller,
}

/// How to unpack.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to call the layer in messages.
    pub layer: String,
    /// How directories are marked opaque.
    pub namespace: Namespace,
    /// Who shall own the files.
    pub owner: Owner,
    /// How much the archive may ask for.
    pub limits: tar::Limits,
}

impl Options {
    /// The usual, for a layer called `layer`.
    pub fn new(layer: impl Into<String>, namespace: Namespace) -> Self {
        Self { layer: layer.into(), namespace, owner: Owner::Archive, limits: tar::Limits::default() }
    }
}

/// What came out of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of file data written.
    pub bytes: u64,
    /// What was left out, and why, for the user to read; the first hundred.
    pub notes: Vec<String>,
    /// What is open until the layers below are known.
    pub finish: Finish,
}

const MAX_NOTES: usize = 100;

/// Unpacks the archive in `tar` into the empty directory `into`.
///
/// # Errors
/// At the first entry that is damaged, impossible or refused by the kernel; `into` is then half filled, for its
/// owner to throw away.
pub fn apply(tar: impl BufRead, into: &Root, options: &Options) -> Result<Applied, Error> {
    let mut reader = tar::Reader::new(tar, options.limits);
    let mut applier = Applier { options, walk: Walk::new(into, options.namespace), applied: Applied::default() };
    while let Some(entry) = reader.next_entry().map_err(|source| applier.archive_error(source))? {
        applier.entry(&entry, &mut reader)?;
    }
    applier.finish()
}

impl Applied {
    fn note(&mut self, path: &Path, what: &str) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(format!("{}: {what}", path.display()));
        }
    }
}

struct Applier<'a> {
    options: &'a Options,
    walk: Walk<'a>,
    applied: Applied,
}

/// Why one entry could not be made; becomes an [`Error`] when its path is known.
enum Fault {
    Kernel(sys::Error),
    Entry(&'static str),
    Archive(tar::Error),
}

impl From<sys::Error> for Fault {
    fn from(error: sys::Error) -> Self {
        Self::Kernel(error)
    }
}

impl Applier<'_> {
    fn entry(&mut self, entry: &tar::Entry, data: &mut impl BufRead) -> Result<(), Error> {
        self.applied.entries += 1;
        let target = name::target(&entry.path).map_err(|reason| self.name_error(&entry.path, reason))?;
        let (path, result) = match target {
            Target::Ignored => return Ok(()),
            Target::Root => (PathBuf::from("."), self.root(entry)),
            Target::Opaque(path) => {
                let result = self.instruction(entry).and_then(|()| self.opaque(&path));
                (path, result)
            }
            Target::Whiteout(path) => {
                let result = self.instruction(entry).and_then(|()| self.whiteout(&path));
                (path, result)
            }
            Target::Path(path) => {
                let result = self.place(&path, entry, data);
                (path, result)
            }
        };
        result.map_err(|fault| self.entry_error(&path, fault))
    }

    fn finish(mut self) -> Result<Applied, Error> {
        self.walk.settle().map_err(|(path, fault)| self.entry_error(&path, fault))?;
        self.applied.finish.implicit = self.walk.implicit();
        Ok(self.applied)
    }

    fn name_error(&self, raw: &[u8], reason: BadName) -> Error {
        Error::Name {
            layer: self.options.layer.clone(),
            name: String::from_utf8_lossy(&raw[..raw.len().min(300)]).into_owned(),
            reason: reason.to_string(),
            hostile: reason == BadName::Escape,
        }
    }

    fn entry_error(&self, path: &Path, fault: Fault) -> Error {
        let (layer, path) = (self.options.layer.clone(), path.to_path_buf());
        match fault {
            Fault::Kernel(source) => Error::Unpack { layer, path, source },
            Fault::Entry(reason) => Error::Entry { layer, path, reason },
            Fault::Archive(source) => self.archive_error(source),
        }
    }

    fn archive_error(&self, source: tar::Error) -> Error {
        Error::archive(&self.options.layer, source)
    }
}
