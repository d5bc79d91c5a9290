//! Images: where they come from, what they are called, and what of them is on this machine.
//!
//! [`Images`] stands over two directories: the content store (`images/`, an OCI layout) and the unpacked layers
//! (`layers/`). It turns what a user types into an [`Image`] and offers what can be done with one, a file per verb.
//!
//! ```text
//! Images ─ resolve ──> Image { id, target, manifest, configuration, names }
//!   │  list inspect history          read
//!   │  tag remove prune              change names, then collect what nothing leads to
//!   │  save load import              archives out and in
//!   └─ ensure_unpacked               layers of an image as directories that a snapshot can stand on
//! ```
//!
//! An image's [`Image::id`] is the digest of its configuration, as Docker shows it; what its names lead to is
//! [`Image::target`], the manifest or index exactly as it was pulled.
//!
//! An image gets its name last: a half-pulled or half-loaded one is never seen. What a failed attempt leaves is
//! without a name, and the next prune takes it.

mod archive;
mod bootstrap;
mod error;
mod images;
mod local;
mod progress;
mod pull;
mod push;
#[cfg(test)]
mod tests;
mod transfer;
mod unpack;

pub use archive::{ArchiveError, ArchiveFormat, ImportOptions, Loaded};
pub use bootstrap::{BootstrapError, BootstrapRequest, BootstrapSource, Bootstrapped, Reason, Taken};
pub use error::ImageError;
pub use images::{Image, Images};
pub use local::history::HistoryEntry;
pub use local::list::{Row, Summary};
pub use local::prune::{PruneOptions, Pruned};
pub use local::remove::{InUse, RemoveOptions, Removed};
pub use progress::{Event, Phase, Progress};
pub use pull::{PullOptions, Pulled};
pub use push::{PushOptions, PushedImage};
pub use transfer::TransferError;
pub use unpack::Held;
