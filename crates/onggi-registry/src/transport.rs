//! One HTTP exchange: deadlines, redirects, and nothing of registries.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Patience;
use crate::connect::{ConnectError, Connector};
use crate::document::{self, Document};
use crate::error::{Cause, Login, Refusal};
use crate::host::Origin;
use crate::payload::{Activity, Body, Payload};

/// As many redirects are followed as browsers' makers once agreed on.
const REDIRECT_LIMIT: usize = 10;

/// No registry needs longer headers.
const HEADER_BYTES: usize = 64 * 1024;
const HEADER_COUNT: usize = 100;

const AGENT: &str = concat!("onggi/", env!("CARGO_PKG_VERSION"));

/// Sends requests over pooled connections.
pub(crate) struct Transport {
    client: legacy::Client<Connector, Body>,
    connector: Connector,
    patience: Patience,
}

/// A request that can be sent again.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// Whether what it carries is a secret, so that no redirect may take it elsewhere.
    bound: bool,
    /// Whether sending it twice does no harm.
    repeatable: bool,
}

/// An answer whose body has not been read.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    /// Who answered in the end.
    pub(crate) uri: Uri,
    pub(crate) method: Method,
    /// Whether that is another origin than was asked.
    pub(crate) elsewhere: bool,
}

impl Ask {
    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        let repeatable = matches!(method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE);
        Self { method, uri, headers: HeaderMap::new(), payload: Payload::None, bound: false, repeatable }
    }

    pub(crate) fn with(mut self, name: http::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn carrying(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// The payload is a secret between us and the one that is asked.
    pub(crate) fn bound(mut self) -> Self {
        self.bound = true;
        self
    }

    /// Sending it twice does no harm, whatever the method.
    pub(crate) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }
}

