//! The root file systems of containers.

use onggi_fs::Durability;
use onggi_image::{Image, Images};
use onggi_snapshot::{Buried, Snapshots};

use crate::{ContainerId, Engine, Error, Result};

/// Makes the writable layer of container `id` on top of those of `image`, which are unpacked where they are not yet.
pub(crate) fn create_writable(images: &Images, image: &Image, id: &ContainerId, durability: Durability) -> Result<()> {
    let failed = |source| Error::Snapshot { what: "prepare", id: id.clone(), source: Box::new(source) };
    let snapshots = images.snapshots();
    let _lease = snapshots.lease().map_err(failed)?;
    match snapshots.create_writable(id.as_str(), image.diff_ids(), durability) {
        Err(onggi_snapshot::Error::NoLayer { .. }) => {
            images.ensure_unpacked(image)?;
            snapshots.create_writable(id.as_str(), image.diff_ids(), durability).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

impl Engine {
    /// Takes the writable layer of container `id` away, if it is there; its space goes with what this returns.
    pub(crate) fn bury_writable(&self, id: &ContainerId) -> Result<Buried> {
        let buried = Snapshots::open(self.paths().layers()).and_then(|open| open.bury_writable(id.as_str()));
        buried.map_err(not_removed(id))
    }
}

/// A writable layer that stays on the disk.
pub(crate) fn not_removed(id: &ContainerId) -> impl Fn(onggi_snapshot::Error) -> Error {
    move |source| Error::Snapshot { what: "remove", id: id.clone(), source: Box::new(source) }
}
