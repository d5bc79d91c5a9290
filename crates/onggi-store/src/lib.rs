//! Content by digest, in an OCI image layout that other tools read in place.
//!
//! ```text
//! images/
//!   oci-layout            {"imageLayoutVersion":"1.0.0"}
//!   index.json            the names: each entry a root of what is kept. Replaced atomically under .names.lock;
//!                         what has a Docker type is entered by way of an index ([`wrapper`])
//!   blobs/ALG/HEX         verified content, complete or absent
//!   ingest/ALG-HEX        content on its way, flock-ed by its writer; what a dead one left is resumed
//!   leases/PID-N          flock-ed by its owner: what it needs although no name leads there yet
//!   .collect.lock         exclusive while garbage is collected, shared for the moment in which a lease grows
//! ```
//!
//! Many short-lived processes share the tree. Reading takes no lock: blobs never change and `index.json` is replaced.
//! Who writes holds a [`Lease`], through which all content enters, so that the collector of another process cannot
//! take away what has no name yet. Whoever dies, at whatever instruction, leaves at worst a partial download and an
//! unlocked lease; the next [`Store::collect`] removes the one when it is stale, the other at once.
//!
//! The store knows nothing of registries, of unpacked layers, or of what Docker shows.
//!
//! ```no_run
//! use onggi_oci::{Reference, media_type};
//! use onggi_store::Store;
//!
//! let store = Store::open("/var/lib/onggi/images")?;
//! let lease = store.lease()?;
//! let manifest = lease.put(media_type::IMAGE_MANIFEST, br#"{"schemaVersion":2}"#)?;
//! store.tag(&Reference::parse("example").expect("a valid name"), &manifest)?;
//! # Ok::<(), onggi_store::StoreError>(())
//! ```

mod blob;
mod collect;
mod error;
mod ingest;
mod lease;
mod names;
mod store;
#[cfg(test)]
mod tests;
pub mod wrapper;

pub use blob::Blob;
pub use collect::{CollectOptions, Collected};
pub use error::StoreError;
pub use ingest::{Begun, Ingest};
pub use lease::Lease;
pub use names::{Entry, Names};
pub use store::Store;
