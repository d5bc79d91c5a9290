//! Names of images.

use std::fmt;
use std::str::FromStr;

use onggi_diag::{Diagnose, Kind};
use serde::{Deserialize, Serialize};

use crate::digest::excerpt;
use crate::{Digest, DigestError};

/// The registry that is meant when none is named.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The name under which the same registry was known once.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Where that registry keeps what has no owner in its name.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// As the distribution project limits registry and repository together.
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// The name of an image, complete: registry, repository, and a tag or a digest or both.
///
/// Made from what a user types by Docker's rules (the distribution project's `reference` package):
/// `docker.io/library/` is implied, `latest` is the tag where neither tag nor digest is given, and a first component
/// is a registry only if it has a dot, a port or an upper-case letter in it, or is `localhost`.
/// Displays in full; [`Reference::familiar`] is the short form that people use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as a user types it.
    ///
    /// # Errors
    /// Says which part breaks which rule.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let fail = |problem| ReferenceError { text: excerpt(text), problem };
        if text.is_empty() {
            return Err(fail(Problem::Empty));
        }
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(fail(Problem::LooksLikeId));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest).map_err(|error| fail(Problem::Digest(error)))?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match rest.rfind(':').filter(|&colon| !rest[colon..].contains('/')) {
            Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
            None => (rest, None),
        };
        let (registry, repository) = complete(name);
        check_registry(registry).and_then(|()| check_repository(&repository)).map_err(&fail)?;
        if registry.len() + 1 + repository.len() > NAME_LIMIT {
            return Err(fail(Problem::NameTooLong));
        }
        if let Some(tag) = tag {
            check_tag(tag).map_err(&fail)?;
        }
        let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// The registry: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository on the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, which is there unless a digest was given without one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Registry and repository as people write them: `alpine`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        match self.repository.strip_prefix(OFFICIAL) {
            // `library/x/y` without its first part would be the repository `x/y`.
            Some(short) if !short.contains('/') => short.to_owned(),
            // `docker.io/quay.io/x` without its first part would be on another registry.
            _ if self.repository.split_once('/').is_some_and(|(first, _)| is_registry(first)) => self.name(),
            _ => self.repository.clone(),
        }
    }

    /// The whole as people write it: `alpine:3.20`, `alpine@sha256:...`.
    pub fn familiar(&self) -> String {
        self.with_selectors(self.familiar_name())
    }

    /// What asks the registry for the manifest: the digest where there is one, for it says more than the tag.
    pub fn selector(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// The same repository with this tag and without a digest.
    ///
    /// # Errors
    /// If the tag breaks the rules for tags.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag).map_err(|problem| ReferenceError { text: excerpt(tag), problem })?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn with_selectors(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.with_selectors(self.name()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Why a text is no name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image name `{text}`: {problem}")]
pub struct ReferenceError {
    text: String,
    problem: Problem,
}

/// The rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("it is empty")]
    Empty,
    #[error("64 hexadecimal digits are an image's ID, not a name")]
    LooksLikeId,
    #[error("the repository has upper-case letters, and may have only lower-case ones")]
    UpperCase,
    #[error("`{0}` cannot be a registry")]
    Registry(String),
    #[error("the repository is empty")]
    NoRepository,
    #[error("`{0}` cannot be part of a repository's name")]
    Component(String),
    #[error("registry and repository are longer than {NAME_LIMIT} bytes")]
    NameTooLong,
    #[error("the tag is empty")]
    NoTag,
    #[error("`{0}` cannot be a tag")]
    Tag(String),
    #[error("{0}")]
    Digest(DigestError),
}

impl Diagnose for ReferenceError {
    fn kind(&self) -> Kind {
        match &self.problem {
            Problem::Digest(error) => error.kind(),
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.problem {
            Problem::Digest(error) => error.hint(),
            Problem::UpperCase => Some(format!("did you mean `{}`?", self.text.to_lowercase())),
            Problem::Component(_) => {
                Some("lower-case letters and digits, separated by `.`, `_`, `__` or dashes, make up a name".into())
            }
            Problem::Tag(_) | Problem::NoTag => Some(format!(
                "a tag is up to {TAG_LIMIT} letters, digits, `_`, `.` and `-`, the first of them a letter, a digit or `_`"
            )),
            _ => None,
        }
    }
}

/// Registry and repository of a name without tag and digest.
fn complete(name: &str) -> (&str, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == LEGACY_REGISTRY { DEFAULT_REGISTRY } else { registry };
    if registry == DEFAULT_REGISTRY && !repository.is_empty() && !repository.contains('/') {
        return (registry, format!("{OFFICIAL}{repository}"));
    }
    (registry, repository.to_owned())
}

/// Whether the first of several components names a registry rather than a user of the default one.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_registry(registry: &str) -> Result<(), Problem> {
    let bad = || Problem::Registry(excerpt(registry));
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(bad)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
            (None, port.strip_prefix(':').or(port.is_empty().then_some("0")).ok_or_else(bad)?)
        }
        None => registry.split_once(':').map_or((Some(registry), "0"), |(host, port)| (Some(host), port)),
    };
    let port_is_number = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let host_is_name = host.is_none_or(|host| host.split('.').all(is_host_component));
    if port_is_number && host_is_name { Ok(()) } else { Err(bad()) }
}

fn is_host_component(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn check_repository(repository: &str) -> Result<(), Problem> {
    if repository.is_empty() {
        return Err(Problem::NoRepository);
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Problem::UpperCase);
    }
    match repository.split('/').find(|part| !is_path_component(part)) {
        Some(part) => Err(Problem::Component(excerpt(part))),
        None => Ok(()),
    }
}

/// Runs of `[a-z0-9]` with one of `.`, `_`, `__` or any number of dashes between them.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes
            .split(|&byte| alphanumeric(byte))
            .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<(), Problem> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let Some(first) = tag.bytes().next() else { return Err(Problem::NoTag) };
    let good =
        tag.len() <= TAG_LIMIT && word(first) && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    if good { Ok(()) } else { Err(Problem::Tag(excerpt(tag))) }
}

#[cfg(test)]
mod tests;
