//! Credentials as docker, podman and their helpers keep them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};
use serde::Deserialize;

use crate::config::canonical;
use crate::error::Cause;
use crate::helper;

/// A file of credentials may not be longer.
const FILE_LIMIT: u64 = 1024 * 1024;

/// The files in which credentials are looked up, the first that knows the registry winning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    files: Vec<PathBuf>,
}

/// A secret for one registry, and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) secret: Secret,
    pub(crate) from: PathBuf,
}

/// The ways to prove who one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// A name and a password.
    Password { user: String, password: String },
    /// An OAuth2 refresh token, to be exchanged for tokens.
    Identity { token: String },
    /// A bearer token to send as it is.
    Bearer { token: String },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity { .. } => "Identity",
            Self::Bearer { .. } => "Bearer",
        })
    }
}

impl Secret {
    /// The value of `Authorization: Basic`, for a password.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            _ => None,
        }
    }
}

impl Credentials {
    /// Looks in `files`, in that order; those that do not exist are passed over.
    pub fn in_files(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { files: files.into_iter().map(Into::into).collect() }
    }

    /// The files that docker and podman would read: `REGISTRY_AUTH_FILE` alone where it is set, else
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `$XDG_CONFIG_HOME/containers/auth.json`, `$DOCKER_CONFIG/config.json`
    /// or `~/.docker/config.json`.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(only) = path("REGISTRY_AUTH_FILE") {
            return Self { files: vec![only] };
        }
        let home = path("HOME");
        let config = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
        let files = [
            docker.map(|dir| dir.join("config.json")),
            path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            config.map(|dir| dir.join("containers/auth.json")),
        ];
        Self { files: files.into_iter().flatten().collect() }
    }

    /// The credential for `registry` (its `host[:port]`), the most specific one for `repository`.
    ///
    /// May run a credential helper: call it where blocking is allowed.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Cause> {
        for path in &self.files {
            let Some(file) = read(path)? else { continue };
            if let Some(secret) = file.secret(registry, repository, path)? {
                return Ok(Some(Credential { secret, from: path.clone() }));
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<Option<File>, Cause> {
    let failed = |reason: String| Cause::File { path: path.to_owned(), reason };
    match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(metadata) if !metadata.is_file() => return Err(failed("it is not a regular file".into())),
        Ok(metadata) if metadata.len() > FILE_LIMIT => return Err(failed("it is longer than 1 MiB".into())),
        Ok(_) => {}
    }
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // serde_json's message may quote the text around the fault, and that may be a secret.
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| failed(format!("not the JSON expected, line {} column {}", error.line(), error.column())))
}

/// `config.json` of docker and `auth.json` of podman, as far as they concern credentials.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl File {
    fn secret(&self, registry: &str, repository: &str, path: &Path) -> Result<Option<Secret>, Cause> {
        if let Some(helper) = self.helper(registry) {
            return helper::get(helper, server(registry));
        }
        for key in keys(registry, repository) {
            let found = self.auths.iter().find(|(name, _)| normal(name) == key);
            if let Some((name, auth)) = found {
                let wrong =
                    || Cause::File { path: path.to_owned(), reason: format!("`auth` of `{name}` is malformed") };
                match auth.secret().ok_or_else(wrong)? {
                    Some(secret) => return Ok(Some(secret)),
                    None => continue,
                }
            }
        }
        match &self.creds_store {
            Some(helper) if !helper.is_empty() => helper::get(helper, server(registry)),
            _ => Ok(None),
        }
    }

    fn helper(&self, registry: &str) -> Option<&str> {
        let found = self.cred_helpers.iter().find(|(name, _)| canonical(&normal(name)) == canonical(registry));
        found.map(|(_, helper)| helper.as_str()).filter(|helper| !helper.is_empty())
    }
}

