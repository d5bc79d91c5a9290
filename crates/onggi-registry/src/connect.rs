//! Connections: a name becomes addresses, addresses a TCP stream, perhaps through a proxy, perhaps with TLS on top.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use onggi_diag::{Diagnose, Kind};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::endpoint::network_name;
use crate::host;
use crate::proxy::{Proxies, Proxy};
use crate::resolve::addresses;
use crate::tls::{self, Trust};

/// The registry that is meant where none is named.
const DOCKER: &str = "docker.io";

/// How long one address has before the next is tried beside it (RFC 8305, "Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);

/// A proxy's answer to CONNECT may not be longer.
const PROXY_ANSWER_LIMIT: usize = 8 * 1024;

/// Opens connections for the pool. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    proxies: Proxies,
    patience: Duration,
    /// What differs from the defaults, by `host` or `host:port`.
    trust: HashMap<String, Trust>,
    configurations: Mutex<HashMap<Trust, Arc<ClientConfig>>>,
}

impl Connector {
    pub(crate) fn new(proxies: Proxies, trust: HashMap<String, Trust>, patience: Duration) -> Self {
        let configurations = Mutex::default();
        Self(Arc::new(Inner { proxies, patience, trust, configurations }))
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.0.proxies
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            match timeout(inner.patience, inner.connect(&uri)).await {
                Ok(done) => done,
                Err(_) => Err(ConnectError::new(Stage::Wait(inner.patience), target(&uri), None)),
            }
        })
    }
}

impl Inner {
    async fn connect(&self, uri: &Uri) -> Result<Link, ConnectError> {
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let proxy = self.proxies.on_the_way_to(uri);
        let stream = match proxy {
            None => Self::dial(host::of(uri), port).await?,
            Some(proxy) => {
                let stream = Self::dial(&proxy.host, proxy.port).await?;
                if secure { tunnel(stream, proxy, host::of(uri), port).await? } else { stream }
            }
        };
        if secure {
            return Ok(Link { io: TokioIo::new(Box::new(self.encrypt(stream, uri).await?)), proxied: false });
        }
        Ok(Link { io: TokioIo::new(Box::new(stream)), proxied: proxy.is_some() })
    }

    async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let addresses = addresses(host).await.map_err(|error| {
            let absent = error.is_nx_domain() || error.is_no_records_found();
            let stage = if absent { Stage::NoSuchHost } else { Stage::Resolve };
            ConnectError::new(stage, host, (!absent).then(|| error.into()))
        })?;
        race(addresses, port)
            .await
            .map_err(|error| ConnectError::new(Stage::Dial, format!("{host}:{port}"), Some(error.into())))
    }

    async fn encrypt(&self, stream: TcpStream, uri: &Uri) -> Result<impl Stream + use<>, ConnectError> {
        let failed = |error: Box<dyn StdError + Send + Sync>| ConnectError::new(Stage::Tls, target(uri), Some(error));
        let name = ServerName::try_from(host::of(uri).to_owned()).map_err(|error| failed(error.into()))?;
        let config = self.configuration(uri).map_err(|error| failed(error.into()))?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| failed(error.into()))
    }

    /// The configuration for the host of `uri`; loading the roots costs milliseconds, so each is kept.
    fn configuration(&self, uri: &Uri) -> Result<Arc<ClientConfig>, crate::error::Cause> {
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let trust = self.trust.get(authority).or_else(|| self.trust.get(host::of(uri))).cloned().unwrap_or_default();
        let mut configurations = self.configurations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = configurations.get(&trust) {
            return Ok(Arc::clone(ready));
        }
        let ready = tls::configuration(&trust)?;
        configurations.insert(trust, Arc::clone(&ready));
        Ok(ready)
    }
}

