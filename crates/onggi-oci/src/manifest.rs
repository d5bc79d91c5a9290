//! Manifests and indexes, told apart.

use onggi_diag::{Diagnose, Kind};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::digest::excerpt;
use crate::image::{ImageIndex, ImageManifest};
use crate::media_type;

/// The largest manifest or index that is read: what the distribution specification asks registries to take.
pub const MANIFEST_LIMIT: usize = 4 << 20;

/// A document that a name or a descriptor leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a handful exist at a time, and a box would show in every match")]
pub enum Manifest {
    /// One image.
    Image(ImageManifest),
    /// Several to choose from.
    Index(ImageIndex),
}

impl Manifest {
    /// Reads a manifest or an index that came as `media_type` (a registry's header, a descriptor's field), if it said so.
    ///
    /// What it is must follow from every source alike: the type it came with, the type it names itself, and the fields
    /// it has. Bytes that one reader takes for a manifest and another for an index would give the two different images
    /// under one digest (CVE-2021-41190).
    ///
    /// # Errors
    /// [`ManifestError`]; `Hostile` where two sources disagree.
    pub fn parse(media_type: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_LIMIT {
            return Err(ManifestError::TooLarge { size: bytes.len() });
        }
        let shape: Shape = read(bytes)?;
        let outer = media_type.map(media_type::essence).filter(|name| !is_generic(name));
        let kind = shape.kind(outer)?;
        shape.check(kind)?;
        match kind {
            Form::Image => read(bytes).map(Self::Image),
            Form::Index => read(bytes).map(Self::Index),
        }
    }

    /// The media type to describe it by: its own, or the OCI one it must be if it names none.
    pub fn media_type(&self) -> &str {
        let (own, implied) = match self {
            Self::Image(image) => (&image.media_type, media_type::IMAGE_MANIFEST),
            Self::Index(index) => (&index.media_type, media_type::IMAGE_INDEX),
        };
        own.as_deref().unwrap_or(implied)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Image,
    Index,
}

/// What tells the two apart. A field that stands twice is an error of its own in serde.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Shape {
    fn kind(&self, outer: Option<&str>) -> Result<Form, ManifestError> {
        let inner = self.media_type.as_deref().filter(|name| !name.is_empty());
        for name in outer.iter().chain(&inner) {
            if media_type::DOCKER_SCHEMA1.contains(name) {
                return Err(ManifestError::SchemaOne);
            }
        }
        if self.schema_version == Some(1) || self.fs_layers.is_some() {
            return Err(ManifestError::SchemaOne);
        }
        match (outer, inner) {
            (Some(outer), Some(inner)) if outer != inner => {
                Err(ManifestError::Disagree { outer: excerpt(outer), inner: excerpt(inner) })
            }
            (Some(name), _) | (None, Some(name)) => form_of(name),
            (None, None) => Ok(if self.manifests.is_some() { Form::Index } else { Form::Image }),
        }
    }

    fn check(&self, form: Form) -> Result<(), ManifestError> {
        let image = self.config.is_some() || self.layers.is_some();
        let index = self.manifests.is_some();
        match (image, index) {
            (true, true) => return Err(ManifestError::Ambiguous),
            (false, false) => return Err(ManifestError::Neither),
            _ if image != (form == Form::Image) => return Err(ManifestError::Mislabelled),
            _ => {}
        }
        match self.schema_version {
            Some(2) => Ok(()),
            other => Err(ManifestError::Version { version: other }),
        }
    }
}

fn form_of(name: &str) -> Result<Form, ManifestError> {
    match name {
        name if media_type::is_manifest(name) => Ok(Form::Image),
        name if media_type::is_index(name) => Ok(Form::Index),
        other => Err(ManifestError::Unsupported { media_type: excerpt(other) }),
    }
}

/// What a server says that does not know better.
fn is_generic(name: &str) -> bool {
    matches!(name, "" | "application/json" | "application/octet-stream" | "text/plain")
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ManifestError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ManifestError::Malformed { at: error.path().to_string(), source: error.into_inner() })?;
    json.end().map_err(|source| ManifestError::Malformed { at: "the end".into(), source })?;
    Ok(parsed)
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any real one.
    #[error("a manifest of {size} bytes is larger than the limit of {MANIFEST_LIMIT}")]
    TooLarge {
        /// Its length.
        size: usize,
    },
    /// Not JSON, or not with the right fields.
    #[error("the manifest is malformed at `{at}`")]
    Malformed {
        /// The path in the document.
        at: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
    /// A format that onggi does not read.
    #[error("manifests of type `{media_type}` are not supported")]
    Unsupported {
        /// The format.
        media_type: String,
    },
    /// Docker's first format.
    #[error("the image is in Docker's schema 1, which is obsolete and not supported")]
    SchemaOne,
    /// A version of the format that does not exist.
    #[error("a manifest must have schemaVersion 2, this one has {}", version.map_or("none".into(), |v| v.to_string()))]
    Version {
        /// What it says.
        version: Option<u32>,
    },
    /// The type it came with and the type it names are two.
    #[error("the manifest came as `{outer}` and calls itself `{inner}`")]
    Disagree {
        /// As it came.
        outer: String,
        /// As it says.
        inner: String,
    },
    /// It has the fields of both.
    #[error("the document is an image manifest and an index at once")]
    Ambiguous,
    /// It has the fields of neither.
    #[error("the document is neither an image manifest nor an index")]
    Neither,
    /// Its fields are not those of its type.
    #[error("the manifest's fields do not belong to the type it came as")]
    Mislabelled,
}

