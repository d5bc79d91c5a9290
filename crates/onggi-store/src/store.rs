//! The directory.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use onggi_fs::{Durability, Lock, LockMode, Root, ensure_dir, write_atomic};
use onggi_oci::Algorithm;
use onggi_sys::Errno;
use onggi_sys::file::{self, Mode};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::error::Doing;

/// `oci-layout` is a line; what is longer is not one.
const LAYOUT_LIMIT: usize = 4096;
const LAYOUT_VERSION: &str = "1.0.0";
pub(crate) const LAYOUT: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";
pub(crate) const INGEST: &str = "ingest";
pub(crate) const LEASES: &str = "leases";
const NAMES_LOCK: &str = ".names.lock";
const COLLECT_LOCK: &str = ".collect.lock";

/// How long a writer waits for another: each holds a lock for milliseconds, a collection for seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with blobs and names; see the [crate's page](crate) for what lies where.
#[derive(Debug)]
pub struct Store {
    root: Root,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

impl Store {
    /// Opens the store in the directory `path`, making it if there is none; `path` is trusted.
    ///
    /// # Errors
    /// [`StoreError::Version`] or [`StoreError::Layout`] if the directory is not a layout that can be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let root = ensure_dir(path, 0o700).doing(|| format!("open the image store {}", path.display()))?;
        let store = Self { root };
        if !store.has_layout()? {
            store.make_layout().doing(|| format!("make the image store {}", path.display()))?;
        }
        Ok(store)
    }

    fn has_layout(&self) -> Result<bool, StoreError> {
        let bytes = match self.root.read(LAYOUT, LAYOUT_LIMIT) {
            Err(error) if error.is(Errno::NOENT) => return Ok(false),
            other => other.doing(|| "read the image store's oci-layout".into())?,
        };
        let layout: Layout =
            serde_json::from_slice(&bytes).map_err(|source| StoreError::Layout { file: LAYOUT, source })?;
        if layout.image_layout_version == LAYOUT_VERSION {
            Ok(true)
        } else {
            Err(StoreError::Version { version: layout.image_layout_version })
        }
    }

    /// `oci-layout` is written last: where it is, all the rest is.
    fn make_layout(&self) -> onggi_sys::Result<()> {
        let _writing = self.lock_names()?;
        for algorithm in Algorithm::ALL {
            self.root.make_dir_all(blob_dir(algorithm), 0o755)?;
        }
        self.root.make_dir_all(INGEST, 0o700)?;
        self.root.make_dir_all(LEASES, 0o700)?;
        if let Err(error) = file::stat_at(&self.root, INDEX) {
            if !error.is(Errno::NOENT) {
                return Err(error);
            }
            write_atomic(&self.root, INDEX, br#"{"schemaVersion":2,"manifests":[]}"#, 0o644, Durability::Durable)?;
        }
        let layout = format!(r#"{{"imageLayoutVersion":"{LAYOUT_VERSION}"}}"#);
        write_atomic(&self.root, LAYOUT, layout.as_bytes(), 0o644, Durability::Durable)
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// A directory of the layout, which a user may have emptied or a tool may have left out.
    pub(crate) fn subdir(&self, name: &str) -> onggi_sys::Result<Root> {
        match self.root.child_dir(name) {
            Err(error) if error.is(Errno::NOENT) => {
                match file::mkdir(&self.root, name, Mode::RWXU) {
                    Err(error) if !error.is(Errno::EXIST) => return Err(error),
                    _ => {}
                }
                self.root.child_dir(name)
            }
            other => other,
        }
    }

    pub(crate) fn lock_names(&self) -> onggi_sys::Result<Lock> {
        Lock::acquire(&self.root, NAMES_LOCK, LockMode::Exclusive, PATIENCE)
    }

    pub(crate) fn lock_collection(&self, mode: LockMode) -> onggi_sys::Result<Lock> {
        Lock::acquire(&self.root, COLLECT_LOCK, mode, PATIENCE)
    }
}

impl AsFd for Store {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

pub(crate) fn blob_dir(algorithm: Algorithm) -> String {
    format!("blobs/{}", algorithm.name())
}
