//! Unpacked layers and what containers write on top of them, as overlay mounts.
//!
//! A layer is unpacked once, under its diff id, whatever images have it ([`Snapshots::begin_layer`]). A container has
//! a directory of its own for what it writes ([`Snapshots::create_writable`]). [`Snapshots::mount`] puts the two
//! together as a mount that is attached nowhere: it shows in no mount table and is gone with its descriptor.
//!
//! ```text
//! layers/
//!   .lock                   shared: whoever relies on layers being there; exclusive: prune
//!   .tmp-PID-N/             work under way, locked by whoever does it; swept when that is gone
//!   empty/                  a lower layer for images without any
//!   diff/sha256-HEX/        a layer, by its diff id; complete or absent
//!     fs/                   its files, in overlayfs's own form
//!     finish                what depends on the layers below; only if something does
//!   chain/sha256-HEX/       what that comes to on one stack of layers, by its chain id
//!     fs/                   an extra layer right above; only if there is something in it
//!     layers                the diff ids of the stack, bottom first
//!   writable/ID/            one container's
//!     upper/ work/          overlayfs's
//!     lower                 its layers as paths from here, bottom first
//! ```
//!
//! Why layers stand on their own and chains only add to them: docs/adr/0004-layers-by-diff-id.md.

mod chain;
mod copy;
mod error;
mod mount;
mod pending;
mod prune;
mod snapshots;
mod temporary;

pub use error::Error;
pub use pending::PendingLayer;
pub use prune::Pruned;
pub use snapshots::{Buried, Lease, Snapshots};
