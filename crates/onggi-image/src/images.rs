//! The handle, and what a name means.

use std::collections::BTreeSet;
use std::path::Path;

use onggi_fs::{Root, ensure_dir};
use onggi_oci::{Descriptor, Digest, ImageConfiguration, ImageManifest, Manifest, Platform, Reference, media_type};
use onggi_snapshot::Snapshots;
use onggi_store::{Entry, Names, Store, StoreError};

use crate::ImageError;

/// The largest image configuration that is read from the store.
const CONFIG_LIMIT: usize = 8 << 20;

const SIZES: &str = "sizes";

/// How deep indexes may lie in indexes. The specification allows any depth, the field uses two.
const DEPTH_LIMIT: usize = 8;

/// The images of this machine.
#[derive(Debug)]
pub struct Images {
    store: Store,
    snapshots: Snapshots,
    /// `sizes/` beside the content: how many bytes of files an unpacked layer has, by its diff id.
    sizes: Root,
}

/// An image that is here, for one platform.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The digest of its configuration: what Docker calls the image's ID.
    pub id: Digest,
    /// What its names lead to: its manifest, or an index that has it.
    pub target: Descriptor,
    /// Its manifest, as a descriptor.
    pub manifest_descriptor: Descriptor,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// Its configuration.
    pub configuration: ImageConfiguration,
    /// The names that lead to it, in the order in which they were given.
    pub names: Vec<Reference>,
}

impl Image {
    /// The diff ids of its layers, bottom first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.configuration.rootfs.diff_ids
    }

    /// `repository@digest` for each repository that it has a name in, as Docker lists them.
    pub fn repository_digests(&self) -> Vec<String> {
        let repositories: BTreeSet<String> = self.names.iter().map(Reference::familiar_name).collect();
        repositories.into_iter().map(|repository| format!("{repository}@{}", self.target.digest)).collect()
    }

    /// Its names that have a tag, as Docker lists them.
    pub fn tags(&self) -> Vec<String> {
        let tagged = |name: &&Reference| name.tag().is_some();
        self.names
            .iter()
            .filter(tagged)
            .map(|name| format!("{}:{}", name.familiar_name(), name.tag().unwrap_or_default()))
            .collect()
    }
}

/// What a query may mean.
enum Query<'q> {
    Name(Reference),
    /// The beginning of an ID, without `sha256:`.
    Id(&'q str),
}

impl Images {
    /// Opens the content store in `images` and the unpacked layers in `layers`, making what is not there; the paths are
    /// trusted.
    ///
    /// # Errors
    /// If a directory cannot be made or holds something else.
    pub fn open(images: impl AsRef<Path>, layers: impl AsRef<Path>) -> Result<Self, ImageError> {
        let store = Store::open(&images)?;
        let sizes = ensure_dir(images.as_ref().join(SIZES), 0o700).map_err(|source| ImageError::System {
            what: format!("open {}", images.as_ref().join(SIZES).display()),
            source,
        })?;
        Ok(Self { store, snapshots: Snapshots::open(layers)?, sizes })
    }

