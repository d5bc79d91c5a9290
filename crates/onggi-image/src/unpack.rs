//! Layers as directories.

use std::collections::HashSet;
use std::io::Read;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use onggi_fs::{Durability, sweep_temporaries, write_atomic};
use onggi_oci::{Descriptor, Digest, ImageManifest, Platform};
use onggi_sys::Errno;
use onggi_sys::file::{self, AtFlags};

use crate::{Image, ImageError, Images};

/// Unpacking is inflating, hashing and writing, two threads a layer; more at once only wait for the same disk.
const AT_ONCE: usize = 4;

/// An image that stays as it is, content and layers, until this is dropped.
#[derive(Debug)]
pub struct Held {
    /// The image.
    pub image: Image,
    layers: onggi_snapshot::Lease,
}

impl Held {
    /// What keeps the layers, for a caller that is done with the image but not with them.
    pub fn into_layers(self) -> onggi_snapshot::Lease {
        self.layers
    }
}

impl Images {
    /// Resolves `query` to an image whose layers are all unpacked and stay until the answer is dropped: long enough to
    /// make a writable snapshot on them, which keeps them from then on.
    ///
    /// # Errors
    /// As [`Images::resolve_for`] and [`Images::ensure_unpacked`].
    pub fn hold(&self, query: &str, platform: Option<&Platform>) -> Result<Held, ImageError> {
        let layers = self.snapshots().lease()?;
        let image = self.resolve_for(query, platform)?;
        self.ensure_unpacked(&image)?;
        Ok(Held { image, layers })
    }

    /// Unpacks the layers of `image` that are not, several at once, each held against its diff id.
    ///
    /// Unless the caller has a lease on the layers ([`onggi_snapshot::Snapshots::lease`]) a prune may take them away
    /// again before the image has a name.
    ///
    /// # Errors
    /// If a layer's blob is missing, damaged, or not the layer that the configuration names; others may be unpacked then.
    pub fn ensure_unpacked(&self, image: &Image) -> Result<(), ImageError> {
        if self.missing(&image.manifest, image.diff_ids())?.is_empty() {
            return Ok(());
        }
        // Whoever removes the image meanwhile shall not take the blobs that are being read.
        let lease = self.store().lease()?;
        lease.keep(&image.manifest_descriptor)?;
        self.unpack_missing(&image.manifest, image.diff_ids())?;
        Ok(self.snapshots().prepare(image.diff_ids())?)
    }

    /// Unpacks the layers of `manifest` that are not. The caller has a lease on its blobs.
    pub(crate) fn unpack_missing(&self, manifest: &ImageManifest, diff_ids: &[Digest]) -> Result<(), ImageError> {
        self.unpack_all(&self.missing(manifest, diff_ids)?)
    }

    /// The layers that are not unpacked, each once.
    fn missing<'i>(
        &self,
        manifest: &'i ImageManifest,
        diff_ids: &'i [Digest],
    ) -> Result<Vec<(&'i Descriptor, &'i Digest)>, ImageError> {
        let mut missing: Vec<(&Descriptor, &Digest)> = Vec::new();
        for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let twice = missing.iter().any(|(_, other)| *other == diff_id);
            if !twice && !self.snapshots().has_layer(diff_id)? {
                missing.push((layer, diff_id));
            }
        }
        Ok(missing)
    }

    fn unpack_all(&self, missing: &[(&Descriptor, &Digest)]) -> Result<(), ImageError> {
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..missing.len().min(AT_ONCE).min(cores) {
                scope.spawn(|| {
                    while let Some((layer, diff_id)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(error) = self.unpack_blob(layer, diff_id) {
                            // The first failure ends the whole; the others finish the layer they are at.
                            next.store(missing.len(), Ordering::Relaxed);
                            failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn unpack_blob(&self, layer: &Descriptor, diff_id: &Digest) -> Result<(), ImageError> {
        // Not verified again: the diff id says more, as it speaks of what is written.
        let blob = self.store().open_described(layer)?;
        self.unpack_layer(diff_id, blob)
    }

    /// Unpacks one layer unless it is there, and notes how large it is. `blob` may be compressed.
    ///
    /// # Errors
    /// If `blob` cannot be read, is no layer, or does not have this diff id.
    pub fn unpack_layer(&self, diff_id: &Digest, blob: impl Read + Send) -> Result<(), ImageError> {
        if let Some(applied) = self.snapshots().unpack(diff_id, blob)? {
            self.note_size(diff_id, applied.bytes);
        }
        Ok(())
    }

    /// Bytes of the files in each layer of `image`, bottom first; of one that is not unpacked, of its blob.
    pub(crate) fn layer_sizes(&self, image: &Image) -> Vec<u64> {
        let layers = image.manifest.layers.iter().zip(image.diff_ids());
        layers.map(|(layer, diff_id)| self.size_of_layer(diff_id).unwrap_or(layer.size)).collect()
    }

    fn size_of_layer(&self, diff_id: &Digest) -> Option<u64> {
        if let Some(noted) = self.noted_size(diff_id) {
            return Some(noted);
        }
        let present = self.snapshots().has_layer(diff_id).unwrap_or(false);
        let measured = present.then(|| self.snapshots().layer_size(diff_id).ok()).flatten()?;
        self.note_size(diff_id, measured);
        Some(measured)
    }

    fn noted_size(&self, diff_id: &Digest) -> Option<u64> {
        let text = self.sizes().read(note_name(diff_id), 32).ok()?;
        std::str::from_utf8(&text).ok()?.parse().ok()
    }

    /// A note that is lost is made again, at the price of a walk over the layer.
    pub(crate) fn note_size(&self, diff_id: &Digest, bytes: u64) {
        let text = bytes.to_string();
        drop(write_atomic(self.sizes(), note_name(diff_id), text.as_bytes(), 0o600, Durability::Volatile));
    }

    /// Removes the notes on layers that are gone.
    pub(crate) fn sweep_sizes(&self) -> onggi_sys::Result<()> {
        sweep_temporaries(self.sizes())?;
        let layers = self.snapshots().layers().unwrap_or_default();
        let needed: HashSet<String> = layers.iter().map(note_name).collect();
        for entry in file::entries(self.sizes())? {
            let known = entry.name.to_str().is_some_and(|name| needed.contains(name) || name.starts_with('.'));
            if known {
                continue;
            }
            match file::unlink(self.sizes(), &entry.name, AtFlags::empty()) {
                Err(error) if !error.is(Errno::NOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn note_name(diff_id: &Digest) -> String {
    format!("{}-{}", diff_id.algorithm().name(), diff_id.hex())
}
