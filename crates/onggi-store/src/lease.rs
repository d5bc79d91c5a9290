//! What a process needs although no name leads there.

use std::sync::atomic::{AtomicU32, Ordering};

use onggi_fs::{Lock, LockMode, Root};
use onggi_oci::Descriptor;
use onggi_sys::file::{self, AtFlags, Mode, OFlags};

use crate::error::Doing;
use crate::store::LEASES;
use crate::{Begun, Ingest, Store, StoreError};

/// A lease names blobs by descriptors, a line of a few hundred bytes each.
const LEASE_LIMIT: usize = 64 << 20;

/// Keeps blobs from being collected as long as it lives; all content enters the store through one.
///
/// It is a file that lists what is kept and is locked by its owner: if that dies the lock goes, and the next
/// collection removes the file. Clocks have no part in it.
#[derive(Debug)]
pub struct Lease<'s> {
    store: &'s Store,
    dir: Root,
    name: String,
    file: Lock,
}

impl Store {
    /// A lease that keeps nothing yet.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn lease(&self) -> Result<Lease<'_>, StoreError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let taken = || "lease images".to_owned();
        let dir = self.subdir(LEASES).doing(taken)?;
        loop {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            // Another process may have our id in its own pid namespace; then the name is locked, and the next is tried.
            if let Some(file) = Lock::try_acquire(&dir, &name, LockMode::Exclusive).doing(taken)? {
                file::truncate(&file, 0).doing(taken)?;
                return Ok(Lease { store: self, dir, name, file });
            }
        }
    }

    /// What living leases keep. Files of dead ones are removed; only the collector may call this.
    pub(crate) fn leased(&self) -> Result<Vec<Descriptor>, StoreError> {
        let reading = || "read the leases on images".to_owned();
        let dir = self.subdir(LEASES).doing(reading)?;
        let mut kept = Vec::new();
        for entry in file::entries(&dir).doing(reading)? {
            if let Some(_dead) = Lock::try_acquire(&dir, &entry.name, LockMode::Exclusive).doing(reading)? {
                file::unlink(&dir, &entry.name, AtFlags::empty()).doing(reading)?;
                continue;
            }
            let file = match file::open(&dir, &entry.name, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()) {
                Err(error) if error.is(onggi_sys::Errno::NOENT) => continue,
                other => other.doing(reading)?,
            };
            let text = file::read_all(&file, LEASE_LIMIT).doing(reading)?;
            for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                kept.push(serde_json::from_slice(line).map_err(|source| StoreError::Layout { file: LEASES, source })?);
            }
        }
        Ok(kept)
    }
}

impl Lease<'_> {
    /// Keeps a blob, and whatever it leads to if it is a manifest or an index; answers whether it is there.
    ///
    /// After `true` it stays until the lease ends, whatever other processes remove.
    ///
    /// # Errors
    /// If the lease cannot be written; [`StoreError::Verify`] if what is there has another size than described.
    pub fn keep(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        self.note(descriptor)?;
        self.store.has_described(descriptor)
    }

    /// Begins to receive the content that `descriptor` describes, where a former attempt ended.
    ///
    /// # Errors
    /// If the partial file cannot be made or read; [`StoreError::Verify`] if the blob is there with another size.
    pub fn ingest(&self, descriptor: &Descriptor) -> Result<Begun, StoreError> {
        self.note(descriptor)?;
        Ingest::begin(self.store, descriptor)
    }

    /// As [`Lease::ingest`] from the beginning and beside whoever else receives it: for when that one does not get on.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn ingest_apart(&self, descriptor: &Descriptor) -> Result<Ingest, StoreError> {
        self.note(descriptor)?;
        Ingest::begin_apart(self.store, descriptor)
    }

    /// Stores `content` and describes it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, media_type: &str, content: &[u8]) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::of(media_type, content);
        self.put_as(&descriptor, content)?;
        Ok(descriptor)
    }

    /// Stores `content`, which must be what `descriptor` describes.
    ///
    /// # Errors
    /// [`StoreError::Verify`], or if it cannot be written.
    pub fn put_as(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), StoreError> {
        if self.keep(descriptor)? {
            return Ok(());
        }
        // Apart: a document is written in one go, and whatever a former attempt left of it is not worth reading.
        let mut ingest = self.ingest_apart(descriptor)?;
        ingest.append(content)?;
        ingest.commit()
    }

    /// Stores what `content` gives, whose digest is not known before: a new layer, a file from the user.
    ///
    /// # Errors
    /// Of reading, with the [`StoreError`] inside if it was the store's.
    pub fn put_stream(&self, media_type: &str, content: impl std::io::Read) -> std::io::Result<Descriptor> {
        let mut ingest = Ingest::unnamed(self.store)?;
        let (digest, size) = ingest.copy_from(content)?;
        let descriptor = Descriptor::new(media_type, digest, size);
        self.note(&descriptor)?;
        ingest.commit_as(&descriptor.digest)?;
        Ok(descriptor)
    }

    /// The store it is a lease on.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// Adds a line. The lock makes a collector that reads leases now finish first; then the blob is gone or stays.
    fn note(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let plain = Descriptor::new(&descriptor.media_type, descriptor.digest.clone(), descriptor.size);
        let mut line = serde_json::to_vec(&plain).expect("a descriptor is always JSON");
        line.push(b'\n');
        let noting = || format!("lease blob {}", descriptor.digest);
        let _not_collecting = self.store.lock_collection(LockMode::Shared).doing(noting)?;
        file::write_all(&self.file, &line).doing(noting)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // If it stays, the next collection finds it unlocked and removes it.
        drop(file::unlink(&self.dir, &self.name, AtFlags::empty()));
    }
}
