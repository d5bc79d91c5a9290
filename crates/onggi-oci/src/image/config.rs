//! An image's configuration.

use std::collections::BTreeMap;

use onggi_diag::{Diagnose, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ImageManifest, is_empty, nullable};
use crate::{Digest, Platform};

/// The largest configuration that is read; real ones have a few KiB.
const CONFIG_LIMIT: usize = 8 << 20;

/// What an image runs as and on: image-spec, config.md, and Docker's, which it grew from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfiguration {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The architecture its programs are for.
    #[serde(default)]
    pub architecture: String,
    /// The level of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system its programs are for.
    #[serde(default)]
    pub os: String,
    /// The version of that system, where it matters.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the system must have.
    #[serde(rename = "os.features", default, skip_serializing_if = "is_empty", deserialize_with = "nullable")]
    pub os_features: Vec<String>,
    /// How a container of it runs unless told otherwise.
    #[serde(default, deserialize_with = "nullable")]
    pub config: Config,
    /// The layers by their uncompressed content.
    pub rootfs: RootFs,
    /// How it came to be.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "nullable")]
    pub history: Vec<History>,
    /// Whatever else it says (`container`, `docker_version`, ...).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a container runs unless told otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// `user[:group]`, names or numbers.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub user: String,
    /// `port/protocol` that it listens on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `NAME=value`.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// What runs; [`Config::cmd`] are its arguments then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// What runs without an entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that get a volume of their own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub volumes: BTreeMap<String, Value>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub working_dir: String,
    /// Notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker: how its health is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Docker: what runs the shell forms of a Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Docker: instructions for the one who builds upon it.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "nullable")]
    pub on_build: Vec<String>,
    /// Docker: [`Config::cmd`] is one Windows command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// Whatever else it says (`Hostname`, `Image`, ...).
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a container's health is known; durations in nanoseconds, as Docker writes them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`, `CMD` and arguments, or `CMD-SHELL` and a line.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "nullable")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// How long one may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// How long failures do not count at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Between two checks at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// How many failures in a row make it unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// Whatever else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The layers of an image by their uncompressed content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Bottom first.
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// One step in the making of an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
    /// Whatever else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageConfiguration {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Names the place in the document that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > CONFIG_LIMIT {
            return Err(ConfigError::TooLarge { size: bytes.len() });
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let parsed: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| ConfigError::Malformed { at: error.path().to_string(), source: error.into_inner() })?;
        json.end().map_err(|source| ConfigError::Malformed { at: "the end".into(), source })?;
        if parsed.rootfs.kind != "layers" {
            return Err(ConfigError::RootFs { kind: crate::digest::excerpt(&parsed.rootfs.kind) });
        }
        Ok(parsed)
    }

    /// Writes it as it goes into a store.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys and plain values are always JSON")
    }

    /// What it runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            ..Platform::new(&self.os, &self.architecture, self.variant.as_deref())
        }
    }

    /// Checks that it speaks of the same layers as `manifest`, as far as their number tells.
    ///
    /// # Errors
    /// [`ConfigError::Layers`].
    pub fn check_layers(&self, manifest: &ImageManifest) -> Result<(), ConfigError> {
        let (layers, diff_ids) = (manifest.layers.len(), self.rootfs.diff_ids.len());
        if layers == diff_ids { Ok(()) } else { Err(ConfigError::Layers { layers, diff_ids }) }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Larger than any real one.
    #[error("an image configuration of {size} bytes is larger than the limit of {CONFIG_LIMIT}")]
    TooLarge {
        /// Its length.
        size: usize,
    },
    /// Not JSON, or not with the right fields.
    #[error("the image configuration is malformed at `{at}`")]
    Malformed {
        /// The path in the document.
        at: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
    /// A root file system that is not made of layers.
    #[error("a root file system of type `{kind}` is not supported")]
    RootFs {
        /// The type.
        kind: String,
    },
    /// Manifest and configuration are not of the same image.
    #[error("the manifest has {layers} layers, the image configuration {diff_ids}")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

impl Diagnose for ConfigError {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } | Self::Layers { .. } => Kind::Hostile,
            Self::Malformed { .. } => Kind::Invalid,
            Self::RootFs { .. } => Kind::Unsupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_docker_wrote_is_lost() {
        let document = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "variant": "v2",
            "created": "2024-01-27T00:30:48.743965523Z",
            "container": "4d5e",
            "docker_version": "20.10.23",
            "config": {
                "Hostname": "",
                "AttachStdin": false,
                "User": "app",
                "ExposedPorts": {"80/tcp": {}},
                "Env": ["PATH=/bin"],
                "Cmd": ["/bin/sh"],
                "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64, "Odd": 1},
                "Volumes": {"/data": {}},
                "OnBuild": ["RUN true"],
                "Shell": ["/bin/bash", "-c"],
                "ArgsEscaped": true,
                "Labels": {"a": "b"}
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"x")]},
            "history": [{"created_by": "x", "empty_layer": true, "v1": 1}]
        });
        let parsed = ImageConfiguration::parse(&serde_json::to_vec(&document).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&parsed.to_bytes()).unwrap(), document);
        assert_eq!(parsed.platform().to_string(), "linux/amd64/v2");
    }

    #[test]
    fn null_is_nothing() {
        let text = br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":null,"Volumes":null,
            "Entrypoint":null,"OnBuild":null,"Labels":null},"rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        assert_eq!(ImageConfiguration::parse(text).unwrap().config.entrypoint, None);
        let without = br#"{"config":null,"rootfs":{"type":"layers"}}"#;
        assert_eq!(ImageConfiguration::parse(without).unwrap().config, Config::default());
    }

    #[test]
    fn an_error_names_its_place() {
        let text = br#"{"config":{"Env":["a", 7]},"rootfs":{"type":"layers"}}"#;
        let error = ImageConfiguration::parse(text).unwrap_err();
        assert!(matches!(&error, ConfigError::Malformed { at, .. } if at.starts_with("config")), "{error}");
        let hostile = br#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#;
        assert!(ImageConfiguration::parse(hostile).is_err());
        assert!(matches!(
            ImageConfiguration::parse(br#"{"rootfs":{"type":"other"}}"#),
            Err(ConfigError::RootFs { .. })
        ));
    }
}
