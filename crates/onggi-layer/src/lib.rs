//! Tar streams to directories and back.
//!
//! - [`unpack`] takes a layer as a registry has it, whatever its [`Compression`], into an empty directory by way of
//!   [`apply`], and tells its diff id. The directory is in overlayfs's own form: it mounts as a lower layer as it
//!   is. What depends on the layers below it is told by [`Finish`].
//! - [`write_tar`] archives a tree, or what a container wrote over its layers as a layer of its own; the same tree
//!   always makes the same bytes.
//! - [`tar`] reads and writes archives, within limits; [`Decoder`] and [`Encoder`] are the compressed streams around
//!   them.
//!
//! Nothing here knows where layers are kept; that is `onggi-snapshot`'s.

pub mod compression;
pub mod overlay;
pub mod tar;

mod apply;
mod error;
mod finish;
mod name;
mod unpack;
mod write;

pub use apply::{Applied, Options, Owner, apply};
pub use compression::{Compression, Decoder, Encoder};
pub use error::Error;
pub use finish::Finish;
pub use unpack::{Unpacked, unpack};
pub use write::{Form, WriteOptions, write_tar};
