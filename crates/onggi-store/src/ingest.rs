//! Content on its way in.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use onggi_fs::{Lock, LockMode, Root};
use onggi_oci::{Algorithm, Descriptor, Digest, Hasher, Verifier, VerifyError};
use onggi_sys::file::{self, AtFlags, Mode, OFlags, RenameFlags};

use crate::blob::blob_path;
use crate::error::Doing;
use crate::store::{INGEST, blob_dir};
use crate::{Lease, Store, StoreError};

const BUFFER: usize = 128 << 10;

/// What beginning to receive a blob led to.
#[derive(Debug)]
pub enum Begun {
    /// It is there already.
    Present,
    /// It is to be written from [`Ingest::offset`] on.
    Ingest(Ingest),
    /// Another process is receiving it; ask again later, or use [`Lease::ingest_apart`].
    Busy,
}

/// A blob that is being written.
///
/// Bytes are hashed as they come; [`Ingest::commit`] gives it its name if they are what was promised. Dropped without
/// that, it leaves what came, if anything did, for the next attempt; content that was found wrong, or that did not fit
/// on the disk, is removed.
#[derive(Debug)]
pub struct Ingest {
    partial: Partial,
    verifier: Option<Verifier>,
    digest: Digest,
    offset: u64,
    resumed: bool,
}

impl Ingest {
    pub(crate) fn begin(store: &Store, descriptor: &Descriptor) -> Result<Begun, StoreError> {
        let digest = &descriptor.digest;
        let beginning = || format!("receive blob {digest}");
        if store.has_described(descriptor)? {
            return Ok(Begun::Present);
        }
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        let Some(mut partial) = Partial::open(store, name).doing(beginning)? else { return Ok(Begun::Busy) };
        // Whoever had the lock before may have finished, and then this partial file is a new and empty one.
        if store.has_described(descriptor)? {
            partial.remove = true;
            return Ok(Begun::Present);
        }
        let mut verifier = Verifier::of(descriptor);
        let offset = partial.rehash(&mut verifier, descriptor.size).doing(beginning)?;
        let verifier = if offset == 0 { Verifier::of(descriptor) } else { verifier };
        Ok(Begun::Ingest(Self {
            partial,
            verifier: Some(verifier),
            digest: digest.clone(),
            offset,
            resumed: offset > 0,
        }))
    }

    pub(crate) fn begin_apart(store: &Store, descriptor: &Descriptor) -> Result<Self, StoreError> {
        let digest = descriptor.digest.clone();
        let partial = Partial::unnamed(store).doing(|| format!("receive blob {digest}"))?;
        Ok(Self { partial, verifier: Some(Verifier::of(descriptor)), digest, offset: 0, resumed: false })
    }

    pub(crate) fn unnamed(store: &Store) -> Result<Unnamed, StoreError> {
        Partial::unnamed(store).map(|partial| Unnamed { partial }).doing(|| "receive a blob".into())
    }

