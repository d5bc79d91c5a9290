//! Removing what nothing leads to.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use onggi_fs::{Lock, LockMode, sweep_temporaries};
use onggi_oci::{Descriptor, Digest, Manifest, media_type};
use onggi_sys::Errno;
use onggi_sys::file::{self, AtFlags};

use crate::blob::blob_path;
use crate::error::Doing;
use crate::store::INGEST;
use crate::{Store, StoreError};

/// What to collect beside blobs that nothing leads to.
#[derive(Debug, Clone)]
pub struct CollectOptions {
    /// Downloads that nobody has continued for so long are given up.
    pub give_up_after: Duration,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { give_up_after: Duration::from_secs(24 * 60 * 60) }
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs and partial downloads.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Collected {
    fn add(&mut self, bytes: u64) {
        self.removed += 1;
        self.bytes += bytes;
    }
}

impl Store {
    /// Removes what neither a name nor a living lease leads to, and stale partial downloads.
    ///
    /// Leases of other processes cannot grow meanwhile, so this is quick: it reads manifests, and no layers.
    ///
    /// # Errors
    /// [`StoreError::Manifest`] or [`StoreError::Verify`] before anything is removed, if a manifest that is kept cannot
    /// be read: what it leads to would be lost.
    pub fn collect(&self, options: &CollectOptions) -> Result<Collected, StoreError> {
        let collecting = || "collect unused blobs".to_owned();
        let _alone = self.lock_collection(LockMode::Exclusive).doing(collecting)?;
        // Leases first: one whose owner names its image now and ends is in the names, read later, or in both.
        let mut kept = self.leased()?;
        kept.extend(self.names()?.roots());
        let marked = self.mark(kept)?;
        let mut collected = Collected::default();
        for (digest, size) in self.blobs()? {
            if !marked.contains(&digest) && self.remove_blob(&digest)? {
                collected.add(size);
            }
        }
        self.sweep_partials(options, &mut collected).doing(collecting)?;
        sweep_temporaries(self).doing(collecting)?;
        Ok(collected)
    }

    /// The digests that `kept` lead to, themselves included.
    fn mark(&self, kept: Vec<Descriptor>) -> Result<HashSet<Digest>, StoreError> {
        let mut marked = HashSet::new();
        let mut open = kept;
        while let Some(descriptor) = open.pop() {
            if marked.insert(descriptor.digest.clone()) && leads_on(&descriptor) {
                match self.manifest(&descriptor) {
                    Ok(manifest) => open.extend(children(manifest)),
                    // An index names all platforms, and the store has those that were asked for.
                    Err(StoreError::NoBlob { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(marked)
    }

    fn remove_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        match file::unlink(self, blob_path(digest), AtFlags::empty()) {
            Err(error) if error.is(Errno::NOENT) => Ok(false),
            other => other.doing(|| format!("remove blob {digest}")).map(|()| true),
        }
    }

    fn sweep_partials(&self, options: &CollectOptions, collected: &mut Collected) -> onggi_sys::Result<()> {
        let dir = self.subdir(INGEST)?;
        for entry in file::entries(&dir)? {
            let name = Path::new(&entry.name);
            // Whose writer lives is locked. Locking one that was renamed away meanwhile makes an empty file: also stale.
            let Some(lock) = Lock::try_acquire(&dir, name, LockMode::Exclusive)? else { continue };
            let stat = file::stat(&lock)?;
            let nameless = entry.name.to_string_lossy().starts_with("new-");
            if nameless || stat.st_size == 0 || age(stat.st_mtime) >= options.give_up_after {
                file::unlink(&dir, name, AtFlags::empty())?;
                if let Some(bytes) = u64::try_from(stat.st_size).ok().filter(|&bytes| bytes > 0) {
                    collected.add(bytes);
                }
            }
        }
        Ok(())
    }
}

fn leads_on(descriptor: &Descriptor) -> bool {
    media_type::is_manifest(&descriptor.media_type) || media_type::is_index(&descriptor.media_type)
}

fn children(manifest: Manifest) -> Vec<Descriptor> {
    match manifest {
        Manifest::Image(image) => std::iter::once(image.config).chain(image.layers).chain(image.subject).collect(),
        Manifest::Index(index) => index.manifests.into_iter().chain(index.subject).collect(),
    }
}

fn age(modified: i64) -> Duration {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(modified).unwrap_or(0));
    SystemTime::now().duration_since(modified).unwrap_or_default()
}
