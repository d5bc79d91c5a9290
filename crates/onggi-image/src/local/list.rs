//! What is here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onggi_oci::{Descriptor, Digest, Platform, Reference};
use onggi_store::Names;

use crate::images::names_of;
use crate::{Image, ImageError, Images};

/// An image in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The digest of its configuration; of what the store has instead if that cannot be read.
    pub id: Digest,
    /// What its names lead to.
    pub digest: Digest,
    /// Its names; none if it is a dangling one.
    pub names: Vec<Reference>,
    /// When it was made, if it says.
    pub created: Option<Timestamp>,
    /// Bytes of its files, unpacked.
    pub size: u64,
    /// What it runs on; `None` if it is no container image, or a broken one.
    pub platform: Option<Platform>,
    /// Notes in its configuration.
    pub labels: BTreeMap<String, String>,
}

/// A line of `onggi images`: an image under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `alpine`, `ghcr.io/a/b`; `None` without a name.
    pub repository: Option<String>,
    /// The tag; `None` without one.
    pub tag: Option<String>,
    /// What the name leads to.
    pub digest: Digest,
}

impl Summary {
    /// Whether it lost its names; a prune takes it then.
    pub fn is_dangling(&self) -> bool {
        self.names.is_empty()
    }

    /// A line per name, or one without any.
    pub fn rows(&self) -> Vec<Row> {
        let row = |name: Option<&Reference>| Row {
            repository: name.map(Reference::familiar_name),
            tag: name.and_then(Reference::tag).map(str::to_owned),
            digest: self.digest.clone(),
        };
        if self.names.is_empty() { vec![row(None)] } else { self.names.iter().map(|name| row(Some(name))).collect() }
    }
}

impl Images {
    /// All images that are here, the newest first. One that is broken is in the list, without its particulars.
    ///
    /// # Errors
    /// If the store's names cannot be read.
    pub fn list(&self) -> Result<Vec<Summary>, ImageError> {
        let names = self.store().names()?;
        let mut seen = BTreeSet::new();
        let mut found: Vec<Summary> = names
            .entries()
            .filter(|entry| seen.insert(entry.descriptor.digest.clone()))
            .map(|entry| self.summary(&names, &entry.descriptor))
            .collect();
        found.sort_by_key(|summary| Reverse(summary.created));
        Ok(found)
    }

    fn summary(&self, names: &Names, target: &Descriptor) -> Summary {
        match self.image_at(names, target, None, target.digest.as_str()) {
            Ok(image) => self.summary_of(image),
            Err(_) => Summary {
                id: self.ids_under(target).into_iter().next().unwrap_or_else(|| target.digest.clone()),
                digest: target.digest.clone(),
                names: names_of(names, target),
                created: None,
                size: 0,
                platform: None,
                labels: BTreeMap::new(),
            },
        }
    }

    fn summary_of(&self, image: Image) -> Summary {
        Summary {
            created: image.created(),
            size: self.layer_sizes(&image).iter().sum(),
            platform: Some(image.configuration.platform()),
            digest: image.target.digest,
            id: image.id,
            names: image.names,
            labels: image.configuration.config.labels,
        }
    }
}

impl Image {
    /// When it was made, if it says so in a way that can be understood.
    pub fn created(&self) -> Option<Timestamp> {
        self.configuration.created.as_deref().and_then(|text| text.parse().ok())
    }
}
