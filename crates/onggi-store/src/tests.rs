//! The store as its users see it.
#![expect(clippy::disallowed_methods, reason = "spoils files on purpose")]

mod collecting;
mod naming;
mod receiving;

use std::time::Duration;

use onggi_oci::{Descriptor, ImageIndex, ImageManifest, Reference, media_type};

use crate::{CollectOptions, Lease, Store};

fn scratch() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("images")).unwrap();
    (dir, store)
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// An image with one layer, in the store.
fn image(lease: &Lease<'_>, layer: &[u8]) -> (Descriptor, ImageManifest) {
    let layer = lease.put(media_type::LAYER, layer).unwrap();
    let config = lease.put(media_type::IMAGE_CONFIG, layer.digest.as_str().as_bytes()).unwrap();
    let manifest = ImageManifest::new(config, vec![layer]);
    let descriptor = lease.put(media_type::IMAGE_MANIFEST, &serde_json::to_vec(&manifest).unwrap()).unwrap();
    (descriptor, manifest)
}

fn index(lease: &Lease<'_>, manifests: Vec<Descriptor>) -> Descriptor {
    let bytes = serde_json::to_vec(&ImageIndex::new(manifests)).unwrap();
    lease.put(media_type::IMAGE_INDEX, &bytes).unwrap()
}

fn collect(store: &Store) -> u64 {
    store.collect(&CollectOptions::default()).unwrap().removed
}

fn collect_all(store: &Store) -> u64 {
    store.collect(&CollectOptions { give_up_after: Duration::ZERO }).unwrap().removed
}