    /// How many bytes are there already: where the next one goes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether there were bytes from a former attempt; if they then turn out wrong, a second attempt is worth while.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Forgets what is there and begins anew: for a server that cannot continue in the middle.
    ///
    /// # Errors
    /// If the file cannot be truncated.
    pub fn restart(&mut self, descriptor: &Descriptor) -> Result<(), StoreError> {
        self.partial.restart().doing(|| format!("receive blob {}", self.digest))?;
        self.verifier = Some(Verifier::of(descriptor));
        (self.offset, self.resumed) = (0, false);
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::Verify`] as soon as there are more than were promised; [`StoreError::System`] on a full disk.
    /// The blob cannot be completed after either.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(verifier) = &mut self.verifier else {
            return Err(VerifyError::TooLong { digest: self.digest.clone(), size: self.offset }.into());
        };
        if let Err(error) = verifier.update(bytes) {
            self.spoil();
            return Err(error.into());
        }
        if let Err(error) = file::write_all(&self.partial.file, bytes) {
            // What is left on a full disk would keep it full.
            self.spoil();
            return Err(error).doing(|| format!("store blob {}", self.digest));
        }
        self.offset += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    fn spoil(&mut self) {
        self.verifier = None;
        self.partial.remove = true;
    }

    /// Verifies the whole, writes it to the disk and gives it its name, in this order.
    ///
    /// # Errors
    /// [`StoreError::Verify`] if it is not what was promised: too short a blob can be continued later, a wrong one
    /// is removed.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let Some(verifier) = self.verifier.take() else {
            return Err(VerifyError::TooLong { digest: self.digest.clone(), size: self.offset }.into());
        };
        if let Err(error) = verifier.finish() {
            self.partial.remove = !matches!(error, VerifyError::TooShort { .. });
            return Err(error.into());
        }
        self.partial.publish(&self.digest)
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Content whose digest shows at its end.
#[derive(Debug)]
pub(crate) struct Unnamed {
    partial: Partial,
}

impl Unnamed {
    pub(crate) fn copy_from(&mut self, mut content: impl Read) -> io::Result<(Digest, u64)> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; BUFFER];
        let mut size = 0;
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok((hasher.finish(), size)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            hasher.update(&buffer[..count]);
            file::write_all(&self.partial.file, &buffer[..count]).doing(|| "store a new blob".into())?;
            size += u64::try_from(count).unwrap_or(0);
        }
    }

    pub(crate) fn commit_as(self, digest: &Digest) -> Result<(), StoreError> {
        self.partial.publish(digest)
    }
}

/// A locked file in `ingest/`.
#[derive(Debug)]
struct Partial {
    /// The layout's root, to reach `blobs/` from.
    root: Root,
    dir: Root,
    name: String,
    lock: Lock,
    /// The same file with an offset of its own, at which the next byte goes.
    file: OwnedFd,
    remove: bool,
    published: bool,
}

impl Partial {
    /// `None` if another process has it.
    fn open(store: &Store, name: String) -> onggi_sys::Result<Option<Self>> {
        let dir = store.subdir(INGEST)?;
        let root = store.root().try_clone()?;
        let Some(lock) = Lock::try_acquire(&dir, &name, LockMode::Exclusive)? else { return Ok(None) };
        let file = file::reopen(&lock, OFlags::RDWR)?;
        Ok(Some(Self { root, dir, name, lock, file, remove: false, published: false }))
    }

    fn unnamed(store: &Store) -> onggi_sys::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("new-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            if let Some(mut partial) = Self::open(store, name)? {
                // Nobody could continue it: its name says nothing of its content.
                partial.remove = true;
                file::truncate(&partial.file, 0)?;
                return Ok(partial);
            }
        }
    }

    /// Feeds what is there to `verifier` and answers its length; a file that is too long is emptied.
    fn rehash(&mut self, verifier: &mut Verifier, size: u64) -> onggi_sys::Result<u64> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = file::read(&self.file, &mut buffer)?;
            if count == 0 {
                return Ok(verifier.seen().min(size));
            }
            if verifier.update(&buffer[..count]).is_err() {
                self.restart()?;
                return Ok(0);
            }
        }
    }

    fn is_empty(&self) -> bool {
        file::stat(&self.file).is_ok_and(|stat| stat.st_size == 0)
    }

    fn restart(&mut self) -> onggi_sys::Result<()> {
        file::truncate(&self.file, 0)?;
        self.file = file::reopen(&self.lock, OFlags::RDWR)?;
        Ok(())
    }

    fn publish(mut self, digest: &Digest) -> Result<(), StoreError> {
        let storing = || format!("store blob {digest}");
        // On failure the bytes are good, but a disk that cannot sync them is no place to keep them.
        self.remove = true;
        file::chmod(&self.file, Mode::from_raw_mode(0o644)).doing(storing)?;
        file::sync(&self.file).doing(storing)?;
        let blobs = self.root.make_dir_all(blob_dir(digest.algorithm()), 0o755).doing(storing)?;
        file::rename(&self.dir, &self.name, &self.root, blob_path(digest), RenameFlags::empty()).doing(storing)?;
        self.published = true;
        sync_dir(&blobs).doing(storing)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published && (self.remove || self.is_empty()) {
            // Left behind, it is swept by the next collection.
            drop(file::unlink(&self.dir, &self.name, AtFlags::empty()));
        }
    }
}

pub(crate) fn sync_dir(dir: impl AsFd) -> onggi_sys::Result<()> {
    // An O_PATH descriptor cannot be synced; opening `.` gives one that can.
    file::sync(file::open(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?)
}

impl Lease<'_> {
    /// Stores what `content` gives and `descriptor` describes, waiting at most `patience` for another that does so.
    ///
    /// # Errors
    /// Of reading, with the [`StoreError`] inside if it was the store's.
    pub fn put_described(&self, descriptor: &Descriptor, mut content: impl Read, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        let mut ingest = loop {
            match self.ingest(descriptor)? {
                Begun::Present => return Ok(()),
                Begun::Ingest(ingest) => break ingest,
                Begun::Busy if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
                Begun::Busy => break self.ingest_apart(descriptor)?,
            }
        };
        if ingest.resumed() {
            ingest.restart(descriptor)?;
        }
        io::copy(&mut content, &mut ingest)?;
        Ok(ingest.commit()?)
    }
}
