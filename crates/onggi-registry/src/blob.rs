//! A blob on its way: bytes in pieces, taken up again where a connection broke off.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode, Uri};
use hyper::body::Incoming;
use onggi_oci::{Descriptor, Reference};

use crate::auth::Scope;
use crate::error::{Cause, During as _, Result};
use crate::server::Server;
use crate::transport::{Answer, Ask, Transport, piece};

/// A connection that brought this much before it broke off was a good one: the count of attempts begins anew.
const PROGRESS: u64 = 1024 * 1024;

/// The content of a blob from some offset on.
///
/// The size is held to here: never a byte more than the descriptor says, and the end only when all of them came. The
/// digest is for who stores the bytes to verify, since a download may continue one of an earlier day.
pub struct Blob {
    way: Way,
    index: usize,
    offset: u64,
    body: Option<Body>,
    attempts: u32,
    /// Where the present connection began.
    began: u64,
}

/// A body that has begun.
struct Body {
    /// What came together with bytes that were skipped.
    first: Option<Bytes>,
    rest: Incoming,
}

/// How to ask for the blob.
struct Way {
    transport: Arc<Transport>,
    server: Arc<Server>,
    scope: Scope,
    uri: Uri,
    url: String,
    what: String,
    size: u64,
}

impl Blob {
    pub(crate) async fn open(
        transport: Arc<Transport>,
        server: Arc<Server>,
        index: usize,
        image: &Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> std::result::Result<Self, Cause> {
        let path = format!("blobs/{}", descriptor.digest);
        let repository = image.repository();
        let uri = server.endpoint.url(&transport, repository, &path).await?;
        let scope = Scope { repository: server.endpoint.repository(repository), actions: "pull", from: None };
        let url = crate::transport::redacted(&uri);
        let what = format!("fetch blob {} of {}", descriptor.digest, image.familiar_name());
        let way = Way { transport, server, scope, uri, url, what, size: descriptor.size };
        let body = if offset > 0 && offset == way.size { None } else { Some(way.open(offset).await?) };
        Ok(Self { way, index, offset, body, attempts: 0, began: offset })
    }

    /// Which of the registry's servers sends it: 0 for the first mirror, the highest for the registry itself.
    pub fn server(&self) -> usize {
        self.index
    }

    /// The offset of the next piece.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes; `None` when all have come.
    ///
    /// # Errors
    /// The registry fell silent, sent another number of bytes than the descriptor says, or broke off too often.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let outcome = self.advance().await;
        outcome.during(|| self.way.what.clone())
    }

    async fn advance(&mut self) -> std::result::Result<Option<Bytes>, Cause> {
        loop {
            let Some(body) = &mut self.body else { return Ok(None) };
            let idle = self.way.transport.patience().idle;
            if let Some(first) = body.first.take() {
                return self.take(first).map(Some);
            }
            let failure = match piece(&mut body.rest, &Method::GET, &self.way.url, idle).await {
                Ok(Some(bytes)) => return self.take(bytes).map(Some),
                Ok(None) if self.offset == self.way.size => {
                    self.body = None;
                    return Ok(None);
                }
                Ok(None) => self.way.wrong_size(self.offset),
                Err(failure @ Cause::Broken { .. }) => failure,
                Err(other) => return Err(other),
            };
            self.reopen(failure).await?;
        }
    }

    fn take(&mut self, bytes: Bytes) -> std::result::Result<Bytes, Cause> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let offset = self.offset.saturating_add(length);
        if offset > self.way.size {
            self.body = None;
            return Err(self.way.wrong_size(offset));
        }
        self.offset = offset;
        Ok(bytes)
    }

    /// Asks for the rest, unless `failure` has come too often.
    async fn reopen(&mut self, failure: Cause) -> std::result::Result<(), Cause> {
        if self.offset - self.began >= PROGRESS {
            self.attempts = 0;
        }
        if self.attempts >= self.way.transport.patience().retries {
            self.body = None;
            return Err(failure);
        }
        tokio::time::sleep(self.way.transport.pause(self.attempts)).await;
        self.attempts += 1;
        self.began = self.offset;
        self.body = Some(self.way.open(self.offset).await?);
        Ok(())
    }
}

impl Way {
    /// A body that begins at `offset`.
    async fn open(&self, offset: u64) -> std::result::Result<Body, Cause> {
        let mut ask = Ask::new(Method::GET, self.uri.clone());
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            ask = ask.with(RANGE, range.expect("digits make a header"));
        }
        let answer = self.server.ask(&self.transport, &ask, &self.scope).await?;
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        let begins = if partial { self.check_range(&answer, offset)? } else { 0 };
        let announced = answer.header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if let Some(length) = announced.filter(|length| begins.saturating_add(*length) != self.size) {
            return Err(self.wrong_size(begins.saturating_add(length)));
        }
        let mut rest = answer.response.into_body();
        // A server that knows no ranges sends what we have once more.
        let first = self.skip(&mut rest, offset - begins).await?;
        Ok(Body { first, rest })
    }

    /// Where a partial answer begins; it must be where we asked.
    fn check_range(&self, answer: &Answer, offset: u64) -> std::result::Result<u64, Cause> {
        let range = answer.header(CONTENT_RANGE).unwrap_or_default();
        let (first, total) = parse_range(range).unwrap_or((u64::MAX, None));
        if first != offset {
            let reason = format!("asked for the bytes from {offset} on, got `{}`", crate::document::printable(range));
            return Err(Cause::Protocol { url: answer.url(), reason });
        }
        match total {
            Some(total) if total != self.size => Err(self.wrong_size(total)),
            _ => Ok(first),
        }
    }

    /// Reads over `count` bytes; answers what came with the last of them.
    async fn skip(&self, body: &mut Incoming, count: u64) -> std::result::Result<Option<Bytes>, Cause> {
        let mut left = count;
        while left > 0 {
            let idle = self.transport.patience().idle;
            let Some(mut bytes) = piece(body, &Method::GET, &self.url, idle).await? else {
                return Err(self.wrong_size(count - left));
            };
            match usize::try_from(left) {
                Ok(within) if within < bytes.len() => return Ok(Some(bytes.split_off(within))),
                _ => left -= u64::try_from(bytes.len()).unwrap_or(left),
            }
        }
        Ok(None)
    }

    fn wrong_size(&self, actual: u64) -> Cause {
        Cause::Mismatch {
            url: self.url.clone(),
            what: "a blob of size",
            expected: self.size.to_string(),
            actual: actual.to_string(),
        }
    }
}

/// First byte and total of `bytes 10-99/100`.
fn parse_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}
