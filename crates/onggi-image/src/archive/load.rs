//! Archives in.

use std::collections::BTreeSet;
use std::io::Read;

use onggi_layer::Compression;
use onggi_oci::image::Annotations;
use onggi_oci::{Descriptor, Digest, ImageConfiguration, ImageIndex, ImageManifest, Manifest, Reference, media_type};
use onggi_store::{CollectOptions, Lease, StoreError, wrapper};
use serde::de::DeserializeOwned;

use super::contents::{Content, Contents};
use super::{ArchiveError, DockerImage, IMAGE_NAME, INDEX, LAYOUT, MANIFEST, REF_NAME};
use crate::{ImageError, Images};

/// Configurations in an archive are no larger than anywhere else.
const CONFIG_LIMIT: usize = 8 << 20;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its ID.
    pub id: Digest,
    /// The names that it has now because of the archive.
    pub names: Vec<Reference>,
}

/// An image that is in the store and has no name yet.
struct Found {
    target: Descriptor,
    names: Vec<Reference>,
}

impl Images {
    /// Takes the images in the archive `input` into the store, unpacks them and gives them the names that they had.
    ///
    /// Reads what `docker save` writes (old and new), what podman and skopeo write for Docker, and OCI archives;
    /// plain, gzip or zstd.
    ///
    /// # Errors
    /// [`ImageError::Archive`] and others; no image of the archive is there then.
    pub fn load(&self, input: impl Read) -> Result<Vec<Loaded>, ImageError> {
        let lease = self.store().lease()?;
        let result = self.load_under(&lease, input);
        drop(lease);
        // The archive's lists are in the store only as far as an image needs them; the rest, or all, goes.
        let collected = self.store().collect(&CollectOptions::default());
        let loaded = result?;
        collected?;
        Ok(loaded)
    }

