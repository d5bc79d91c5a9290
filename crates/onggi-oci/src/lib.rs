//! What the OCI and Docker documents say, as types: no file is opened here and no connection made.
//!
//! - [`Digest`] is a checked `sha256:...`: code that has one can put it into a path or a URL. [`Verifier`] holds a
//!   stream against one while it flows, [`ChainId`] names a stack of layers.
//! - [`Reference`] is an image's name, completed as Docker completes it; [`Platform`] what an image runs on.
//! - [`Manifest::parse`] reads a manifest or an index and refuses bytes that could be taken for both;
//!   [`image`] has their parts, and [`media_type`] the names of all of them.
//! - [`runtime`] is the runtime specification (`config.json`).
//!
//! ```
//! use onggi_oci::{Digest, Reference};
//!
//! let name = Reference::parse("alpine")?;
//! assert_eq!(name.to_string(), "docker.io/library/alpine:latest");
//! assert_eq!(name.familiar(), "alpine:latest");
//! assert!("sha256:../../etc/passwd".parse::<Digest>().is_err());
//! # Ok::<(), onggi_oci::ReferenceError>(())
//! ```

mod chain;
mod digest;
pub mod image;
mod manifest;
pub mod media_type;
mod platform;
mod reference;
pub mod runtime;
mod verify;

pub use chain::ChainId;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
pub use manifest::{MANIFEST_LIMIT, Manifest, ManifestError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use verify::{VerifiedReader, Verifier, VerifyError};