impl Auth {
    /// `None` if it is malformed, `Some(None)` if it is empty: docker leaves such entries for what its helper keeps.
    fn secret(&self) -> Option<Option<Secret>> {
        if !self.identitytoken.is_empty() {
            return Some(Some(Secret::Identity { token: self.identitytoken.clone() }));
        }
        if !self.registrytoken.is_empty() {
            return Some(Some(Secret::Bearer { token: self.registrytoken.clone() }));
        }
        if self.auth.is_empty() {
            let (user, password) = (self.username.clone(), self.password.clone());
            return Some((!user.is_empty()).then_some(Secret::Password { user, password }));
        }
        let decoded = String::from_utf8(LENIENT.decode(self.auth.trim_end_matches('=')).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        let password = password.trim_end_matches('\0').to_owned();
        Some(Some(Secret::Password { user: user.to_owned(), password }))
    }
}

/// Base64 with or without padding: hand-made files lack it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// The keys under which `registry` may be found, the most specific first: podman keeps some per namespace.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let registry = canonical(registry);
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        keys.push(format!("{registry}/{path}"));
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    keys.push(registry.to_owned());
    keys
}

/// `https://index.docker.io/v1/` and its like as the registry that they mean.
fn normal(key: &str) -> String {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")).unwrap_or(rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = canonical(host);
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// The name under which helpers keep `registry`.
fn server(registry: &str) -> &str {
    match canonical(registry) {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        serde_json::from_str(text).unwrap()
    }

    #[track_caller]
    fn check(text: &str, registry: &str, repository: &str, user: Option<&str>) {
        let found = file(text).secret(registry, repository, Path::new("config.json")).unwrap();
        let name = found.map(|secret| match secret {
            Secret::Password { user, .. } => user,
            Secret::Identity { token } | Secret::Bearer { token } => token,
        });
        assert_eq!(name.as_deref(), user);
    }

    #[test]
    fn dockers_file() {
        // "me:se:cret"
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6c2U6Y3JldA=="},
            "http://r.test:5000":{"username":"you","password":"x"},"empty.test":{},
            "azure.test":{"auth":"MDA6","identitytoken":"refresh"}},"HttpHeaders":{"x":"y"}}"#;
        check(text, "docker.io", "library/alpine", Some("me"));
        check(text, "r.test:5000", "a", Some("you"));
        check(text, "r.test", "a", None);
        check(text, "empty.test", "a", None);
        check(text, "azure.test", "a", Some("refresh"));
        let secret = file(text).secret("docker.io", "a", Path::new("")).unwrap().unwrap();
        assert_eq!(secret, Secret::Password { user: "me".into(), password: "se:cret".into() });
    }

    #[test]
    fn podmans_file_may_be_particular_about_the_repository() {
        let text = r#"{"auths":{"quay.io":{"auth":"YWxsOng="},"quay.io/team/app":{"auth":"YXBwOng"}}}"#;
        check(text, "quay.io", "team/app", Some("app"));
        check(text, "quay.io", "team/app/sub", Some("app"));
        check(text, "quay.io", "team/application", Some("all"));
    }

    #[test]
    fn a_malformed_entry_is_told_without_its_secret() {
        let file = file(r#"{"auths":{"a.test":{"auth":"c2VjcmV0"}}}"#);
        let error = file.secret("a.test", "x", Path::new("/c.json")).unwrap_err().to_string();
        assert_eq!(error, "cannot use /c.json: `auth` of `a.test` is malformed");
    }

    #[test]
    fn the_files_of_the_environment() {
        let found = Credentials::from_variables(|name| (name == "HOME").then(|| "/home/u".into()));
        let expected = ["/home/u/.docker/config.json", "/home/u/.config/containers/auth.json"];
        assert_eq!(found, Credentials::in_files(expected));
        let only = Credentials::from_variables(|name| (name != "HOME").then(|| format!("/{name}")));
        assert_eq!(only, Credentials::in_files(["/REGISTRY_AUTH_FILE"]));
    }
}
