//! Archives out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use onggi_layer::tar;
use onggi_oci::image::Annotations;
use onggi_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Manifest, Platform, Reference, media_type};
use onggi_store::{Lease, StoreError, wrapper};

use super::{ArchiveError, DockerImage, IMAGE_NAME, INDEX, LAYOUT, MANIFEST, REF_NAME, REPOSITORIES, Repositories};
use crate::{ImageError, Images};

/// Who is to read an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveFormat {
    /// Docker and all who read its archives: an OCI layout with `manifest.json` and `repositories` in it.
    #[default]
    Docker,
    /// Those who read OCI layouts.
    Oci,
}

/// An image to save, under the names it was asked for by.
struct Wanted {
    target: Descriptor,
    names: Vec<Reference>,
}

impl Images {
    /// Writes the images that `queries` name to `output`, as a tar archive. The same images make the same bytes.
    ///
    /// A repository without a tag stands for all its tags, as in Docker; an image asked for by ID has no name in the
    /// archive. With `platform`, of an image for several only that part is written.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] and its kin before anything is written; [`ImageError::Archive`] if writing fails.
    pub fn save(
        &self,
        queries: &[String],
        format: ArchiveFormat,
        platform: Option<&Platform>,
        output: impl Write,
    ) -> Result<(), ImageError> {
        let lease = self.store().lease()?;
        let wanted = self.wanted(&lease, queries, platform)?;
        let mut entries = entries_of(&wanted);
        if format == ArchiveFormat::Oci {
            // Docker's readers have a list of their own; for OCI's, Docker's manifests are entered as in the store.
            entries.iter_mut().try_for_each(|entry| wrapper::wrap(&lease, entry))?;
        }
        let mut archive = Archive { writer: tar::Writer::new(output), made: BTreeSet::new() };
        for blob in self.blobs_of(&entries)?.values() {
            self.append_blob(&mut archive, blob)?;
        }
        archive.document(INDEX, &ImageIndex::new(entries))?;
        if format == ArchiveFormat::Docker {
            let (manifest, repositories) = self.docker_lists(&wanted)?;
            archive.document(MANIFEST, &manifest)?;
            archive.document(REPOSITORIES, &repositories)?;
        }
        archive.document(LAYOUT, &serde_json::json!({"imageLayoutVersion": "1.0.0"}))?;
        archive.writer.finish().and_then(|mut output| output.flush()).map_err(ArchiveError::Write)?;
        Ok(())
    }

    fn wanted(
        &self,
        lease: &Lease<'_>,
        queries: &[String],
        platform: Option<&Platform>,
    ) -> Result<Vec<Wanted>, ImageError> {
        let names = self.store().names()?;
        let mut wanted: Vec<Wanted> = Vec::new();
        for query in queries {
            let mut meant: Vec<(Descriptor, Option<Reference>)> = Vec::new();
            if let Some(repository) = repository_alone(query) {
                let named = names.entries().filter_map(|entry| Some((entry.descriptor, entry.name?)));
                meant.extend(named.filter(|(_, name)| name.name() == repository).map(|(at, name)| (at, Some(name))));
            }
            if meant.is_empty() {
                let target = self.target_of(&names, query)?;
                let asked = Reference::parse(query).ok().filter(|name| names.resolve(name).as_ref() == Some(&target));
                meant.push((target, asked));
            }
            for (target, name) in meant {
                let image = self.image_at(&names, &target, platform, query)?;
                let chosen = if platform.is_some() { image.manifest_descriptor } else { image.target };
                let target = Descriptor { annotations: Annotations::new(), ..chosen };
                if !lease.keep(&target)? {
                    return Err(StoreError::NoBlob { digest: target.digest }.into());
                }
                let name = name.filter(|name| name.tag().is_some());
                match wanted.iter_mut().find(|other| other.target.digest == target.digest) {
                    Some(other) => other.names.extend(name.filter(|name| !other.names.contains(name))),
                    None => wanted.push(Wanted { target, names: name.into_iter().collect() }),
                }
            }
        }
        Ok(wanted)
    }