    fn load_under(&self, lease: &Lease<'_>, input: impl Read) -> Result<Vec<Loaded>, ImageError> {
        let contents = Contents::read(input, lease)?;
        let docker: Option<Vec<DockerImage>> = document(&contents, MANIFEST)?;
        let oci: Option<ImageIndex> = match contents.document(LAYOUT) {
            Some(_) => document(&contents, INDEX)?,
            None => None,
        };
        let found = match (oci, docker) {
            (Some(index), docker) => self.found_in_layout(lease, &contents, index, docker.as_deref())?,
            (None, Some(images)) => self.found_by_docker(lease, &contents, &images)?,
            (None, None) => return Err(ArchiveError::NoImage.into()),
        };
        let _layers = self.snapshots().lease()?;
        let mut loaded = Vec::new();
        for image in &found {
            loaded.push(self.unpacked(image)?);
        }
        self.store().edit_names(|names| {
            for Found { target, names: given } in &found {
                given.iter().for_each(|name| names.tag(name, target));
                names.hold(target);
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(loaded)
    }

    /// Unpacks what can be, so that a layer which is not what it should be is found before the image has a name.
    fn unpacked(&self, found: &Found) -> Result<Loaded, ImageError> {
        let query = found.names.first().map_or_else(|| found.target.digest.to_string(), Reference::familiar);
        let names = found.names.clone();
        match self.image_at(&self.store().names()?, &found.target, None, &query) {
            Ok(image) => {
                self.ensure_unpacked(&image)?;
                Ok(Loaded { id: image.id, names })
            }
            // A chart or a signature is kept as it is.
            Err(ImageError::NotAnImage { .. }) => Ok(Loaded { id: found.target.digest.clone(), names }),
            Err(error) => Err(error),
        }
    }

    fn found_in_layout(
        &self,
        lease: &Lease<'_>,
        contents: &Contents,
        index: ImageIndex,
        docker: Option<&[DockerImage]>,
    ) -> Result<Vec<Found>, ImageError> {
        let mut found: Vec<Found> = Vec::new();
        for descriptor in index.manifests {
            let name = name_of(&descriptor);
            if !media_type::is_manifest(&descriptor.media_type) && !media_type::is_index(&descriptor.media_type) {
                continue;
            }
            if !lease.keep(&descriptor)? {
                return Err(ArchiveError::Missing { name: descriptor.digest.to_string() }.into());
            }
            let target = self.meant(lease, descriptor)?;
            // One image may be listed once for each of its names.
            match found.iter_mut().find(|other| other.target.digest == target.digest) {
                Some(other) => other.names.extend(name),
                None => found.push(Found { target, names: name.into_iter().collect() }),
            }
        }
        for image in docker.unwrap_or_default() {
            self.add_docker_names(contents, image, &mut found)?;
        }
        if found.is_empty() { Err(ArchiveError::NoImage.into()) } else { Ok(found) }
    }

    /// What an entry stands for: what it leads to, or what that wraps.
    fn meant(&self, lease: &Lease<'_>, entry: Descriptor) -> Result<Descriptor, ImageError> {
        let wrapped = wrapper::target_of(&entry);
        let plain = Descriptor { annotations: Annotations::new(), ..entry };
        let Some(target) = wrapped else { return Ok(plain) };
        // The annotation is the archive's word; the blobs are what counts.
        match self.store().manifest(&plain)? {
            Manifest::Index(index) if index.manifests.iter().any(|member| member.digest == target.digest) => {
                if lease.keep(&target)? { Ok(target) } else { Ok(plain) }
            }
            _ => Ok(plain),
        }
    }

    /// Adds the names that Docker's list has for an image of OCI's, which must be of the same image.
    fn add_docker_names(
        &self,
        contents: &Contents,
        image: &DockerImage,
        found: &mut [Found],
    ) -> Result<(), ImageError> {
        let id = match contents.get(&image.config)? {
            Content::Document(text) => Digest::of(text),
            Content::Blob(blob) => blob.digest.clone(),
        };
        let same = found.iter_mut().find(|other| self.ids_under(&other.target).contains(&id));
        let same = same.ok_or(ArchiveError::Disagree)?;
        for name in tags_of(image)? {
            if !same.names.contains(&name) {
                same.names.push(name);
            }
        }
        Ok(())
    }

    fn found_by_docker(
        &self,
        lease: &Lease<'_>,
        contents: &Contents,
        images: &[DockerImage],
    ) -> Result<Vec<Found>, ImageError> {
        let mut found = Vec::new();
        for image in images {
            let names = tags_of(image)?;
            let config = self.config_blob(lease, contents.get(&image.config)?)?;
            let mut layers = Vec::new();
            for name in image.layers.iter().flatten() {
                layers.push(self.layer_blob(lease, contents.get(name)?)?);
            }
            let manifest = ImageManifest::new(config, layers);
            // Read now, for an error that speaks of the configuration.
            check_plain(&manifest, &self.configuration(&manifest)?)?;
            let bytes = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
            let target = lease.put(media_type::IMAGE_MANIFEST, &bytes)?;
            found.push(Found { target, names });
        }
        if found.is_empty() { Err(ArchiveError::NoImage.into()) } else { Ok(found) }
    }

    fn config_blob(&self, lease: &Lease<'_>, content: &Content) -> Result<Descriptor, ImageError> {
        let bytes = match content {
            Content::Document(text) => text.clone(),
            Content::Blob(blob) => self.store().read_blob(&blob.digest, CONFIG_LIMIT)?,
        };
        Ok(lease.put(media_type::IMAGE_CONFIG, &bytes)?)
    }

    /// The file of a layer, whose bytes say how it is compressed.
    fn layer_blob(&self, lease: &Lease<'_>, content: &Content) -> Result<Descriptor, ImageError> {
        let blob = match content {
            Content::Document(text) => lease.put(media_type::LAYER, text)?,
            Content::Blob(blob) => Descriptor::clone(blob),
        };
        let mut head = Vec::new();
        let opened = self.store().open_blob(&blob.digest)?;
        opened.take(8).read_to_end(&mut head).map_err(ArchiveError::Read)?;
        let media_type = match Compression::detect(&head).map_err(|error| ArchiveError::Read(error.into()))? {
            Compression::None => media_type::LAYER,
            Compression::Gzip => media_type::LAYER_GZIP,
            Compression::Zstd => media_type::LAYER_ZSTD,
        };
        Ok(Descriptor::new(media_type, blob.digest, blob.size))
    }
}

/// A plain layer is its own diff id. Unpacking would find one that is not, but not where that diff id is unpacked already.
fn check_plain(manifest: &ImageManifest, configuration: &ImageConfiguration) -> Result<(), ImageError> {
    for (layer, diff_id) in manifest.layers.iter().zip(&configuration.rootfs.diff_ids) {
        let (found, expected) = (layer.digest.clone(), diff_id.clone());
        if layer.media_type == media_type::LAYER && found.algorithm() == expected.algorithm() && found != expected {
            let error = onggi_layer::Error::DiffId { layer: found.to_string(), expected, found };
            return Err(onggi_snapshot::Error::from(error).into());
        }
    }
    Ok(())
}

fn document<T: DeserializeOwned>(contents: &Contents, file: &'static str) -> Result<Option<T>, ArchiveError> {
    let text = contents.document(file);
    text.map(|text| serde_json::from_slice(text).map_err(|source| ArchiveError::Document { file, source })).transpose()
}

fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let written = [IMAGE_NAME, REF_NAME].iter().filter_map(|key| descriptor.annotations.get(*key));
    written.filter_map(|name| Reference::parse(name).ok()).next()
}

fn tags_of(image: &DockerImage) -> Result<Vec<Reference>, ImageError> {
    let tags: BTreeSet<&String> = image.repo_tags.iter().flatten().collect();
    Ok(tags.into_iter().map(|tag| Reference::parse(tag)).collect::<Result<_, _>>()?)
}
