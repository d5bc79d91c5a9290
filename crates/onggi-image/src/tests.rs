//! The handle as its users see it, on images made here.
#![expect(clippy::disallowed_methods, reason = "spoils files on purpose")]

mod archives;
mod local;

use std::collections::BTreeMap;

use onggi_layer::tar;
use onggi_layer::{Compression, Encoder};
use onggi_oci::image::{Config, History, RootFs};
use onggi_oci::{Descriptor, Digest, ImageConfiguration, ImageIndex, ImageManifest, Platform, Reference, media_type};

use crate::{Image, ImageError, Images, InUse, RemoveOptions, Removed};

struct Scratch {
    images: Images,
    dir: tempfile::TempDir,
}

fn scratch() -> Scratch {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path().join("images"), dir.path().join("layers")).unwrap();
    Scratch { images, dir }
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// An archive with these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = tar::Writer::new(Vec::new());
    for (path, data) in files {
        writer.append(&file(path, tar::Kind::File, data.len()), *data).unwrap();
    }
    writer.finish().unwrap()
}

fn file(path: &str, kind: tar::Kind, size: usize) -> tar::Entry {
    tar::Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: tar::Time::default(),
        atime: None,
        size: u64::try_from(size).unwrap(),
        extents: None,
        xattrs: Vec::new(),
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(Compression::Gzip, Vec::new()).unwrap();
    std::io::Write::write_all(&mut encoder, data).unwrap();
    encoder.finish().unwrap()
}

/// What an image shall be.
#[derive(Clone)]
struct Recipe {
    /// Each the content of a file, in a layer of its own.
    layers: Vec<&'static str>,
    platform: &'static str,
    created: &'static str,
    docker: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { layers: vec!["one", "two"], platform: "linux/amd64", created: "2024-01-02T03:04:05Z", docker: false }
    }
}

impl Scratch {
    /// Puts an image into the store, without a name.
    fn make(&self, recipe: &Recipe) -> Descriptor {
        let lease = self.images.store().lease().unwrap();
        let tars: Vec<Vec<u8>> = recipe.layers.iter().map(|text| archive(&[(text, text.as_bytes())])).collect();
        let platform = Platform::parse(recipe.platform).unwrap();
        let configuration = ImageConfiguration {
            created: Some(recipe.created.into()),
            architecture: platform.architecture,
            os: platform.os,
            config: Config { env: vec!["A=b".into()], cmd: Some(vec!["true".into()]), ..Config::default() },
            rootfs: RootFs { diff_ids: tars.iter().map(|tar| Digest::of(tar)).collect(), ..RootFs::default() },
            history: vec![
                History { created_by: Some("ADD one".into()), ..History::default() },
                History { created_by: Some("ENV A=b".into()), empty_layer: Some(true), ..History::default() },
                History { created_by: Some("ADD two".into()), ..History::default() },
            ],
            ..ImageConfiguration::default()
        };
        let types = match recipe.docker {
            true => (media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER_GZIP, media_type::DOCKER_MANIFEST),
            false => (media_type::IMAGE_CONFIG, media_type::LAYER_GZIP, media_type::IMAGE_MANIFEST),
        };
        let config = lease.put(types.0, &configuration.to_bytes()).unwrap();
        let layers = tars.iter().map(|tar| lease.put(types.1, &gzip(tar)).unwrap()).collect();
        let manifest = ImageManifest { media_type: Some(types.2.into()), ..ImageManifest::new(config, layers) };
        let descriptor = lease.put(types.2, &serde_json::to_vec(&manifest).unwrap()).unwrap();
        self.images.store().hold(&descriptor).unwrap();
        descriptor
    }

    fn make_as(&self, names: &[&str], recipe: &Recipe) -> Image {
        let descriptor = self.make(recipe);
        names.iter().for_each(|text| self.images.store().tag(&name(text), &descriptor).unwrap());
        self.images.resolve(descriptor.digest.as_str()).unwrap()
    }

    /// An index of images for these platforms, all here but the missing.
    fn make_index(&self, text: &str, present: &[&'static str], missing: &[&str]) -> Descriptor {
        let lease = self.images.store().lease().unwrap();
        let mut manifests = Vec::new();
        for platform in present {
            let mut found = self.make(&Recipe { layers: vec![platform, "two"], platform, ..Recipe::default() });
            self.images.store().edit_names(|names| Ok::<_, ImageError>(names.forget(&found.digest))).unwrap();
            lease.keep(&found).unwrap();
            found.platform = Some(Platform::parse(platform).unwrap());
            manifests.push(found);
        }
        for platform in missing {
            let mut absent = Descriptor::of(media_type::IMAGE_MANIFEST, platform.as_bytes());
            absent.platform = Some(Platform::parse(platform).unwrap());
            manifests.push(absent);
        }
        let bytes = serde_json::to_vec(&ImageIndex::new(manifests)).unwrap();
        let index = lease.put(media_type::IMAGE_INDEX, &bytes).unwrap();
        self.images.store().tag(&name(text), &index).unwrap();
        index
    }

    fn names(&self) -> BTreeMap<String, String> {
        let entries = self.images.store().list().unwrap().into_iter();
        entries.filter_map(|entry| Some((entry.name?.familiar(), entry.descriptor.digest.to_string()))).collect()
    }

    fn remove(&self, query: &str, force: bool) -> Result<Vec<Removed>, ImageError> {
        self.images.remove(query, RemoveOptions { force, in_use: &|_| None })
    }

    fn remove_used(&self, query: &str, force: bool, running: bool) -> Result<Vec<Removed>, ImageError> {
        let in_use = |_: &Digest| Some(InUse { container: "c1".into(), running });
        self.images.remove(query, RemoveOptions { force, in_use: &in_use })
    }

    fn blobs(&self) -> usize {
        self.images.store().blobs().unwrap().len()
    }
}
