//! The runtime specification: `config.json` and what is in it.
//!
//! The types are the `oci-spec` crate's, named here only, so that a new release of it touches one module.

use onggi_diag::{Diagnose, Kind};
use serde::Deserialize;

pub use oci_spec::runtime::*;

use crate::digest::excerpt;

/// The version of the runtime specification that onggi implements; older ones of the same major version are read too.
pub const SPEC_VERSION: &str = "1.3.0";

/// The largest `config.json` that is read.
const LIMIT: usize = 16 << 20;

/// Reads a `config.json`.
///
/// # Errors
/// Names the path in the document that is wrong, or the version that cannot be read.
pub fn load(bytes: &[u8]) -> Result<Spec, LoadError> {
    if bytes.len() > LIMIT {
        return Err(LoadError::TooLarge { size: bytes.len() });
    }
    // First, because another version may well have other fields; and because `Spec` would put one where none is.
    check_version(&read::<Versioned>(bytes)?.oci_version)?;
    read(bytes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    oci_version: String,
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, LoadError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| LoadError::Malformed { at: error.path().to_string(), source: error.into_inner() })?;
    json.end().map_err(|source| LoadError::Malformed { at: "the end".into(), source })?;
    Ok(parsed)
}

/// Versions before 1.0.0 are drafts; a release candidate of it is one too, but tools still write `1.0.0-rc5`.
fn check_version(version: &str) -> Result<(), LoadError> {
    let unsupported = || LoadError::Version { version: excerpt(version) };
    let (core, _) = version.split_once(['-', '+']).unwrap_or((version, ""));
    let numbers: Vec<u32> = core.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| unsupported())?;
    match numbers[..] {
        [1, _, _] => Ok(()),
        _ => Err(unsupported()),
    }
}

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Larger than any real one.
    #[error("a config.json of {size} bytes is larger than the limit of {LIMIT}")]
    TooLarge {
        /// Its length.
        size: usize,
    },
    /// Not JSON, or not with the right fields.
    #[error("config.json is malformed at `{at}`")]
    Malformed {
        /// The path in the document.
        at: String,
        /// What is wrong there.
        source: serde_json::Error,
    },
    /// A version of another major number.
    #[error("runtime specification `{version}` is not supported")]
    Version {
        /// What the document says.
        version: String,
    },
}

impl Diagnose for LoadError {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } | Self::Malformed { .. } => Kind::Invalid,
            Self::Version { .. } => Kind::Unsupported,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Version { .. } => Some(format!("ociVersion must be 1.x.y; onggi implements {SPEC_VERSION}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place() {
        let text = br#"{"ociVersion":"1.0.2","process":{"cwd":"/","user":{"uid":-1,"gid":0},"args":["x"]}}"#;
        let error = load(text).unwrap_err();
        assert!(matches!(&error, LoadError::Malformed { at, .. } if at == "process.user.uid"), "{error:?}");
        assert!(load(br#"{"ociVersion":"1.0.2"} x"#).is_err());
    }

    #[test]
    fn any_first_version_is_read() {
        for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0+x", "1.0.0-rc5"] {
            assert!(load(format!(r#"{{"ociVersion":"{version}"}}"#).as_bytes()).is_ok(), "{version}");
        }
        for version in ["", "2.0.0", "0.9.0", "1", "1.x.0", "v1.0.0"] {
            let error = load(format!(r#"{{"ociVersion":"{version}"}}"#).as_bytes()).unwrap_err();
            assert!(matches!(error, LoadError::Version { .. }), "{version}");
        }
        assert!(matches!(load(b"{}"), Err(LoadError::Malformed { .. })));
    }
}
