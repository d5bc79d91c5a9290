//! Images as files: what `docker save` writes, OCI archives, and bare root file systems.
//!
//! - `save` writes one tar archive that is an OCI layout and, for Docker, has a `manifest.json` beside it.
//! - `load` reads those, and the older form of Docker and podman, in one pass: what an archive holds goes into the
//!   store as it comes, and only then it is known what it means. Names in an archive are looked up among its own
//!   entries and nowhere else; none of them ever becomes a path.
//! - `import` makes an image of one layer out of the archive of a root file system.

mod change;
mod contents;
mod error;
mod import;
mod load;
mod save;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use error::ArchiveError;
pub use import::ImportOptions;
pub use load::Loaded;
pub use save::ArchiveFormat;

/// Docker's list of the images in an archive.
const MANIFEST: &str = "manifest.json";
/// Docker's older list: repository, tag, top layer.
const REPOSITORIES: &str = "repositories";
const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An entry of Docker's `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Docker's `repositories`.
type Repositories = BTreeMap<String, BTreeMap<String, String>>;