impl Transport {
    pub(crate) fn new(connector: Connector, patience: Patience) -> Self {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .http1_max_buf_size(HEADER_BYTES)
            .http1_max_headers(HEADER_COUNT)
            .build(connector.clone());
        Self { client, connector, patience }
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Sends `ask` and follows where the answers lead.
    ///
    /// `authorization` goes to the origin of `ask` alone: whoever it redirects to does not see it, nor does plain HTTP
    /// where HTTPS was asked.
    pub(crate) async fn send(&self, ask: &Ask, authorization: Option<&HeaderValue>) -> Result<Answer, Cause> {
        let origin = Origin::of(&ask.uri);
        let mut uri = ask.uri.clone();
        for _ in 0..=REDIRECT_LIMIT {
            let elsewhere = Origin::of(&uri) != origin;
            let response = self.once(ask, &uri, authorization.filter(|_| !elsewhere)).await?;
            if !is_redirect(&response) {
                return Ok(Answer { response, uri, method: ask.method.clone(), elsewhere });
            }
            let to = next(&uri, &response, &ask.method)?;
            self.drain(response).await;
            if ask.bound && Origin::of(&to) != origin {
                let reason = "the request carries a secret";
                return Err(Cause::Redirect { from: redacted(&uri), to: redacted(&to), reason });
            }
            uri = to;
        }
        let from = redacted(&ask.uri);
        Err(Cause::Redirect { from, to: redacted(&uri), reason: "there were more than 10 before it" })
    }

    /// As [`Transport::send`], again and again while the failure looks passing and patience lasts.
    ///
    /// The last answer is given back as it came, so that the caller can tell what the server said.
    pub(crate) async fn send_patiently(&self, ask: &Ask, authorization: Option<&HeaderValue>) -> Result<Answer, Cause> {
        for attempt in 0.. {
            let outcome = self.send(ask, authorization).await;
            let again = ask.repeatable && attempt < self.patience.retries;
            let wished = match &outcome {
                Ok(answer) if again && is_passing(answer.status()) => answer.retry_after(),
                Err(Cause::Broken { .. }) if again => None,
                _ => return outcome,
            };
            let pause = wished.unwrap_or_else(|| self.pause(attempt));
            if pause > self.patience.longest_pause {
                return outcome;
            }
            if let Ok(answer) = outcome {
                self.drain(answer.response).await;
            }
            sleep(pause).await;
        }
        unreachable!("the last attempt returns")
    }

    /// The pause after failed attempt number `attempt`.
    pub(crate) fn pause(&self, attempt: u32) -> Duration {
        (self.patience.pause * 2_u32.pow(attempt.min(10))).min(self.patience.longest_pause)
    }

    /// Reads over a body that nobody wants, if it is a short one: then the connection can be used again.
    pub(crate) async fn drain(&self, response: Response<Incoming>) {
        let mut body = response.into_body();
        let mut seen = 0;
        while seen < document::LIMIT {
            match piece(&mut body, &Method::GET, "", self.patience.idle).await {
                Ok(Some(bytes)) => seen += bytes.len(),
                _ => return,
            }
        }
    }

    async fn once(
        &self,
        ask: &Ask,
        uri: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Cause> {
        let activity = Activity::default();
        let (body, length) = ask.payload.body(&activity);
        let mut request = Request::new(body);
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&ask.headers);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(authorization) = self.proxy_authorization(uri) {
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        // The connector has its own deadline, which begins with it: this one must not cut it short.
        let limit = self.patience.answer + self.patience.connect;
        let sent = attentive(self.client.request(request), &activity, limit).await;
        let (method, url) = (ask.method.clone(), redacted(uri));
        match sent {
            None => Err(Cause::Silent { method, url, awaited: "answer", after: limit }),
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(broken(method, url, error)),
        }
    }

    /// Plain HTTP through a proxy names the proxy's user in each request; a tunnel did when it was made.
    fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        let plain = uri.scheme_str() == Some("http");
        let proxy = self.connector.proxies().on_the_way_to(uri).filter(|_| plain)?;
        HeaderValue::try_from(proxy.authorization.as_ref()?).ok()
    }
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn url(&self) -> String {
        redacted(&self.uri)
    }

    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// How long the server wants us to wait; as a date, which is rare, it is not understood.
    fn retry_after(&self) -> Option<Duration> {
        self.header(RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
    }

    /// The whole body, which is `what` and may have `limit` bytes.
    pub(crate) async fn read(self, what: &'static str, limit: usize, idle: Duration) -> Result<Bytes, Cause> {
        let (url, method) = (self.url(), self.method.clone());
        let too_large = || Cause::TooLarge { url: url.clone(), what, limit: u64::try_from(limit).unwrap_or(u64::MAX) };
        let announced = self.header(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = self.response.into_body();
        let mut whole = BytesMut::new();
        while let Some(piece) = piece(&mut body, &method, &url, idle).await? {
            if whole.len() + piece.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The failure that this answer is.
    pub(crate) async fn into_failure(self, login: Login, idle: Duration) -> Cause {
        let (method, url, status) = (self.method.clone(), self.url(), self.status());
        let body = self.beginning(document::LIMIT, idle).await;
        Cause::Refused(Box::new(Refusal { method, url, status, document: Document::parse(&body), login }))
    }

    /// As much of the body as comes, up to `limit`.
    async fn beginning(self, limit: usize, idle: Duration) -> Bytes {
        let (method, url) = (self.method.clone(), self.url());
        let mut body = self.response.into_body();
        let mut beginning = BytesMut::new();
        while let Ok(Some(piece)) = piece(&mut body, &method, &url, idle).await {
            let room = limit - beginning.len();
            beginning.extend_from_slice(&piece[..piece.len().min(room)]);
            if beginning.len() == limit {
                break;
            }
        }
        beginning.freeze()
    }
}

/// The next bytes of `body`; `None` at its end.
pub(crate) async fn piece(
    body: &mut Incoming,
    method: &Method,
    url: &str,
    idle: Duration,
) -> Result<Option<Bytes>, Cause> {
    loop {
        let Ok(frame) = timeout(idle, body.frame()).await else {
            return Err(Cause::Silent {
                method: method.clone(),
                url: url.to_owned(),
                awaited: "further bytes",
                after: idle,
            });
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                return Err(Cause::Broken { method: method.clone(), url: url.to_owned(), source: error.into() });
            }
            // Trailers are nothing to us.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}

/// Waits for `work` as long as it, or the body that it sends, moves within `limit`; then `None`.
async fn attentive<W: Future>(work: W, activity: &Activity, limit: Duration) -> Option<W::Output> {
    let mut work = pin!(work);
    let mut deadline = Instant::now() + limit;
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            () = sleep_until(deadline) => match activity.take() {
                Some(moved) => deadline = moved + limit,
                None => return None,
            },
        }
    }
}

/// Whether the server may answer otherwise in a moment.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn is_redirect(response: &Response<Incoming>) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) && response.headers().contains_key(LOCATION)
}

fn next(from: &Uri, response: &Response<Incoming>, method: &Method) -> Result<Uri, Cause> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
    let keeps_method = matches!(response.status().as_u16(), 307 | 308);
    if !keeps_method && !matches!(*method, Method::GET | Method::HEAD) {
        let reason = "its status would turn the request into another";
        return Err(Cause::Redirect { from: redacted(from), to: document::printable(location), reason });
    }
    follow(from, location)
}

/// Where `location` leads from `from`: never to another scheme than HTTP's two, never from HTTPS to plain HTTP.
pub(crate) fn follow(from: &Uri, location: &str) -> Result<Uri, Cause> {
    let refused =
        |reason: &'static str| Cause::Redirect { from: redacted(from), to: document::printable(location), reason };
    let to = join(from, location).ok_or_else(|| refused("it is not a URL"))?;
    match (from.scheme_str(), to.scheme_str()) {
        (_, Some("https")) | (Some("http"), Some("http")) => {}
        (_, Some("http")) => return Err(refused("it leads from HTTPS to plain HTTP")),
        _ => return Err(refused("it is neither http nor https")),
    }
    if to.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(refused("it names a user"));
    }
    Ok(to)
}

/// Resolves a reference against its base, as far as registries use that (RFC 3986, section 5.2).
fn join(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let absolute = if reference.contains("://") && !reference.starts_with(['/', '?']) {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let (above, _) = base.path().rsplit_once('/').unwrap_or_default();
        format!("{scheme}://{authority}{above}/{reference}")
    };
    absolute.parse().ok()
}

fn broken(method: Method, url: String, error: legacy::Error) -> Cause {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(this) = source {
        if let Some(connect) = this.downcast_ref::<ConnectError>() {
            return Cause::Connect(connect.clone());
        }
        if let Some(io) = this.downcast_ref::<crate::payload::SourceError>() {
            return Cause::Source { what: io.what.clone(), source: std::io::Error::new(io.kind, io.reason.clone()) };
        }
        source = this.source();
    }
    Cause::Broken { method, url, source: error.into() }
}

/// `uri` for a message: values in its query may be secrets (signed URLs), except those that we put there.
pub(crate) fn redacted(uri: &Uri) -> String {
    const SHOWN: [&str; 8] = ["digest", "from", "last", "mount", "n", "ns", "scope", "service"];
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let query = uri.query().filter(|query| !query.is_empty()).map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if !SHOWN.contains(&name) => format!("{name}=…"),
            _ => pair.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{}://{authority}{}{}", uri.scheme_str().unwrap_or("?"), uri.path(), query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_may() {
        let check = |from: &str, location: &str, expected: Result<&str, &str>| {
            let from: Uri = from.parse().unwrap();
            match (follow(&from, location), expected) {
                (Ok(to), Ok(expected)) => assert_eq!(to.to_string(), expected),
                (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{error}"),
                (other, _) => panic!("{location}: {other:?}"),
            }
        };
        let base = "https://r.test/v2/a/blobs/b?x=1";
        check(base, "https://cdn.test/b?sig=1", Ok("https://cdn.test/b?sig=1"));
        check(base, "/elsewhere", Ok("https://r.test/elsewhere"));
        check(base, "//cdn.test/b", Ok("https://cdn.test/b"));
        check(base, "c?y", Ok("https://r.test/v2/a/blobs/c?y"));
        check(base, "?y=2", Ok("https://r.test/v2/a/blobs/b?y=2"));
        check(base, "/a?next=http://x", Ok("https://r.test/a?next=http://x"));
        check(base, "http://r.test/v2/a", Err("plain HTTP"));
        check(base, "ftp://r.test/x", Err("neither http nor https"));
        check(base, "file:///etc/passwd", Err("not a URL"));
        check(base, "https://u:p@r.test/", Err("names a user"));
        check("http://localhost:5000/a", "http://localhost:5001/b", Ok("http://localhost:5001/b"));
        check(base, "https://[", Err("not a URL"));
    }

    #[test]
    fn messages_carry_no_signatures() {
        let uri: Uri = "https://u:p@cdn.test/b?X-Amz-Signature=abc&digest=sha256:0&flag".parse().unwrap();
        assert_eq!(redacted(&uri), "https://cdn.test/b?X-Amz-Signature=…&digest=sha256:0&flag");
    }
}
