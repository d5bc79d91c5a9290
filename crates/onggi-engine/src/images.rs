//! Images as containers need them, and containers as images need to know of them.

use onggi_image::{Image, ImageError, Images, InUse, PruneOptions, Pruned, RemoveOptions, Removed};
use onggi_oci::Digest;

use crate::{Engine, Error, ListContainers, Result};

impl Engine {
    /// The images. What removes any should go through [`Engine::remove_image`] and [`Engine::prune_images`], which
    /// know what containers use.
    pub fn images(&self) -> Result<Images> {
        Ok(Images::open(self.paths().images(), self.paths().layers())?)
    }

    /// Removes the image that `query` names, unless a container uses it.
    pub fn remove_image(&self, query: &str, force: bool) -> Result<Vec<Removed>> {
        let users = Users::of(self)?;
        Ok(self.images()?.remove(query, RemoveOptions { force, in_use: &|id| users.find(id) })?)
    }

    /// Removes images without a name, all if asked, that no container uses.
    pub fn prune_images(&self, all: bool) -> Result<Pruned> {
        let users = Users::of(self)?;
        Ok(self.images()?.prune(PruneOptions { all, in_use: &|id| users.find(id) })?)
    }
}

/// The image of `images` that `name` means to a container.
pub(crate) fn resolve(images: &Images, name: &str) -> Result<Image> {
    match images.resolve(name) {
        Err(ImageError::NotFound { .. } | ImageError::Absent { .. }) => Err(Error::NoSuchImage(name.to_owned())),
        other => Ok(other?),
    }
}

/// Who uses which image.
struct Users(Vec<(String, InUse)>);

impl Users {
    fn of(engine: &Engine) -> Result<Self> {
        let every = ListContainers { all: true, ..ListContainers::default() };
        let uses = engine.containers().list(&every)?.into_iter().map(|container| {
            let user = InUse { container: container.name.to_string(), running: container.status.is_active() };
            (container.image_id, user)
        });
        Ok(Self(uses.collect()))
    }

    /// A container made of the image `id`, a running one if there is one.
    fn find(&self, id: &Digest) -> Option<InUse> {
        let id = id.to_string();
        let users = || self.0.iter().filter(|(image, _)| *image == id).map(|(_, user)| user);
        users().find(|user| user.running).or_else(|| users().next()).cloned()
    }
}
