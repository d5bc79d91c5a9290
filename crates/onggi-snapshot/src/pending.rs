//! A layer while it is unpacked.

use std::io::Read;

use onggi_fs::{Durability, Root, write_atomic};
use onggi_layer::{Applied, Finish, Options, compression};
use onggi_oci::Digest;
use onggi_sys::file::{self, Mode, OFlags};

use crate::temporary::Temporary;
use crate::{Error, Snapshots};

/// The files of a layer; the name of that of its files.
pub(crate) const FILES: &str = "fs";
/// What depends on the layers below.
pub(crate) const FINISH: &str = "finish";

/// A layer that nobody else sees yet. Dropped, it is gone.
#[derive(Debug)]
pub struct PendingLayer<'s> {
    snapshots: &'s Snapshots,
    diff_id: Digest,
    work: Temporary,
    files: Root,
}

impl<'s> PendingLayer<'s> {
    pub(crate) fn new(snapshots: &'s Snapshots, diff_id: &Digest) -> Result<Self, Error> {
        let begin = || {
            let work = Temporary::new(snapshots.root())?;
            file::mkdir(work.dir(), FILES, Mode::RWXU)?;
            file::chmod_at(work.dir(), FILES, Mode::from_raw_mode(0o755))?;
            let files = work.dir().child_dir(FILES)?;
            Ok((work, files))
        };
        let (work, files) = begin().map_err(|source| Error::Store { layer: diff_id.clone(), source })?;
        Ok(Self { snapshots, diff_id: diff_id.clone(), work, files })
    }

    /// The empty directory to unpack into.
    pub fn root(&self) -> &Root {
        &self.files
    }

    /// How a layer of this store is to be unpacked.
    pub fn options(&self) -> Options {
        let mut options = Options::new(self.diff_id.as_str(), self.snapshots.namespace());
        options.owner = self.snapshots.owner();
        options
    }

    /// Unpacks `blob`, which may be compressed, holds it against the diff id, and stores it.
    ///
    /// # Errors
    /// As [`onggi_layer::unpack`] and [`PendingLayer::commit`]; nothing is left of the layer then.
    pub fn unpack(self, blob: impl Read + Send) -> Result<Applied, Error> {
        let limits = compression::Limits::default();
        let unpacked = onggi_layer::unpack(blob, &self.files, Some(&self.diff_id), limits, &self.options())?;
        self.commit(&unpacked.applied.finish)?;
        Ok(unpacked.applied)
    }

    /// Stores the layer, which must be whole: on return it is there and stays there over a power cut.
    ///
    /// It is fine if another process stored the same layer meanwhile.
    pub fn commit(self, finish: &Finish) -> Result<(), Error> {
        let Self { snapshots, diff_id, work, files: _files } = self;
        let store = || {
            if !finish.is_settled() {
                write_atomic(work.dir(), FINISH, &finish.to_bytes(), 0o600, Durability::Volatile)?;
            }
            let readable = file::open(work.dir(), ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            file::sync_all(&readable)?;
            let layers = snapshots.layers_dir();
            work.keep(layers, name_of(&diff_id))?;
            let readable = file::open(layers, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            file::sync(&readable)
        };
        store().map_err(|source| Error::Store { layer: diff_id.clone(), source })
    }

    /// Gives the layer up.
    pub fn abort(self) -> Result<(), Error> {
        self.work.remove().map_err(|source| Error::Store { layer: self.diff_id, source })
    }
}

/// The directory of a layer or chain: a colon would split overlayfs's options.
pub(crate) fn name_of(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest that [`name_of`] made `name` from.
pub(crate) fn digest_of(name: &std::ffi::OsStr) -> Option<Digest> {
    let (algorithm, hex) = name.to_str()?.split_once('-')?;
    Digest::parse(&format!("{algorithm}:{hex}")).ok()
}
