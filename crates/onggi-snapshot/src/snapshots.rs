//! The store and its doors.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_fs::{Durability, Lock, LockMode, Root, ensure_dir, size_of_tree, write_atomic};
use onggi_layer::overlay::Namespace;
use onggi_layer::{Applied, Owner};
use onggi_oci::Digest;
use onggi_sys::file::{self, Mode, OFlags};
use onggi_sys::{Errno, Result as SysResult};

use crate::chain::Stack;
use crate::mount::Overlay;
use crate::pending::{FILES, digest_of, name_of};
use crate::temporary::{self, Temporary};
use crate::{Error, PendingLayer, copy};

const LOCK: &str = ".lock";
const UPPER: &str = "upper";
const WORK: &str = "work";
const LOWER: &str = "lower";
/// A lower layer for images without any, and a place for a mount of a moment.
pub(crate) const EMPTY: &str = "empty";
pub(crate) const DIFF: &str = "diff";
pub(crate) const CHAIN: &str = "chain";

/// How long a command waits for a prune to end; a prune only moves directories while it holds the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// The layers and writable directories below one directory. See the page of the crate for the tree.
#[derive(Debug)]
pub struct Snapshots {
    path: PathBuf,
    root: Root,
    layers: Root,
    chains: Root,
    writables: Root,
    namespace: Namespace,
    owner: Owner,
}

/// While it is held, no layer goes away.
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}