    /// All that `entries` lead to and that is here, each once, in the order of the digests.
    fn blobs_of(&self, entries: &[Descriptor]) -> Result<BTreeMap<Digest, Descriptor>, ImageError> {
        let mut blobs = BTreeMap::new();
        let mut open = entries.to_vec();
        while let Some(descriptor) = open.pop() {
            // An index lists platforms that nobody pulled.
            if blobs.contains_key(&descriptor.digest) || !self.store().has(&descriptor.digest)? {
                continue;
            }
            if media_type::is_manifest(&descriptor.media_type) || media_type::is_index(&descriptor.media_type) {
                match self.store().manifest(&descriptor)? {
                    Manifest::Image(image) => {
                        // Of an image that is written, nothing may be missing.
                        for blob in image.blobs() {
                            if !self.store().has(&blob.digest)? {
                                return Err(StoreError::NoBlob { digest: blob.digest.clone() }.into());
                            }
                        }
                        open.extend(image.blobs().cloned());
                    }
                    Manifest::Index(index) => open.extend(index.manifests),
                }
            }
            blobs.insert(descriptor.digest.clone(), descriptor);
        }
        Ok(blobs)
    }

    fn append_blob<W: Write>(&self, archive: &mut Archive<W>, descriptor: &Descriptor) -> Result<(), ImageError> {
        let blob = self.store().open_described(descriptor)?;
        Ok(archive.file(&path_of(&descriptor.digest), descriptor.size, blob.verified())?)
    }

    /// Docker's two lists, of what there is for this machine of each image.
    fn docker_lists(&self, wanted: &[Wanted]) -> Result<(Vec<DockerImage>, Repositories), ImageError> {
        let store_names = self.store().names()?;
        let (mut images, mut repositories) = (Vec::new(), Repositories::new());
        for Wanted { target, names } in wanted {
            let manifest: ImageManifest = self.image_at(&store_names, target, None, target.digest.as_str())?.manifest;
            for name in names {
                let tags = repositories.entry(name.familiar_name()).or_default();
                let top = manifest.layers.last().map_or(&manifest.config, |layer| layer).digest.hex();
                tags.insert(name.tag().unwrap_or_default().to_owned(), top.to_owned());
            }
            let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
            images.push(DockerImage {
                config: path_of(&manifest.config.digest),
                repo_tags: (!tags.is_empty()).then_some(tags),
                layers: Some(manifest.layers.iter().map(|layer| path_of(&layer.digest)).collect()),
            });
        }
        Ok((images, repositories))
    }
}

/// An archive in the making.
struct Archive<W> {
    writer: tar::Writer<W>,
    /// Directories that are in it.
    made: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    fn file(&mut self, path: &str, size: u64, data: impl Read) -> Result<(), ArchiveError> {
        let parents = path.match_indices('/').map(|(slash, _)| path[..=slash].to_owned());
        for dir in parents.collect::<Vec<_>>() {
            if self.made.insert(dir.clone()) {
                let entry = entry(&dir, tar::Kind::Directory, 0o755, 0);
                self.writer.append(&entry, std::io::empty()).map_err(ArchiveError::Write)?;
            }
        }
        self.writer.append(&entry(path, tar::Kind::File, 0o644, size), data).map_err(ArchiveError::Write)
    }

    fn document(&mut self, path: &str, document: &impl serde::Serialize) -> Result<(), ArchiveError> {
        let text = serde_json::to_vec(document).map_err(|error| ArchiveError::Write(error.into()))?;
        self.file(path, u64::try_from(text.len()).unwrap_or(0), &text[..])
    }
}

fn entry(path: &str, kind: tar::Kind, mode: u32, size: u64) -> tar::Entry {
    tar::Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: tar::Time::default(),
        atime: None,
        size,
        extents: None,
        xattrs: Vec::new(),
    }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// An entry per name, the whole name in each: a tag alone, which Docker writes, makes podman call the image `latest`.
fn entries_of(wanted: &[Wanted]) -> Vec<Descriptor> {
    let mut manifests = Vec::new();
    for Wanted { target, names } in wanted {
        if names.is_empty() {
            manifests.push(target.clone());
        }
        manifests.extend(names.iter().map(|name| {
            let mut entry = target.clone();
            for key in [IMAGE_NAME, REF_NAME] {
                entry.annotations.insert(key.to_owned(), name.to_string());
            }
            entry
        }));
    }
    manifests
}

/// The full name of the repository, if `query` is that without a tag and a digest.
fn repository_alone(query: &str) -> Option<String> {
    let last = query.rsplit('/').next().unwrap_or(query);
    let name = Reference::parse(query).ok()?;
    (!last.contains([':', '@'])).then(|| name.name())
}
