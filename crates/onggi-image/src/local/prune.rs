//! Removing what nobody uses.

use std::collections::HashSet;
use std::time::Duration;

use onggi_oci::Digest;
use onggi_store::CollectOptions;

use crate::{ImageError, Images, InUse, Removed};

/// How long a prune waits for commands that are at the unpacked layers: those hold them for milliseconds, unless they
/// unpack an image.
const LAYER_PATIENCE: Duration = Duration::from_secs(30);

/// What to prune.
#[derive(Clone, Copy)]
pub struct PruneOptions<'a> {
    /// Also images with names, if no container uses them.
    pub all: bool,
    /// Tells of a container that uses the image with this ID.
    pub in_use: &'a dyn Fn(&Digest) -> Option<InUse>,
}

/// What a prune did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Names and images that are gone.
    pub removed: Vec<Removed>,
    /// Bytes of the disk that are free again.
    pub reclaimed: u64,
}

impl Images {
    /// Removes images without a name (all, if asked) that no container uses, and what nothing leads to.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn prune(&self, options: PruneOptions<'_>) -> Result<Pruned, ImageError> {
        let removed = self.store().edit_names(|names| {
            let mut removed = Vec::new();
            for entry in names.clone().entries() {
                let ids = self.ids_under(&entry.descriptor);
                let used = ids.iter().any(|id| (options.in_use)(id).is_some());
                if used || (entry.name.is_some() && !options.all) {
                    continue;
                }
                // An entry has one name; the image goes with the last.
                removed.extend(entry.name.iter().cloned().map(Removed::Untagged));
                match &entry.name {
                    Some(name) => drop(names.untag(name)),
                    None => drop(names.forget(&entry.descriptor.digest)),
                }
                if !names.entries().any(|other| other.descriptor.digest == entry.descriptor.digest) {
                    removed.extend(ids.into_iter().map(Removed::Deleted));
                }
            }
            Ok::<_, ImageError>(removed)
        })?;
        // Whoever prunes wants the space now; a download that nobody is at begins anew.
        let reclaimed = self.collect(&CollectOptions { give_up_after: Duration::ZERO }, LAYER_PATIENCE)?;
        Ok(Pruned { removed, reclaimed })
    }

    /// Removes blobs and unpacked layers that nothing leads to, and downloads that were given up; answers the bytes.
    ///
    /// Waits at most `patience` for those who rely on unpacked layers at the moment.
    ///
    /// # Errors
    /// If a manifest that is kept cannot be read; [`onggi_snapshot::Error::Busy`] if the layers stay in use.
    pub fn collect(&self, options: &CollectOptions, patience: Duration) -> Result<u64, ImageError> {
        let blobs = self.store().collect(options)?.bytes;
        let pruned = self.snapshots().prune(patience, || self.layers_of_all())?;
        self.sweep_sizes().map_err(|source| ImageError::System { what: "remove notes on layers".into(), source })?;
        Ok(blobs + pruned.bytes)
    }

    /// The diff ids of all images that are here, for whatever platform.
    fn layers_of_all(&self) -> Result<HashSet<Digest>, ImageError> {
        let mut kept = HashSet::new();
        for entry in self.store().list()? {
            for (_, manifest) in self.manifests_under(&entry.descriptor)? {
                // What is not a container image, or lacks its configuration, has no layers that could be unpacked.
                if let Ok(configuration) = self.configuration(&manifest) {
                    kept.extend(configuration.rootfs.diff_ids);
                }
            }
        }
        Ok(kept)
    }
}