impl Diagnose for ManifestError {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } | Self::Disagree { .. } | Self::Ambiguous | Self::Mislabelled => Kind::Hostile,
            Self::Malformed { .. } | Self::Version { .. } | Self::Neither => Kind::Invalid,
            Self::Unsupported { .. } | Self::SchemaOne => Kind::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::SchemaOne => {
                Some("push the image again with a Docker from 2016 or later, or pull it by another tag".into())
            }
            Self::Unsupported { .. } => Some(format!("what can be read: {}", media_type::MANIFESTS.join(", "))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Descriptor, Platform};

    fn image() -> Value {
        json!(ImageManifest::new(
            Descriptor::of(media_type::IMAGE_CONFIG, b"{}"),
            vec![Descriptor::of(media_type::LAYER, b"")]
        ))
    }

    fn index() -> Value {
        json!(ImageIndex::new(vec![Descriptor::of(media_type::IMAGE_MANIFEST, b"")]))
    }

    fn parse(media_type: Option<&str>, document: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(media_type, &serde_json::to_vec(document).unwrap())
    }

    fn with(mut document: Value, field: &str, value: Value) -> Value {
        document[field] = value;
        document
    }

    #[test]
    fn reads_both_with_and_without_a_type() {
        for outer in [None, Some(media_type::IMAGE_MANIFEST), Some("application/json; charset=utf-8")] {
            assert!(matches!(parse(outer, &image()), Ok(Manifest::Image(_))), "{outer:?}");
        }
        assert!(matches!(parse(Some(media_type::IMAGE_INDEX), &index()), Ok(Manifest::Index(_))));
        let bare = with(index(), "mediaType", Value::Null);
        assert!(matches!(parse(None, &bare), Ok(Manifest::Index(_))));
        let docker = with(image(), "mediaType", json!(media_type::DOCKER_MANIFEST));
        assert_eq!(
            parse(Some(media_type::DOCKER_MANIFEST), &docker).unwrap().media_type(),
            media_type::DOCKER_MANIFEST
        );
    }

    #[test]
    fn what_could_be_both_is_neither() {
        let both = with(image(), "manifests", index()["manifests"].clone());
        assert!(matches!(parse(None, &both), Err(ManifestError::Ambiguous)));
        assert!(matches!(parse(Some(media_type::IMAGE_MANIFEST), &both), Err(ManifestError::Ambiguous)));
        assert!(matches!(parse(Some(media_type::IMAGE_INDEX), &image()), Err(ManifestError::Disagree { .. })));
        let untyped = with(image(), "mediaType", Value::Null);
        assert!(matches!(parse(Some(media_type::IMAGE_INDEX), &untyped), Err(ManifestError::Mislabelled)));
        let twice = br#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        assert!(matches!(Manifest::parse(None, twice), Err(ManifestError::Malformed { .. })));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let odd = with(image(), "mediaType", json!("application/x-odd"));
        let error = parse(None, &odd).unwrap_err();
        assert_eq!(error.to_string(), "manifests of type `application/x-odd` are not supported");
        let old = json!({"schemaVersion": 1, "fsLayers": [], "name": "x"});
        assert!(matches!(parse(None, &old), Err(ManifestError::SchemaOne)));
        assert!(matches!(parse(Some(media_type::DOCKER_SCHEMA1[1]), &old), Err(ManifestError::SchemaOne)));
        let future = with(image(), "schemaVersion", json!(3));
        assert!(matches!(parse(None, &future), Err(ManifestError::Version { version: Some(3) })));
        assert!(matches!(parse(None, &json!({"schemaVersion": 2})), Err(ManifestError::Neither)));
        let huge = vec![b' '; 100 << 20];
        assert!(matches!(Manifest::parse(None, &huge), Err(ManifestError::TooLarge { .. })));
        for bytes in [&b""[..], b"[]", b"{}x", b"\"x\"", b"{"] {
            assert!(Manifest::parse(None, bytes).is_err());
        }
    }

    #[test]
    fn a_path_for_a_digest_is_refused() {
        let mut document = image();
        document["layers"][0]["digest"] = json!("sha256:../../../etc/passwd");
        let error = parse(None, &document).unwrap_err();
        assert!(matches!(&error, ManifestError::Malformed { at, .. } if at == "layers[0].digest"), "{error:?}");
        document = image();
        document["layers"][0]["size"] = json!(-1);
        assert!(parse(None, &document).is_err());
    }

    #[test]
    fn an_index_gives_the_best_fit() {
        let of = |platform: &str| {
            let mut descriptor = Descriptor::of(media_type::IMAGE_MANIFEST, platform.as_bytes());
            descriptor.platform = Some(Platform::parse(platform).unwrap());
            descriptor
        };
        let index = ImageIndex::new(
            ["linux/386", "unknown/unknown", "linux/amd64", "linux/arm/v6", "linux/arm/v7"].map(of).to_vec(),
        );
        for (wanted, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64"),
            ("linux/arm64", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            let found = index.select(&Platform::parse(wanted).unwrap()).unwrap();
            assert_eq!(found.platform.as_ref().unwrap().to_string(), expected, "{wanted}");
        }
        let error = index.select(&Platform::parse("linux/s390x").unwrap()).unwrap_err();
        assert!(error.hint().unwrap().ends_with("linux/386, linux/amd64, linux/arm/v6, linux/arm/v7"));
        let only = ImageIndex::new(vec![Descriptor::of(media_type::IMAGE_MANIFEST, b"")]);
        assert!(only.select(&Platform::host()).is_ok());
    }
}
