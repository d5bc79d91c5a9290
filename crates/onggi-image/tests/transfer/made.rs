//! Images made by hand, and a server for them.

use std::collections::HashMap;
use std::io::Write as _;

use onggi_layer::{Compression, Encoder};
use onggi_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Platform, Reference, media_type};
use onggi_testkit::{FakeServer, Reply, Seen};

/// The content that a registry serves: blobs and manifests by digest, one manifest by tag.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    pub(crate) manifests: HashMap<String, (String, Vec<u8>)>,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifest: Descriptor,
}

/// A tar archive with one file.
pub(crate) fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = header(name, content.len());
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

/// The ustar header of a file.
pub(crate) fn header(name: &str, size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

pub(crate) fn packed(data: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

impl Content {
    /// An image for this machine with these layers: uncompressed tar, and the blob that it goes as.
    pub(crate) fn of(layers: &[(Vec<u8>, &str, Vec<u8>)]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|(tar, _, _)| Digest::of(tar).to_string()).collect();
        let platform = Platform::host();
        let config = serde_json::to_vec(&serde_json::json!({
            "architecture": platform.architecture, "os": platform.os,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "config": {"Cmd": ["/hello"]},
        }));
        Self::with_config(&config.unwrap(), layers.iter().map(|(_, kind, blob)| (*kind, blob.clone())).collect())
    }

    pub(crate) fn with_config(config: &[u8], layers: Vec<(&str, Vec<u8>)>) -> Self {
        let described = layers.iter().map(|(kind, blob)| Descriptor::of(kind, blob)).collect::<Vec<_>>();
        let manifest = ImageManifest::new(Descriptor::of(media_type::IMAGE_CONFIG, config), described.clone());
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let descriptor = Descriptor::of(media_type::IMAGE_MANIFEST, &bytes);
        let mut content =
            Self { blobs: HashMap::new(), manifests: HashMap::new(), layers: described, manifest: descriptor.clone() };
        content.blobs.insert(Digest::of(config).to_string(), config.to_vec());
        content.blobs.extend(layers.into_iter().map(|(_, blob)| (Digest::of(&blob).to_string(), blob)));
        content.manifests.insert(descriptor.digest.to_string(), (descriptor.media_type, bytes));
        content
    }

    /// Three layers: gzip, zstd, plain.
    pub(crate) fn usual() -> Self {
        let tars = [tar("one", b"1"), tar("two", &[b'2'; 300_000]), tar("three", b"3")];
        let [one, two, three] = &tars;
        Self::of(&[
            (one.clone(), media_type::LAYER_GZIP, packed(one, Compression::Gzip)),
            (two.clone(), media_type::LAYER, two.clone()),
            (three.clone(), media_type::LAYER_ZSTD, packed(three, Compression::Zstd)),
        ])
    }

    /// The same below an index, for `platform`.
    pub(crate) fn indexed(mut self, platforms: &[Platform]) -> Self {
        let entries =
            platforms.iter().map(|platform| Descriptor { platform: Some(platform.clone()), ..self.manifest.clone() });
        let index = serde_json::to_vec(&ImageIndex::new(entries.collect())).unwrap();
        let descriptor = Descriptor::of(media_type::IMAGE_INDEX, &index);
        self.manifests.insert(descriptor.digest.to_string(), (descriptor.media_type.clone(), index));
        self.manifest = descriptor;
        self
    }

    /// What an honest registry answers.
    pub(crate) fn answer(&self, seen: &Seen) -> Reply {
        let last = seen.path().rsplit('/').next().unwrap_or_default();
        let found = if seen.path().contains("/manifests/") {
            let key = if last == "1" { self.manifest.digest.as_str() } else { last };
            self.manifests.get(key).map(|(kind, bytes)| {
                Reply::new(200, bytes.clone()).with("Content-Type", kind).with("Docker-Content-Digest", key)
            })
        } else {
            self.blobs.get(last).map(|blob| part(blob, seen))
        };
        found.unwrap_or_else(|| Reply::new(404, ""))
    }

    pub(crate) fn serve(self) -> FakeServer {
        FakeServer::start(move |seen| self.answer(seen)).unwrap()
    }

    /// A registry that answers as `lie` says where it says something.
    pub(crate) fn serve_but(
        self,
        lie: impl Fn(&Content, &Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> FakeServer {
        FakeServer::start(move |seen| lie(&self, seen).unwrap_or_else(|| self.answer(seen))).unwrap()
    }

    /// Whether `seen` asks for layer number `at`.
    pub(crate) fn is_layer(&self, seen: &Seen, at: usize) -> bool {
        seen.path().ends_with(self.layers[at].digest.as_str())
    }
}

/// The part of `blob` that a `Range` asks for, or all.
pub(crate) fn part(blob: &[u8], seen: &Seen) -> Reply {
    let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    match range.and_then(|first| first.parse::<usize>().ok()) {
        None => Reply::new(200, blob),
        Some(first) => {
            let (last, total) = (blob.len() - 1, blob.len());
            Reply::new(206, &blob[first..]).with("Content-Range", format!("bytes {first}-{last}/{total}"))
        }
    }
}

pub(crate) fn name(server: &FakeServer) -> Reference {
    format!("{}/team/app:1", server.host()).parse().unwrap()
}