impl Snapshots {
    /// Opens the store in `path`, made if it is not there, and removes what a crash left in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::try_open(path).map_err(|source| Error::Open { path: path.to_path_buf(), source })
    }

    fn try_open(path: &Path) -> SysResult<Self> {
        let root = ensure_dir(path, 0o700)?;
        temporary::sweep(&root)?;
        let child = |name| match root.child_dir(name) {
            Err(error) if error.is(Errno::NOENT) => ensure_dir(path.join(name), 0o700),
            other => other,
        };
        let (layers, chains, writables) = (child(DIFF)?, child(CHAIN)?, child("writable")?);
        drop(child(EMPTY)?);
        let ids = IdRanges::ours();
        let namespace = if ids.everything { Namespace::Trusted } else { Namespace::User };
        let owner = if ids.count == 1 { Owner::Caller } else { Owner::Archive };
        let path = file::name_of(&root);
        Ok(Self { path, root, layers, chains, writables, namespace, owner })
    }

    /// Whether the layer is unpacked.
    pub fn has_layer(&self, diff_id: &Digest) -> Result<bool, Error> {
        match file::stat_at(&self.layers, name_of(diff_id)) {
            Ok(_) => Ok(true),
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            Err(source) => Err(Error::Store { layer: diff_id.clone(), source }),
        }
    }

    /// Begins to unpack a layer. Two may do so at once; the first to finish wins and the other does not notice.
    pub fn begin_layer(&self, diff_id: &Digest) -> Result<PendingLayer<'_>, Error> {
        PendingLayer::new(self, diff_id)
    }

    /// Unpacks a layer unless it is there; see [`PendingLayer::unpack`]. `None` if it was, with `blob` not read.
    pub fn unpack(&self, diff_id: &Digest, blob: impl Read + Send) -> Result<Option<Applied>, Error> {
        if self.has_layer(diff_id)? {
            return Ok(None);
        }
        self.begin_layer(diff_id)?.unpack(blob).map(Some)
    }

    /// Keeps all layers from going away until the lease is dropped: from finding one to writing down who needs it.
    pub fn lease(&self) -> Result<Lease, Error> {
        let lock = Lock::acquire(&self.root, LOCK, LockMode::Shared, PATIENCE);
        lock.map(|lock| Lease { _lock: lock }).map_err(|source| Error::Busy { source })
    }

    /// Fits `layers` (bottom first) on each other where that is needed, so that an image that cannot be mounted fails
    /// when it is pulled and not when it is run.
    pub fn prepare(&self, layers: &[Digest]) -> Result<(), Error> {
        self.stack(layers).map(drop)
    }

    /// Makes the directory that the container `id` writes to, on top of `layers` (bottom first; none is fine).
    ///
    /// The caller holds a [`Lease`] from finding the layers to here. With [`Durability::Durable`] the snapshot survives a
    /// power cut; a container that does not outlive its command needs no more than [`Durability::Volatile`].
    ///
    /// # Errors
    /// [`Error::Exists`] if the id is taken, [`Error::NoLayer`] if a layer is missing.
    pub fn create_writable(&self, id: &str, layers: &[Digest], durability: Durability) -> Result<(), Error> {
        check_id(id)?;
        let stack = self.stack(layers)?;
        let made = self.make_writable(id, &stack, durability);
        match made.map_err(|source| Error::Writable { id: id.into(), source })? {
            true => Ok(()),
            false => Err(Error::Exists { id: id.into() }),
        }
    }

    fn make_writable(&self, id: &str, stack: &Stack, durability: Durability) -> SysResult<bool> {
        let work = Temporary::new(&self.root)?;
        for name in [UPPER, WORK] {
            file::mkdir(work.dir(), name, Mode::RWXU)?;
        }
        match &stack.root {
            Some(layer) => copy::directory_attributes(&self.root.dir(layer)?, ".", work.dir(), UPPER)?,
            None => file::chmod_at(work.dir(), UPPER, Mode::from_raw_mode(0o755))?,
        }
        write_atomic(work.dir(), LOWER, stack.to_text().as_bytes(), 0o600, durability)?;
        let kept = work.keep(&self.writables, id)?;
        if durability == Durability::Durable {
            let readable = file::open(&self.writables, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            file::sync(&readable)?;
        }
        Ok(kept)
    }

    /// Mounts the snapshot `id`, attached nowhere. At most one such mount may exist at a time.
    ///
    /// With [`Durability::Volatile`] nothing that is written to it is promised to be on the disk, whoever asks, and it
    /// cannot be mounted again.
    pub fn mount(&self, id: &str, durability: Durability) -> Result<OwnedFd, Error> {
        let (writable, stack) = self.writable(id)?;
        let overlay = Overlay { store: self, layers: &stack.layers, writable: Some(&writable), durability };
        overlay.mount(&format!("snapshot `{id}`"))
    }

    /// Mounts `layers` (bottom first) read-only, attached nowhere.
    pub fn mount_ro(&self, layers: &[Digest]) -> Result<OwnedFd, Error> {
        let stack = self.stack(layers)?;
        let overlay = Overlay { store: self, layers: &stack.layers, writable: None, durability: Durability::Durable };
        overlay.mount("layers")
    }

    /// What the container `id` wrote, in overlayfs's form.
    pub fn upper(&self, id: &str) -> Result<Root, Error> {
        let (writable, _) = self.writable(id)?;
        writable.child_dir(UPPER).map_err(|source| Error::Writable { id: id.into(), source })
    }

    /// Removes the snapshot `id`; it is gone at once, its space when this returns. Nothing is done if there is none.
    pub fn remove_writable(&self, id: &str) -> Result<(), Error> {
        self.bury_writable(id)?.remove()
    }

    /// Takes the snapshot `id` out of the store, if it is there; its space is free when what this returns is.
    pub fn bury_writable(&self, id: &str) -> Result<Buried, Error> {
        check_id(id)?;
        let bury = || {
            let grave = Temporary::new(&self.root)?;
            grave.take(&self.writables, id)?;
            Ok(grave)
        };
        let failed = |source| Error::Writable { id: id.into(), source };
        Ok(Buried { id: id.into(), grave: bury().map_err(failed)? })
    }

    /// The ids of all snapshots.
    pub fn writables(&self) -> Result<Vec<String>, Error> {
        let entries = file::entries(&self.writables).map_err(|source| Error::Tidy { source })?;
        Ok(entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect())
    }

    /// The diff ids of all unpacked layers.
    pub fn layers(&self) -> Result<Vec<Digest>, Error> {
        let entries = file::entries(&self.layers).map_err(|source| Error::Tidy { source })?;
        Ok(entries.iter().filter_map(|entry| digest_of(&entry.name)).collect())
    }

    /// Bytes on disk that the container `id` wrote.
    pub fn writable_size(&self, id: &str) -> Result<u64, Error> {
        check_id(id)?;
        size_of_tree(&self.writables, id).map_err(|source| Error::Writable { id: id.into(), source })
    }

    /// Bytes on disk of a layer.
    pub fn layer_size(&self, diff_id: &Digest) -> Result<u64, Error> {
        let size = size_of_tree(&self.layers, name_of(diff_id));
        size.map_err(|source| Error::Store { layer: diff_id.clone(), source })
    }

    /// The directory of `id` and the layers below it.
    pub(crate) fn writable(&self, id: &str) -> Result<(Root, Stack), Error> {
        check_id(id)?;
        let dir = match self.writables.child_dir(id) {
            Err(error) if error.is(Errno::NOENT) => return Err(Error::NotFound { id: id.into() }),
            other => other.map_err(|source| Error::Writable { id: id.into(), source })?,
        };
        let text = dir.read(LOWER, 1 << 20).map_err(|source| Error::Writable { id: id.into(), source })?;
        let stack = Stack::from_text(&text).ok_or_else(|| Error::Damaged { path: file::name_of(&dir).join(LOWER) })?;
        Ok((dir, stack))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn layers_dir(&self) -> &Root {
        &self.layers
    }

    pub(crate) fn chains_dir(&self) -> &Root {
        &self.chains
    }

    pub(crate) fn lock_exclusively(&self, patience: Duration) -> Result<Lock, Error> {
        let lock = Lock::acquire(&self.root, LOCK, LockMode::Exclusive, patience);
        lock.map_err(|source| Error::Busy { source })
    }

    /// How directories of this store are marked opaque.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

/// A snapshot that is out of the store already, on its way off the disk: with [`Buried::remove`], on drop, or by the
/// next to open the store.
#[derive(Debug)]
#[must_use]
pub struct Buried {
    id: String,
    grave: Temporary,
}

impl Buried {
    /// Removes it, and says whether that worked.
    pub fn remove(self) -> Result<(), Error> {
        let Self { id, grave } = self;
        grave.remove().map_err(|source| Error::Writable { id, source })
    }
}

/// Where the files of the layer `diff_id` are, from the store's directory.
pub(crate) fn layer_path(diff_id: &Digest) -> PathBuf {
    [DIFF, &name_of(diff_id), FILES].iter().collect()
}

pub(crate) fn upper_and_work(writable: &Root) -> SysResult<(Root, Root)> {
    Ok((writable.child_dir(UPPER)?, writable.child_dir(WORK)?))
}

fn check_id(id: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let good = (1..=128).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('.');
    if good { Ok(()) } else { Err(Error::BadId { id: id.chars().take(200).collect() }) }
}

/// Which user ids this process can name. user_namespaces(7).
struct IdRanges {
    /// As many as there are: we are not in a user namespace, or in one that makes no difference.
    everything: bool,
    count: u64,
}

impl IdRanges {
    fn ours() -> Self {
        let text = Root::open("/proc/self").and_then(|proc| proc.read("uid_map", 1 << 20)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lengths = text.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        let count = lengths.sum();
        Self { everything: text.split_whitespace().eq(["0", "0", "4294967295"]), count }
    }
}
