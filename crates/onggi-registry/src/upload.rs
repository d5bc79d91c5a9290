//! A blob on its way to a registry: distribution specification, "Pushing a blob in chunks", with one chunk.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};
use onggi_oci::{Descriptor, Digest};

use crate::auth::Scope;
use crate::error::Cause;
use crate::payload::{Payload, Source};
use crate::percent;
use crate::server::Server;
use crate::transport::{Answer, Ask, Transport, follow};

/// How a blob came to be where it was pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry had it in another repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// A push of one blob.
pub(crate) struct Upload<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) server: &'a Server,
    pub(crate) repository: &'a str,
    pub(crate) descriptor: &'a Descriptor,
    /// Another repository on the same registry that may have it.
    pub(crate) mount_from: Option<&'a str>,
    pub(crate) source: &'a Source,
}

impl Upload<'_> {
    /// Sends the blob, from the beginning again if the connection breaks.
    pub(crate) async fn run(&self) -> Result<Pushed, Cause> {
        let mut attempt = 0;
        loop {
            match self.attempt().await {
                Err(failure) if is_passing(&failure) && attempt < self.transport.patience().retries => {
                    tokio::time::sleep(self.transport.pause(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self) -> Result<Pushed, Cause> {
        let answer = self.begin().await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Pushed::Mounted);
        }
        let place = place(&answer)?;
        let payload = Payload::Stream { source: self.source.clone(), size: self.descriptor.size };
        let ask = Ask::new(Method::PATCH, place).with(CONTENT_TYPE, OCTETS).carrying(payload);
        let answer = self.server.ask(self.transport, &ask, &self.scope()).await?;
        let ask = Ask::new(Method::PUT, closing(&place_or_asked(&answer)?, &self.descriptor.digest)?);
        let answer = self.server.ask(self.transport, &ask, &self.scope()).await?;
        check_digest(&answer, &self.descriptor.digest)?;
        Ok(Pushed::Sent)
    }

    /// Opens an upload, or has the blob mounted at once.
    async fn begin(&self) -> Result<Answer, Cause> {
        let mount = self.mount_from.map(|from| {
            format!("?mount={}&from={}", percent::encode(self.descriptor.digest.as_str()), percent::encode(from))
        });
        let path = format!("blobs/uploads/{}", mount.unwrap_or_default());
        let uri = self.server.endpoint.url(self.transport, self.repository, &path).await?;
        // An upload opened twice is one that the registry throws away in time.
        let ask = Ask::new(Method::POST, uri).carrying(Payload::Bytes(bytes::Bytes::new())).repeatable();
        self.server.ask(self.transport, &ask, &self.scope()).await
    }

    fn scope(&self) -> Scope {
        Scope {
            repository: self.server.endpoint.repository(self.repository),
            actions: "pull,push",
            from: self.mount_from.map(str::to_owned),
        }
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn is_passing(failure: &Cause) -> bool {
    match failure {
        Cause::Broken { .. } => true,
        Cause::Refused(refusal) => refusal.status.is_server_error(),
        _ => false,
    }
}

/// Where the upload continues.
fn place(answer: &Answer) -> Result<Uri, Cause> {
    match answer.header(LOCATION) {
        Some(location) => follow(&answer.uri, location),
        None => Err(Cause::Protocol { url: answer.url(), reason: "it opened an upload without a Location".into() }),
    }
}

/// Where the upload continues; where it was, if the server does not say.
fn place_or_asked(answer: &Answer) -> Result<Uri, Cause> {
    answer.header(LOCATION).map_or(Ok(answer.uri.clone()), |location| follow(&answer.uri, location))
}

fn closing(place: &Uri, digest: &Digest) -> Result<Uri, Cause> {
    let joint = if place.query().is_some() { '&' } else { '?' };
    let text = format!("{place}{joint}digest={}", percent::encode(digest.as_str()));
    text.parse().map_err(|_| Cause::Protocol {
        url: crate::transport::redacted(place),
        reason: "it opened an upload at what is not a URL".into(),
    })
}

/// The registry may say which content it stored; if so it must be ours.
pub(crate) fn check_digest(answer: &Answer, expected: &Digest) -> Result<(), Cause> {
    match answer.header("docker-content-digest") {
        Some(actual) if actual != expected.as_str() => Err(Cause::Mismatch {
            url: answer.url(),
            what: "content of digest",
            expected: expected.to_string(),
            actual: crate::document::printable(actual),
        }),
        _ => Ok(()),
    }
}
