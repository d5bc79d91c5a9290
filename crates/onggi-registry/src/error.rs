//! What can go wrong between us and a registry.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use http::{Method, StatusCode};
use onggi_diag::{Diagnose, Kind};

use crate::connect::ConnectError;
use crate::document::Document;

/// Result of an operation of the [`crate::Client`].
pub type Result<T> = std::result::Result<T, Error>;

/// An operation that failed: what was to be done, to what; the source says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct Error {
    operation: String,
    #[source]
    cause: Box<Cause>,
}

impl Error {
    pub(crate) fn new(operation: impl Into<String>, cause: Cause) -> Self {
        Self { operation: operation.into(), cause: Box::new(cause) }
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        self.cause.kind()
    }

    fn hint(&self) -> Option<String> {
        self.cause.hint()
    }
}

/// Names the operation that a [`Cause`] ended.
pub(crate) trait During<T> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for std::result::Result<T, Cause> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(operation(), cause))
    }
}

/// Why an exchange with a registry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The registry answered, and the answer is no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came over it was not HTTP.
    #[error("{method} {url} broke off")]
    Broken {
        /// What was asked.
        method: Method,
        /// Of whom, without secrets.
        url: String,
        /// What broke.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The peer said nothing for too long.
    #[error("{method} {url}: no {awaited} for {} s", after.as_secs_f32())]
    Silent {
        /// What was asked.
        method: Method,
        /// Of whom, without secrets.
        url: String,
        /// What did not come: "answer", "more bytes".
        awaited: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The registry sends more than the thing can be.
    #[error("{url} sends more than the {limit} bytes that {what} may have")]
    TooLarge {
        /// Of whom, without secrets.
        url: String,
        /// What was being read.
        what: &'static str,
        /// The most it may have.
        limit: u64,
    },
    /// The content is not what its digest or its descriptor says.
    #[error("{url} sent {what} {actual}, expected {expected}")]
    Mismatch {
        /// Who sent it, without secrets.
        url: String,
        /// What was compared: "content of digest", "a blob of size".
        what: &'static str,
        /// What the descriptor or reference says.
        expected: String,
        /// What came.
        actual: String,
    },
    /// A redirect that must not be followed.
    #[error("refused the redirect from {from} to {to}: {reason}")]
    Redirect {
        /// Who sent us on.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The answer does not follow the protocol.
    #[error("{url} answered against the protocol: {reason}")]
    Protocol {
        /// Who answered.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No token could be had.
    #[error("cannot get a token for {registry} from {realm}")]
    Token {
        /// Whose token.
        registry: String,
        /// Who gives them.
        realm: String,
        /// Why not.
        source: Box<Cause>,
    },
    /// The token service may not be asked.
    #[error("refused the token realm {realm} of {registry}: {reason}")]
    Realm {
        /// Who named it.
        registry: String,
        /// The realm.
        realm: String,
        /// Why not.
        reason: String,
    },
    /// A credential helper did not help.
    #[error("the credential helper `{helper}` for {registry} {reason}")]
    Helper {
        /// The name as configured.
        helper: String,
        /// Whose credentials were wanted.
        registry: String,
        /// What it did.
        reason: String,
    },
    /// A file of configuration or credentials cannot be used.
    #[error("cannot use {}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The content to push cannot be read.
    #[error("cannot read {what}")]
    Source {
        /// What was to be pushed.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Neither the mirrors nor the registry itself served it; the source is the registry's own answer.
    #[error("neither {registry} nor its mirrors could serve it ({})", mirrors.join("; "))]
    Everyone {
        /// The registry.
        registry: String,
        /// What each mirror answered.
        mirrors: Vec<String>,
        /// What the registry itself answered.
        source: Box<Cause>,
    },
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {url} answered {status}{}", document.in_message())]
pub struct Refusal {
    /// What was asked.
    pub method: Method,
    /// Of whom, without secrets.
    pub url: String,
    /// The answer.
    pub status: StatusCode,
    /// The registry's own words.
    pub document: Document,
    /// What was known about credentials, for the hint.
    pub login: Login,
}

/// What was known about credentials when a registry said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// There are none for this registry.
    None {
        /// The registry.
        registry: String,
    },
    /// They were given.
    Used {
        /// The registry.
        registry: String,
        /// The file they came from.
        from: PathBuf,
    },
    /// They were held back, because the token realm is somebody else's.
    Withheld {
        /// The registry.
        registry: String,
        /// The host of the realm.
        realm: String,
    },
}

impl Cause {
    /// The HTTP status at the root of it, if the registry answered at all.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Everyone { source, .. } | Self::Token { source, .. } => source.status(),
            _ => None,
        }
    }
}

impl Diagnose for Cause {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => kind_of(refusal.status),
            Self::Connect(source) => source.kind(),
            Self::Broken { .. } | Self::Silent { .. } => Kind::Unavailable,
            Self::TooLarge { .. } | Self::Mismatch { .. } | Self::Redirect { .. } | Self::Realm { .. } => Kind::Hostile,
            Self::Protocol { .. } | Self::File { .. } => Kind::Invalid,
            Self::Helper { .. } => Kind::Denied,
            Self::Source { .. } => Kind::Internal,
            Self::Token { source, .. } | Self::Everyone { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Connect(source) => source.hint(),
            Self::Token { source, .. } | Self::Everyone { source, .. } => source.hint(),
            _ => None,
        }
    }
}

impl Refusal {
    fn hint(&self) -> Option<String> {
        match self.status.as_u16() {
            401 | 403 => Some(self.login.hint()),
            429 => Some("the registry limits the rate of requests; wait, give credentials, or set a mirror".into()),
            _ => None,
        }
    }
}

impl Login {
    fn hint(&self) -> String {
        match self {
            Self::None { registry } => format!(
                "no credentials are known for {registry}: the image is private, or there is none of that name; \
                 credentials are read from ~/.docker/config.json (`auths`)"
            ),
            Self::Used { registry, from } => format!(
                "the credentials for {registry} came from {}; they may be wrong or lack the right, \
                 or there is no image of that name",
                from.display()
            ),
            Self::Withheld { registry, realm } => format!(
                "the credentials for {registry} were not sent to its token realm on the foreign host {realm}; \
                 if that is right, add it to `token-realms` of [registry.\"{registry}\"] in registries.toml"
            ),
        }
    }
}

fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 | 403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        409 | 412 => Kind::Conflict,
        405 | 415 | 501 => Kind::Unsupported,
        408 | 429 | 500 | 502 | 503 | 504 => Kind::Unavailable,
        400..=499 => Kind::Invalid,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_said_what_and_where_credentials_come_from() {
        let cause = Cause::Refused(Box::new(Refusal {
            method: Method::GET,
            url: "https://registry.test/v2/a/manifests/b".into(),
            status: StatusCode::UNAUTHORIZED,
            document: Document::parse(br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#),
            login: Login::None { registry: "registry.test".into() },
        }));
        assert_eq!(
            cause.to_string(),
            "GET https://registry.test/v2/a/manifests/b answered 401 Unauthorized: UNAUTHORIZED: authentication required"
        );
        assert_eq!(cause.kind(), Kind::Denied);
        assert!(cause.hint().is_some_and(|hint| hint.contains("config.json")));
    }
}