/// Connects to the first address that answers; the next one starts when one failed or is slow.
async fn race(addresses: Vec<IpAddr>, port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let started = waiting.next().map(|ip| {
            let address = SocketAddr::new(ip, port);
            attempts.spawn(async move { TcpStream::connect(address).await });
        });
        let more = waiting.len() > 0;
        tokio::select! {
            done = attempts.join_next() => match done {
                Some(Ok(Ok(stream))) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Some(Ok(Err(error))) => last = error,
                Some(Err(error)) => last = io::Error::other(error),
                None if started.is_none() => return Err(last),
                None => {}
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

/// Asks `proxy` for a way through. RFC 9110, section 9.3.6.
async fn tunnel(mut stream: TcpStream, proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let failed = |error: Option<Box<dyn StdError + Send + Sync>>| {
        ConnectError::new(Stage::Proxy(format!("{}:{}", proxy.host, proxy.port)), authority.clone(), error)
    };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| failed(Some(error.into())))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // Byte by byte, so that nothing of what follows the answer is taken from the TLS handshake.
        let byte = stream.read_u8().await.map_err(|error| failed(Some(error.into())))?;
        answer.push(byte);
        if answer.len() > PROXY_ANSWER_LIMIT {
            return Err(failed(Some("its answer is too long".into())));
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let line = crate::document::printable(line.lines().next().unwrap_or_default());
    match line.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(stream),
        _ => Err(failed(Some(format!("it answered `{line}`").into()))),
    }
}

/// What bytes flow through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// An open connection.
pub(crate) struct Link {
    io: TokioIo<Box<dyn Stream>>,
    proxied: bool,
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buf)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

fn target(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

/// How far a connection came.
#[derive(Debug, Clone)]
enum Stage {
    NoSuchHost,
    Resolve,
    Dial,
    Wait(Duration),
    Proxy(String),
    Tls,
}

/// A connection that did not come about.
#[derive(Debug, Clone)]
pub struct ConnectError {
    stage: Stage,
    target: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl ConnectError {
    fn new(stage: Stage, target: impl Into<String>, source: Option<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { stage, target: target.into(), source: source.map(Arc::from) }
    }

    /// Whether the peer does not speak TLS, or nobody listens where TLS would be.
    pub(crate) fn may_be_plain(&self) -> bool {
        match self.stage {
            Stage::Tls => !matches!(self.tls(), Some(rustls::Error::InvalidCertificate(_))),
            Stage::Dial | Stage::Wait(_) => true,
            _ => false,
        }
    }

    /// Whether what came instead of a handshake was no TLS, or nothing at all.
    fn looks_plain(&self) -> bool {
        let io = self.source.as_deref().and_then(|error| error.downcast_ref::<io::Error>());
        let ended = io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
        ended || matches!(self.tls(), Some(rustls::Error::InvalidMessage(_)))
    }

    fn tls(&self) -> Option<&rustls::Error> {
        let error = self.source.as_deref()?;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.and_then(|inner| inner.downcast_ref())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match &self.stage {
            Stage::NoSuchHost => write!(f, "there is no host `{target}`"),
            Stage::Resolve => write!(f, "cannot find the address of `{target}`"),
            Stage::Dial => write!(f, "cannot connect to {target}"),
            Stage::Wait(after) => write!(f, "cannot connect to {target} within {} s", after.as_secs_f32()),
            Stage::Proxy(proxy) => write!(f, "cannot reach {target} through the proxy {proxy}"),
            Stage::Tls => write!(f, "cannot set up TLS with {target}"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl Diagnose for ConnectError {
    fn kind(&self) -> Kind {
        match self.stage {
            Stage::NoSuchHost => Kind::NotFound,
            Stage::Tls => Kind::Denied,
            _ => Kind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match (&self.stage, self.tls()) {
            (Stage::Tls, Some(rustls::Error::InvalidCertificate(_))) => Some(format!(
                "if {} has an authority of its own, name its certificate as `ca` of [registry.\"{}\"] in registries.toml",
                self.target, self.target
            )),
            (Stage::Tls, _) if self.looks_plain() => Some(format!(
                "{} does not seem to speak TLS; `insecure = true` of [registry.\"{}\"] in registries.toml allows plain HTTP",
                self.target, self.target
            )),
            (Stage::NoSuchHost, _) if self.target == network_name(DOCKER) => Some(
                "where a name says no registry, docker.io is meant; is this machine online, or should there be a mirror?"
                    .into(),
            ),
            (Stage::NoSuchHost, _) => Some("the part before the first `/` names the registry's host".into()),
            _ => None,
        }
    }
}