    /// The content store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The unpacked layers.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    pub(crate) fn sizes(&self) -> &Root {
        &self.sizes
    }

    /// The image that `query` names, for this machine: a name, an ID, or the beginning of an ID.
    ///
    /// # Errors
    /// As [`Images::resolve_for`].
    pub fn resolve(&self, query: &str) -> Result<Image, ImageError> {
        self.resolve_for(query, None)
    }

    /// The image that `query` names, for `platform`; for this machine or, failing that, whatever is here if `None`.
    ///
    /// A name is tried before an ID, as Docker does, so an image called `cafe` hides those whose ID begins so.
    ///
    /// # Errors
    /// [`ImageError::NotFound`], [`ImageError::Ambiguous`]; [`ImageError::Platform`] or [`ImageError::Absent`] if it is
    /// here for other platforms only.
    pub fn resolve_for(&self, query: &str, platform: Option<&Platform>) -> Result<Image, ImageError> {
        let names = self.store.names()?;
        let target = self.target_of(&names, query)?;
        self.image_at(&names, &target, platform, query)
    }

    /// The descriptor under which `query` is in the index of the store.
    pub(crate) fn target_of(&self, names: &Names, query: &str) -> Result<Descriptor, ImageError> {
        let (by_name, by_id) = meanings(query)?;
        for meaning in [by_name, by_id].into_iter().flatten() {
            let found = match meaning {
                Query::Name(name) => names.resolve(&name),
                Query::Id(prefix) => self.target_by_id(names, prefix, query)?,
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Err(ImageError::NotFound { query: query.to_owned() })
    }

    fn target_by_id(&self, names: &Names, prefix: &str, query: &str) -> Result<Option<Descriptor>, ImageError> {
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in names.entries() {
            let target = entry.descriptor;
            let starts = |digest: &Digest| digest.hex().starts_with(prefix);
            let fits = starts(&target.digest) || self.ids_under(&target).iter().any(starts);
            if fits && !found.iter().any(|other| other.digest == target.digest) {
                found.push(target);
            }
        }
        match found.len() {
            0 | 1 => Ok(found.pop()),
            // The same image may be here under a manifest and under an index with it.
            _ if self.all_one(&found, prefix) => Ok(found.into_iter().next()),
            count => Err(ImageError::Ambiguous { query: query.to_owned(), count }),
        }
    }

    fn all_one(&self, targets: &[Descriptor], prefix: &str) -> bool {
        let ids = targets.iter().flat_map(|target| self.ids_under(target));
        ids.filter(|id| id.hex().starts_with(prefix)).collect::<BTreeSet<_>>().len() == 1
    }

    /// The IDs of the images below `target` whose manifests are here and can be read; none for a broken one.
    pub(crate) fn ids_under(&self, target: &Descriptor) -> Vec<Digest> {
        let manifests = self.manifests_under(target).unwrap_or_default();
        manifests.into_iter().map(|(_, manifest)| manifest.config.digest).collect()
    }

    /// The image below `target` that fits `platform`.
    pub(crate) fn image_at(
        &self,
        names: &Names,
        target: &Descriptor,
        platform: Option<&Platform>,
        query: &str,
    ) -> Result<Image, ImageError> {
        let host = Platform::host();
        let (manifest_descriptor, manifest) = match self.choose(target, platform.unwrap_or(&host), query) {
            Ok(found) if platform.is_some() || !names_another(query, &found.1) => found,
            Err(error) if platform.is_some() || !is_platforms(&error) => return Err(error),
            _ => self.first_present(target, query)?,
        };
        if !media_type::is_config(&manifest.config.media_type) {
            let media_type = manifest.artifact_type.unwrap_or(manifest.config.media_type);
            return Err(ImageError::NotAnImage { image: query.to_owned(), media_type });
        }
        let configuration = self.configuration(&manifest)?;
        let fits = platform.is_none_or(|wanted| wanted.matches(&configuration.platform()));
        if !fits && media_type::is_manifest(&target.media_type) {
            let wanted = Box::new(platform.unwrap_or(&host).clone());
            let source = onggi_oci::PlatformError::Missing { wanted, available: vec![configuration.platform()] };
            return Err(ImageError::Platform { image: query.to_owned(), source });
        }
        let names = names_of(names, target);
        let id = manifest.config.digest.clone();
        Ok(Image { id, target: target.clone(), manifest_descriptor, manifest, configuration, names })
    }

    /// Goes down from `target` through indexes to the manifest for `platform`.
    fn choose(
        &self,
        target: &Descriptor,
        platform: &Platform,
        query: &str,
    ) -> Result<(Descriptor, ImageManifest), ImageError> {
        let mut at = target.clone();
        for _ in 0..DEPTH_LIMIT {
            let manifest = match self.store.manifest(&at) {
                Err(StoreError::NoBlob { .. }) if at.digest != target.digest => {
                    return Err(ImageError::Absent { image: query.to_owned(), platform: platform.to_string() });
                }
                other => other?,
            };
            match manifest {
                Manifest::Image(manifest) => return Ok((at, manifest)),
                Manifest::Index(index) => {
                    let wrong = |source| ImageError::Platform { image: query.to_owned(), source };
                    at = index.select(platform).map_err(wrong)?.clone();
                }
            }
        }
        Err(ImageError::NotFound { query: query.to_owned() })
    }

    /// For an image that was pulled for another platform than this machine's, or that is asked for by its own ID.
    fn first_present(&self, target: &Descriptor, query: &str) -> Result<(Descriptor, ImageManifest), ImageError> {
        let mut present = self.manifests_under(target)?;
        present.retain(|(_, manifest)| media_type::is_config(&manifest.config.media_type));
        let asked_for = present.iter().position(|(_, manifest)| !names_another(query, manifest)).unwrap_or(0);
        if asked_for < present.len() {
            return Ok(present.swap_remove(asked_for));
        }
        Err(ImageError::Absent { image: query.to_owned(), platform: Platform::host().to_string() })
    }

    /// All manifests that `target` leads to and that are here.
    pub(crate) fn manifests_under(&self, target: &Descriptor) -> Result<Vec<(Descriptor, ImageManifest)>, ImageError> {
        let mut found = Vec::new();
        let mut level = vec![target.clone()];
        // Indexes may share their parts; without this, a few small ones could make a walk without end.
        let mut seen = BTreeSet::new();
        for _ in 0..DEPTH_LIMIT {
            let mut next = Vec::new();
            for descriptor in level {
                if !seen.insert(descriptor.digest.clone()) {
                    continue;
                }
                match self.store.manifest(&descriptor) {
                    Ok(Manifest::Image(manifest)) => found.push((descriptor, manifest)),
                    Ok(Manifest::Index(index)) => next.extend(index.manifests),
                    Err(StoreError::NoBlob { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            level = next;
        }
        Ok(found)
    }

    /// The configuration that `manifest` names.
    ///
    /// # Errors
    /// If it is not here, is none, or speaks of other layers than the manifest.
    pub fn configuration(&self, manifest: &ImageManifest) -> Result<ImageConfiguration, ImageError> {
        let digest = &manifest.config.digest;
        let bytes = self.store.read_blob(digest, CONFIG_LIMIT)?;
        let wrong = |source| ImageError::Config { digest: digest.clone(), source };
        let configuration = ImageConfiguration::parse(&bytes).map_err(wrong)?;
        configuration.check_layers(manifest).map_err(wrong)?;
        Ok(configuration)
    }
}

/// Whether `query` is the ID of some image, and not of the one with this manifest.
fn names_another(query: &str, manifest: &ImageManifest) -> bool {
    id_prefix(query).is_some_and(|prefix| !manifest.config.digest.hex().starts_with(prefix))
}

fn is_platforms(error: &ImageError) -> bool {
    matches!(error, ImageError::Platform { .. } | ImageError::Absent { .. })
}

/// The names that lead to `target`.
pub(crate) fn names_of(names: &Names, target: &Descriptor) -> Vec<Reference> {
    let named = |entry: Entry| entry.name.filter(|_| entry.descriptor.digest == target.digest);
    names.entries().filter_map(named).collect()
}

/// What `query` may mean, in the order in which to try.
fn meanings(query: &str) -> Result<(Option<Query<'_>>, Option<Query<'_>>), ImageError> {
    let by_id = id_prefix(query).map(Query::Id);
    match Reference::parse(query) {
        // `sha256:abc` could be a repository and a tag, and never is.
        Ok(_) if query.starts_with("sha256:") && by_id.is_some() => Ok((None, by_id)),
        Ok(name) => Ok((Some(Query::Name(name)), by_id)),
        Err(_) if by_id.is_some() => Ok((None, by_id)),
        Err(error) => Err(error.into()),
    }
}

/// The hexadecimal digits of what may be an ID or the beginning of one.
fn id_prefix(query: &str) -> Option<&str> {
    let digits = query.strip_prefix("sha256:").unwrap_or(query);
    let is_id =
        !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then_some(digits)
}
