//! The documents an image is made of, with everything in them kept.
//!
//! The types are onggi's own where the specification has a type in a library, for three reasons: a [`Digest`] in
//! them is checked when they are read, fields that no specification knows survive reading and writing
//! (`Healthcheck`, `Shell`, `OnBuild` and what is still to come), and `null` stands for nothing, as Go programs write it.

mod config;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Digest, Platform, PlatformError};

pub use config::{Config, ConfigError, Healthcheck, History, ImageConfiguration, RootFs};

/// Notes on an object, by name.
pub type Annotations = BTreeMap<String, String>;

/// Where content is and what: image-spec, descriptor.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The format of the content.
    pub media_type: String,
    /// The name of the content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Places other than the registry to get it from.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "nullable")]
    pub urls: Vec<String>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub annotations: Annotations,
    /// The content itself, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The type of the artifact that a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What the image behind a manifest runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Describes content by type, name and length alone.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            artifact_type: None,
            platform: None,
        }
    }

    /// Describes `content`.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        Self::new(media_type, Digest::of(content), u64::try_from(content.len()).unwrap_or(u64::MAX))
    }
}

/// One image: image-spec, manifest.md, and Docker's schema 2, which has the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it is if not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration; Docker calls its digest the image's ID.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub annotations: Annotations,
}

impl ImageManifest {
    /// An OCI manifest of an image with this configuration and these layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(crate::media_type::IMAGE_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// All that the manifest needs beside itself: the configuration, then the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// Manifests to choose from: image-spec, image-index.md, and Docker's manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// Its own format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it is if not a set of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub annotations: Annotations,
}

impl ImageIndex {
    /// An OCI index of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(crate::media_type::IMAGE_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// The manifest that fits `platform` best, the first of equals.
    ///
    /// An index whose only manifest says no platform has that one for all.
    ///
    /// # Errors
    /// [`PlatformError::Missing`], with what there is.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor, PlatformError> {
        if let [only @ Descriptor { platform: None, .. }] = &self.manifests[..] {
            return Ok(only);
        }
        let ranked = |found: &&Descriptor| found.platform.as_ref().and_then(|offered| platform.rank(offered));
        let best = self.manifests.iter().filter(|found| ranked(found).is_some()).min_by_key(ranked);
        best.ok_or_else(|| PlatformError::Missing { wanted: Box::new(platform.clone()), available: self.platforms() })
    }

    /// What there are images for; attestations, which say `unknown`, are not counted.
    pub fn platforms(&self) -> Vec<Platform> {
        let named = self.manifests.iter().filter_map(|found| found.platform.clone());
        named.filter(|platform| platform.os != "unknown").collect()
    }
}

/// `null` as the empty value.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[expect(clippy::ptr_arg, reason = "serde hands over the field as it is")]
pub(crate) fn is_empty<T>(list: &Vec<T>) -> bool {
    list.is_empty()
}
