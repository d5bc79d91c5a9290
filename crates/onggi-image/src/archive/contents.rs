//! What is in an archive, by its names.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::time::Duration;

use onggi_layer::tar::{self, Kind};
use onggi_layer::{Decoder, compression};
use onggi_oci::{Algorithm, Descriptor, Digest};
use onggi_store::Lease;

use super::ArchiveError;

/// Larger files are content, not documents.
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// All documents together: an archive of a thousand images has some ten MiB.
const DOCUMENTS_LIMIT: u64 = 64 << 20;
/// A chain of links in an archive has one link in practice.
const LINKS_LIMIT: usize = 8;
/// How long to wait for another process that receives the same blob.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file in an archive.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A small one.
    Document(Vec<u8>),
    /// A large one, or one that is named by its digest: it is in the store.
    Blob(Box<Descriptor>),
}

/// The files in an archive. Their names are keys here and nothing else.
#[derive(Debug, Default)]
pub(super) struct Contents {
    files: HashMap<String, Content>,
    links: HashMap<String, String>,
    documents: u64,
}

impl Contents {
    /// Reads the archive in `input`, which may be compressed, and puts into the store what is content.
    pub(super) fn read(input: impl Read, lease: &Lease<'_>) -> Result<Self, ArchiveError> {
        let input = BufReader::with_capacity(128 << 10, input);
        let decoder = Decoder::new(input, compression::Limits::default()).map_err(ArchiveError::Read)?;
        let limits = tar::Limits { entries: 1_000_000, ..tar::Limits::default() };
        let mut reader = tar::Reader::new(BufReader::with_capacity(128 << 10, decoder), limits);
        let mut contents = Self::default();
        while let Some(entry) = reader.next_entry().map_err(ArchiveError::Tar)? {
            contents.take(&entry, &mut reader, lease)?;
        }
        Ok(contents)
    }

    fn take(&mut self, entry: &tar::Entry, data: &mut impl Read, lease: &Lease<'_>) -> Result<(), ArchiveError> {
        let shown = || String::from_utf8_lossy(&entry.path).into_owned();
        let name = normal(&[], &entry.path).ok_or_else(|| ArchiveError::Escape { name: shown() })?;
        match &entry.kind {
            Kind::Directory => {}
            Kind::File if entry.extents.is_some() => return Err(ArchiveError::Odd { name: shown() }),
            Kind::File => {
                if let Some(content) = self.content(&name, entry.size, data, lease)? {
                    self.files.insert(name, content);
                }
            }
            Kind::HardLink(target) => self.link(name, &[], target)?,
            Kind::Symlink(target) => {
                let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
                self.link(name, dir.as_bytes(), target)?;
            }
            _ => return Err(ArchiveError::Odd { name: shown() }),
        }
        Ok(())
    }

    fn link(&mut self, name: String, dir: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        let escape = || ArchiveError::Escape { name: format!("{name} -> {}", String::from_utf8_lossy(target)) };
        let target = normal(dir, target).ok_or_else(escape)?;
        self.links.insert(name, target);
        Ok(())
    }

    /// Stores content and keeps documents; what cannot be either (a root file system's files) is passed over.
    fn content(
        &mut self,
        name: &str,
        size: u64,
        mut data: impl Read,
        lease: &Lease<'_>,
    ) -> Result<Option<Content>, ArchiveError> {
        if let Some(digest) = blob_name(name) {
            let descriptor = Descriptor::new(UNKNOWN, digest, size);
            lease.put_described(&descriptor, data, PATIENCE).map_err(ArchiveError::Read)?;
            return Ok(Some(Content::Blob(Box::new(descriptor))));
        }
        if [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| name.ends_with(end)) {
            let descriptor = lease.put_stream(UNKNOWN, data).map_err(ArchiveError::Read)?;
            return Ok(Some(Content::Blob(Box::new(descriptor))));
        }
        if size > DOCUMENT_LIMIT || self.documents + size > DOCUMENTS_LIMIT {
            return Ok(None);
        }
        // Counted by what is announced, which the archive's reader holds it to.
        self.documents += size;
        let mut text = Vec::new();
        data.read_to_end(&mut text).map_err(ArchiveError::Read)?;
        Ok(Some(Content::Document(text)))
    }

    /// The file of this name, following links among the archive's own entries.
    pub(super) fn get(&self, name: &str) -> Result<&Content, ArchiveError> {
        let missing = || ArchiveError::Missing { name: name.chars().take(200).collect() };
        let mut at = normal(&[], name.as_bytes())
            .ok_or_else(|| ArchiveError::Escape { name: name.chars().take(200).collect() })?;
        for _ in 0..LINKS_LIMIT {
            match (self.files.get(&at), self.links.get(&at)) {
                (Some(content), _) => return Ok(content),
                (None, Some(target)) => at.clone_from(target),
                (None, None) => return Err(missing()),
            }
        }
        Err(missing())
    }

    /// The document of this name, if there is one.
    pub(super) fn document(&self, name: &str) -> Option<&[u8]> {
        match self.get(name) {
            Ok(Content::Document(text)) => Some(text),
            _ => None,
        }
    }
}

/// What a file is turns out later.
const UNKNOWN: &str = "application/octet-stream";

/// The digest that a file's name promises: `blobs/sha256/HEX`.
fn blob_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    let algorithm = Algorithm::ALL.into_iter().find(|known| known.name() == algorithm)?;
    Digest::from_hex(algorithm, hex).ok()
}

/// `path` as seen from `dir`, without `.` and `..`; `None` if it leads out of the archive or is no text.
fn normal(dir: &[u8], path: &[u8]) -> Option<String> {
    if path.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for bytes in [dir, path] {
        for part in std::str::from_utf8(bytes).ok()?.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_archive() {
        for (dir, path, expected) in [
            ("", "./manifest.json", Some("manifest.json")),
            ("a", "../b/layer.tar", Some("b/layer.tar")),
            ("", "a/./b//c/", Some("a/b/c")),
            ("", "../x", None),
            ("a", "../../x", None),
            ("", "a/../../x", None),
            ("", "/etc/passwd", None),
        ] {
            assert_eq!(normal(dir.as_bytes(), path.as_bytes()).as_deref(), expected, "{dir} {path}");
        }
        assert_eq!(normal(b"", b"\xff"), None);
    }

    #[test]
    fn a_blob_is_named_by_a_digest() {
        let hex = "0".repeat(64);
        assert!(blob_name(&format!("blobs/sha256/{hex}")).is_some());
        for name in ["blobs/sha256/x", "blobs/md5/00", "sha256/00", "blobs/sha256"] {
            assert!(blob_name(name).is_none(), "{name}");
        }
    }
}
