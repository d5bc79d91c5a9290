//! What the client is told: registries, proxies, credentials, patience.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_diag::{Diagnose, Kind};
use serde::Deserialize;

use crate::credentials::Credentials;
use crate::proxy::Proxies;

/// Everything a [`crate::Client`] needs to know. The default talks to every registry anonymously over HTTPS.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Mirrors, trust and exceptions per registry.
    pub registries: Registries,
    /// Where credentials are looked up.
    pub credentials: Credentials,
    /// The proxies on the way.
    pub proxies: Proxies,
    /// How long to wait, how often to try.
    pub patience: Patience,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {origin}: {reason}")]
pub struct ConfigError {
    origin: String,
    reason: String,
}

impl Diagnose for ConfigError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl Config {
    /// The configuration that the variables and the files of the caller's environment describe.
    ///
    /// `variable` answers for the environment, `registries` names the `registries.toml` files, the later overriding
    /// the earlier registry by registry; one that does not exist is passed over.
    ///
    /// # Errors
    /// A proxy variable or a file of registries cannot be understood. Files of credentials are read when needed.
    pub fn discover(
        variable: impl Fn(&str) -> Option<String>,
        registries: &[impl AsRef<Path>],
    ) -> Result<Self, ConfigError> {
        let proxies = Proxies::from_variables(&variable)
            .map_err(|reason| ConfigError { origin: "the environment".into(), reason })?;
        let mut all = Registries::default();
        for path in registries {
            all.merge(Registries::read(path.as_ref())?);
        }
        let credentials = Credentials::from_variables(&variable);
        Ok(Self { registries: all, credentials, proxies, patience: Patience::default() })
    }
}

/// How long to wait for a registry, and how often to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, name lookup and TLS included.
    pub connect: Duration,
    /// For the answer to begin, once the request is sent.
    pub answer: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// How many times a request is sent again after a passing failure.
    pub retries: u32,
    /// The pause before the first retry; it doubles with each.
    pub pause: Duration,
    /// The longest that a registry's `Retry-After` is obeyed.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            retries: 3,
            pause: Duration::from_millis(300),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// The content of `registries.toml`.
///
/// ```toml
/// [registry."docker.io"]
/// mirrors = ["https://mirror.example.com", "http://10.0.0.5:5000/hub"]
///
/// [registry."registry.example.com:5000"]
/// ca = "/etc/onggi/registry-ca.pem"
/// token-realms = ["login.example.net"]
/// ```
///
/// A mirror is asked before the registry, in the order given, and may be one of any registry. What it serves for a
/// digest is verified; which digest a tag names, it decides: name only mirrors that you trust with that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registries {
    #[serde(default)]
    registry: BTreeMap<String, Registry>,
}

/// What is particular about one registry, or about one mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registry {
    /// `[http[s]://]host[:port][/prefix]` of those to ask first.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// `true`: any certificate will do, and plain HTTP where there is no TLS. `false`: HTTPS even on this machine.
    pub insecure: Option<bool>,
    /// A PEM file of certificate authorities beside the host's.
    pub ca: Option<PathBuf>,
    /// A PEM file with our certificate, for registries that want to know theirs clients so.
    pub certificate: Option<PathBuf>,
    /// The PEM file with the certificate's key.
    pub key: Option<PathBuf>,
    /// Foreign hosts that may check the credentials of this registry.
    #[serde(default)]
    pub token_realms: Vec<String>,
}

impl Registries {
    /// Parses the text of a `registries.toml`.
    ///
    /// # Errors
    /// The text says what is wrong where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut normal = Self::default();
        for (name, registry) in parsed.registry {
            if registry.certificate.is_some() != registry.key.is_some() {
                return Err(format!("[registry.\"{name}\"]: `certificate` and `key` go together"));
            }
            for mirror in &registry.mirrors {
                Mirror::parse(mirror).map_err(|reason| format!("[registry.\"{name}\"]: mirror `{mirror}` {reason}"))?;
            }
            normal.registry.insert(canonical(&name).to_owned(), registry);
        }
        Ok(normal)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |reason: String| ConfigError { origin: path.display().to_string(), reason };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(failed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Takes over the registries of `other`, which win.
    pub fn merge(&mut self, other: Self) {
        self.registry.extend(other.registry);
    }

    /// Sets what is particular about `name`.
    pub fn set(&mut self, name: &str, registry: Registry) {
        self.registry.insert(canonical(name).to_owned(), registry);
    }

    /// What is particular about `name`, a registry's `host[:port]`.
    pub fn get(&self, name: &str) -> Option<&Registry> {
        self.registry.get(canonical(name))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Registry)> {
        self.registry.iter().map(|(name, registry)| (name.as_str(), registry))
    }
}

/// The one name of a registry that has several.
pub(crate) fn canonical(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        other => other,
    }
}

/// A mirror as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// `Some` where the configuration names the scheme.
    pub(crate) secure: Option<bool>,
    pub(crate) authority: String,
    /// What goes before the repository, without slashes around it; mostly empty.
    pub(crate) prefix: String,
}

impl Mirror {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (secure, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("https", rest)) => (Some(true), rest),
            Some(("http", rest)) => (Some(false), rest),
            Some(_) => return Err("is neither http nor https"),
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plausible: Result<http::uri::Authority, _> = authority.parse();
        if plausible.is_err() || authority.is_empty() || authority.contains('@') {
            return Err("names no host");
        }
        if prefix.contains(['?', '#', '%', ' ']) || prefix.split('/').any(|part| part == "..") {
            return Err("has a path that cannot begin a repository's name");
        }
        Ok(Self { secure, authority: authority.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_read_and_merged() {
        let mut first = Registries::parse(
            r#"
            [registry."index.docker.io"]
            mirrors = ["https://mirror.example.com", "http://10.0.0.5:5000/hub/"]
            [registry."r.test:5000"]
            insecure = true
            "#,
        )
        .unwrap();
        first.merge(Registries::parse("[registry.\"r.test:5000\"]\ninsecure = false\n").unwrap());
        assert_eq!(first.get("docker.io").unwrap().mirrors.len(), 2);
        assert_eq!(first.get("r.test:5000").unwrap().insecure, Some(false));
        assert_eq!(first.get("r.test"), None);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |text: &str, reason: &str| {
            let error = Registries::parse(text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        };
        check("[registry.a]\nmirors = []", "mirors");
        check("[registry.a]\nmirrors = ['ftp://x']", "neither http nor https");
        check("[registry.a]\nmirrors = ['https://u:p@x']", "names no host");
        check("[registry.a]\nmirrors = ['x/../y']", "repository");
        check("[registry.a]\ncertificate = '/c'", "go together");
    }

    #[test]
    fn mirrors() {
        let mirror = Mirror::parse("http://10.0.0.5:5000/hub/").unwrap();
        assert_eq!(mirror, Mirror { secure: Some(false), authority: "10.0.0.5:5000".into(), prefix: "hub".into() });
        assert_eq!(Mirror::parse("m.test").unwrap().secure, None);
    }
}
