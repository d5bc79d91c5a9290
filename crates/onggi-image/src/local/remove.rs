//! Taking names away, and images with their last.

use std::collections::BTreeSet;
use std::time::Duration;

use onggi_oci::{Descriptor, Digest, Reference};
use onggi_store::{CollectOptions, Names};

use crate::images::names_of;
use crate::{ImageError, Images};

/// How long a removal waits for others to let go of unpacked layers.
const LAYER_PATIENCE: Duration = Duration::from_millis(500);

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// What to call it in a message.
    pub container: String,
    /// Whether it runs.
    pub running: bool,
}

/// How to remove.
#[derive(Clone, Copy)]
pub struct RemoveOptions<'a> {
    /// Also when it has several names, or a stopped container uses it.
    pub force: bool,
    /// Tells of a container that uses the image with this ID, a running one before a stopped one.
    pub in_use: &'a dyn Fn(&Digest) -> Option<InUse>,
}

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// The image with this ID is gone.
    Deleted(Digest),
}

impl Images {
    /// Removes what `query` names, by Docker's rules.
    ///
    /// By name, the name goes, and the image with its last one. By ID, the image goes with all its names; several take
    /// `force`. A running container keeps its image in any case, a stopped one unless forced; a forced removal by name
    /// of an image in use leaves it there without the name.
    ///
    /// # Errors
    /// [`ImageError::InUse`], [`ImageError::SeveralNames`]; nothing is removed then.
    pub fn remove(&self, query: &str, options: RemoveOptions<'_>) -> Result<Vec<Removed>, ImageError> {
        let removed = self.store().edit_names(|names| {
            let removal = self.removal(names, query, options)?;
            if let Some(meant) = removal.names_meant() {
                return removal.by_name(names, &meant);
            }
            let mut removed = removal.by_id(names)?;
            if options.force {
                self.remove_twins(names, query, options, &mut removed)?;
            }
            Ok(removed)
        })?;
        if removed.iter().any(|what| matches!(what, Removed::Deleted(_))) {
            match self.collect(&CollectOptions::default(), LAYER_PATIENCE) {
                // The image is gone; its layers go with the next image or prune.
                Err(ImageError::Layers(onggi_snapshot::Error::Busy { .. })) => {}
                other => drop(other?),
            }
        }
        Ok(removed)
    }

    /// The same image may be here under several manifests: packed otherwise, from another registry.
    fn remove_twins(
        &self,
        names: &mut Names,
        id: &str,
        options: RemoveOptions<'_>,
        removed: &mut Vec<Removed>,
    ) -> Result<(), ImageError> {
        loop {
            match self.removal(names, id, options) {
                Ok(twin) => removed.extend(twin.by_id(names)?),
                Err(ImageError::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn removal<'a>(
        &'a self,
        names: &Names,
        query: &'a str,
        options: RemoveOptions<'a>,
    ) -> Result<Removal<'a>, ImageError> {
        let target = self.target_of(names, query)?;
        Ok(Removal { images: self, query, options, all: names_of(names, &target), target })
    }
}

struct Removal<'a> {
    images: &'a Images,
    query: &'a str,
    options: RemoveOptions<'a>,
    target: Descriptor,
    /// The names that lead to the target.
    all: Vec<Reference>,
}

impl Removal<'_> {
    /// Which of the names `query` means; `None` if it means the image by its ID.
    fn names_meant(&self) -> Option<Vec<Reference>> {
        let asked = Reference::parse(self.query).ok()?;
        let beside: Vec<&Reference> = self.all.iter().filter(|name| name.name() == asked.name()).collect();
        if !self.all.contains(&asked) {
            return asked.digest().map(|_| beside.into_iter().cloned().collect());
        }
        // With the last tag in a repository go the names by digest in it, which nobody gave.
        let last_tag = asked.tag().is_some() && beside.iter().all(|name| **name == asked || name.tag().is_none());
        Some(if last_tag { beside.into_iter().cloned().collect() } else { vec![asked] })
    }

    /// Whether there is more than one repository, or more than one tag.
    fn is_widely_known(&self) -> bool {
        let repositories: BTreeSet<String> = self.all.iter().map(Reference::name).collect();
        repositories.len() > 1 || self.all.iter().filter(|name| name.tag().is_some()).count() > 1
    }

    fn by_name(&self, names: &mut Names, meant: &[Reference]) -> Result<Vec<Removed>, ImageError> {
        let last = meant.len() == self.all.len();
        let user = if last { self.user() } else { None };
        if let Some(user) = user.clone().filter(|_| !self.options.force) {
            return Err(self.conflict(user));
        }
        let mut removed = untag(names, meant);
        if last && user.is_none() {
            removed.extend(self.delete(names));
        } else {
            names.hold(&self.target);
        }
        Ok(removed)
    }

    fn by_id(&self, names: &mut Names) -> Result<Vec<Removed>, ImageError> {
        if let Some(user) = self.user().filter(|user| user.running || !self.options.force) {
            return Err(self.conflict(user));
        }
        if self.is_widely_known() && !self.options.force {
            let names = self.all.iter().map(Reference::familiar).collect();
            return Err(ImageError::SeveralNames { image: self.query.to_owned(), names });
        }
        let mut removed = untag(names, &self.all);
        removed.extend(self.delete(names));
        Ok(removed)
    }

    fn delete(&self, names: &mut Names) -> Vec<Removed> {
        // Read before the manifest that tells it can be collected.
        let mut ids = self.images.ids_under(&self.target);
        if ids.is_empty() {
            ids.push(self.target.digest.clone());
        }
        drop(names.forget(&self.target.digest));
        ids.into_iter().map(Removed::Deleted).collect()
    }

    fn user(&self) -> Option<InUse> {
        let users: Vec<InUse> = self.images.ids_under(&self.target).iter().filter_map(self.options.in_use).collect();
        users.iter().find(|user| user.running).or(users.first()).cloned()
    }

    fn conflict(&self, user: InUse) -> ImageError {
        ImageError::InUse { image: self.query.to_owned(), container: user.container, running: user.running }
    }
}

fn untag(names: &mut Names, which: &[Reference]) -> Vec<Removed> {
    for name in which {
        drop(names.untag(name));
    }
    which.iter().cloned().map(Removed::Untagged).collect()
}
