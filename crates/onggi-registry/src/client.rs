//! The operations of the distribution specification, client side.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use http::{HeaderValue, Method, StatusCode, Uri};
use onggi_oci::{Descriptor, Digest, Hasher, MANIFEST_LIMIT, Reference, media_type};
use serde::Deserialize;

use crate::auth::Scope;
use crate::blob::Blob;
use crate::config::{Config, Registries};
use crate::connect::Connector;
use crate::credentials::Credentials;
use crate::endpoint::network_name;
use crate::error::{Cause, During as _, Result};
use crate::payload::{Payload, Source};
use crate::server::{Head, Server};
use crate::tls::Trust;
use crate::transport::{Ask, Transport, follow};
use crate::upload::{Pushed, Upload, check_digest};

/// A page of tags may not be longer, nor may there be more pages.
const TAGS_LIMIT: usize = 4 * 1024 * 1024;
const PAGE_LIMIT: usize = 200;

/// A client of any registry; cheap to clone, its connections and tokens are shared.
///
/// Needs a tokio runtime with time and I/O around its calls. Reading asks the mirrors of a registry before the
/// registry itself; writing goes to the registry alone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Arc<Transport>,
    registries: Registries,
    credentials: Credentials,
    servers: Mutex<HashMap<String, Servers>>,
}

type Servers = Arc<[Arc<Server>]>;

/// A manifest or an index as a registry sent it, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The media type it came with, its digest and its length.
    pub descriptor: Descriptor,
    /// The document, byte for byte.
    pub bytes: Bytes,
}

impl Client {
    /// A client that acts as `config` says. Nothing is opened or read before the first request.
    pub fn new(config: Config) -> Self {
        let connector = Connector::new(config.proxies, trusts(&config.registries), config.patience.connect);
        let transport = Arc::new(Transport::new(connector, config.patience));
        let (registries, credentials) = (config.registries, config.credentials);
        Self { shared: Arc::new(Shared { transport, registries, credentials, servers: Mutex::default() }) }
    }

    /// The manifest or index that `image` names.
    ///
    /// Its digest is that of `image` where `image` has one, else that which the registry says in
    /// `Docker-Content-Digest` where it does.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Denied` without the right, `Hostile` if it is not what its digest says or larger
    /// than [`MANIFEST_LIMIT`].
    pub async fn manifest(&self, image: &Reference) -> Result<Fetched> {
        let servers = self.servers(image);
        let found = first_of(&servers, image, |_, server| Box::pin(self.manifest_from(server, image))).await;
        found.during(|| format!("fetch the manifest of {}", image.familiar()))
    }

    /// The digest that `image` has now on the registry, if the registry tells it without sending the manifest.
    ///
    /// Nothing is verified: good for telling whether what is here is still the same, for nothing else.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn digest(&self, image: &Reference) -> Result<Option<Digest>> {
        let servers = self.servers(image);
        let found = first_of(&servers, image, |_, server| Box::pin(self.digest_from(server, image)));
        found.await.during(|| format!("look up {}", image.familiar()))
    }

    /// The content of a blob in the repository of `image`, from `offset` on.
    ///
    /// The first `skip` servers are passed over: those whose content turned out not to be what the digest says
    /// ([`Blob::server`] tells which one sends).
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn blob(&self, image: &Reference, descriptor: &Descriptor, offset: u64, skip: usize) -> Result<Blob> {
        let servers = self.servers(image);
        let rest = &servers[skip.min(servers.len() - 1)..];
        let opened = first_of(rest, image, |at, server| {
            let transport = Arc::clone(&self.shared.transport);
            Box::pin(Blob::open(transport, server, skip + at, image, descriptor, offset))
        });
        opened.await.during(|| format!("fetch blob {} of {}", descriptor.digest, image.familiar_name()))
    }

    /// How many servers there are to ask for content of the registry of `image`, mirrors and itself.
    pub fn server_count(&self, image: &Reference) -> usize {
        self.servers(image).len()
    }

    /// Whether the repository of `image` has this blob, on the registry itself.
    ///
    /// # Errors
    /// As [`Client::manifest`], but `NotFound` is the answer `false`.
    pub async fn has_blob(&self, image: &Reference, digest: &Digest) -> Result<bool> {
        let server = self.itself(image);
        let look = async {
            let uri = server.endpoint.url(self.transport(), image.repository(), &format!("blobs/{digest}")).await?;
            // The right to push is asked for at once, since that is what follows: one token instead of two.
            match server.ask(self.transport(), &Ask::new(Method::HEAD, uri), &push(&server, image)).await {
                Ok(_) => Ok(true),
                Err(failure) if failure.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
                Err(failure) => Err(failure),
            }
        };
        look.await.during(|| format!("look for blob {digest} in {}", image.familiar_name()))
    }

    /// Puts a blob into the repository of `image`, unless it is there.
    ///
    /// The registry is asked to take it from its repository `mount_from` before it is sent.
    ///
    /// # Errors
    /// `Denied` without the right; whatever the registry or reading `source` may fail with.
    pub async fn push_blob(
        &self,
        image: &Reference,
        descriptor: &Descriptor,
        source: &Source,
        mount_from: Option<&str>,
    ) -> Result<Pushed> {
        if self.has_blob(image, &descriptor.digest).await? {
            return Ok(Pushed::Existed);
        }
        let server = self.itself(image);
        let transport = self.transport();
        let upload =
            Upload { transport, server: &server, repository: image.repository(), descriptor, mount_from, source };
        upload.run().await.during(|| format!("push blob {} to {}", descriptor.digest, image.familiar_name()))
    }

    /// Puts a manifest or an index under the tag of `image`, or under its digest alone where it has no tag.
    ///
    /// # Errors
    /// The registry refuses it, mostly because it lacks a blob that the manifest names.
    pub async fn push_manifest(&self, image: &Reference, media_type: &str, bytes: &Bytes) -> Result<Digest> {
        let server = self.itself(image);
        let push_it = async {
            let digest = Digest::of(bytes);
            let name = image.tag().map_or_else(|| digest.to_string(), str::to_owned);
            let path = format!("manifests/{name}");
            let uri = server.endpoint.url(self.transport(), image.repository(), &path).await?;
            let kind = HeaderValue::try_from(media_type).map_err(|_| Cause::Protocol {
                url: crate::transport::redacted(&uri),
                reason: "the media type to send is none".into(),
            })?;
            let ask = Ask::new(Method::PUT, uri).with(CONTENT_TYPE, kind).carrying(Payload::Bytes(bytes.clone()));
            let answer = server.ask(self.transport(), &ask, &push(&server, image)).await?;
            check_digest(&answer, &digest)?;
            Ok(digest)
        };
        push_it.await.during(|| format!("push the manifest of {}", image.familiar()))
    }

    /// The tags of the repository of `image`, in the registry's order.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn tags(&self, image: &Reference) -> Result<Vec<String>> {
        let servers = self.servers(image);
        let found = first_of(&servers, image, |_, server| Box::pin(self.tags_from(server, image))).await;
        found.during(|| format!("list the tags of {}", image.familiar_name()))
    }

    async fn manifest_ask(
        &self,
        method: Method,
        server: &Server,
        image: &Reference,
    ) -> std::result::Result<Ask, Cause> {
        let path = format!("manifests/{}", image.selector());
        let uri = server.endpoint.url(self.transport(), image.repository(), &path).await?;
        let accepted = HeaderValue::try_from(media_type::MANIFESTS.join(", ")).expect("media types make a header");
        Ok(Ask::new(method, uri).with(ACCEPT, accepted))
    }

    async fn manifest_from(&self, server: Arc<Server>, image: &Reference) -> std::result::Result<Fetched, Cause> {
        let ask = self.manifest_ask(Method::GET, &server, image).await?;
        let scope = pull(&server, image);
        let (head, bytes) = server.read(self.transport(), &ask, &scope, "a manifest", MANIFEST_LIMIT).await?;
        let digest = verified(&head, image.digest(), &bytes)?;
        let named = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Fetched { descriptor: Descriptor::new(media_type::essence(named), digest, size), bytes })
    }

    async fn digest_from(&self, server: Arc<Server>, image: &Reference) -> std::result::Result<Option<Digest>, Cause> {
        let ask = self.manifest_ask(Method::HEAD, &server, image).await?;
        let answer = server.ask(self.transport(), &ask, &pull(&server, image)).await?;
        Ok(answer.header("docker-content-digest").and_then(|text| text.parse().ok()))
    }

    async fn tags_from(&self, server: Arc<Server>, image: &Reference) -> std::result::Result<Vec<String>, Cause> {
        let mut next = Some(server.endpoint.url(self.transport(), image.repository(), "tags/list?n=1000").await?);
        let mut tags = Vec::new();
        for _ in 0..PAGE_LIMIT {
            let Some(uri) = next else { return Ok(tags) };
            let ask = Ask::new(Method::GET, uri);
            let scope = pull(&server, image);
            let (head, body) = server.read(self.transport(), &ask, &scope, "a list of tags", TAGS_LIMIT).await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|_| Cause::Protocol { url: head.url.clone(), reason: "that is no list of tags".into() })?;
            tags.extend(page.tags.unwrap_or_default());
            next = following(&head)?;
        }
        Ok(tags)
    }

    fn servers(&self, image: &Reference) -> Servers {
        let mut known = self.shared.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let all = Server::all(image.registry(), &self.shared.registries, &self.shared.credentials);
            all.into_iter().map(Arc::new).collect()
        };
        Arc::clone(known.entry(image.registry().to_owned()).or_insert_with(new))
    }

    fn itself(&self, image: &Reference) -> Arc<Server> {
        let servers = self.servers(image);
        Arc::clone(&servers[servers.len() - 1])
    }

    fn transport(&self) -> &Transport {
        &self.shared.transport
    }
}

type Work<'a, T> = Pin<Box<dyn Future<Output = std::result::Result<T, Cause>> + Send + 'a>>;

/// The first of `servers` that can do `work`; the last one's failure, with what the others said, if none can.
async fn first_of<'a, T>(
    servers: &[Arc<Server>],
    image: &Reference,
    work: impl Fn(usize, Arc<Server>) -> Work<'a, T>,
) -> std::result::Result<T, Cause> {
    let mut mirrors = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        match work(at, Arc::clone(server)).await {
            Ok(done) => return Ok(done),
            Err(failure) if at + 1 == servers.len() => {
                if mirrors.is_empty() {
                    return Err(failure);
                }
                return Err(Cause::Everyone {
                    registry: image.registry().to_owned(),
                    mirrors,
                    source: Box::new(failure),
                });
            }
            Err(failure) => mirrors.push(onggi_diag::chain(&failure).join(": ")),
        }
    }
    unreachable!("a registry has at least itself to ask")
}

/// The digest of `bytes`, which must be the one that was asked for and the one that the server says.
fn verified(head: &Head, asked: Option<&Digest>, bytes: &[u8]) -> std::result::Result<Digest, Cause> {
    let said = head.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
    let said = said.map(|text| {
        text.parse::<Digest>().map_err(|_| Cause::Protocol {
            url: head.url.clone(),
            reason: format!("`{}` is no digest", crate::document::printable(text)),
        })
    });
    let said = said.transpose()?;
    for expected in asked.into_iter().chain(&said) {
        let mut hasher = Hasher::new(expected.algorithm());
        hasher.update(bytes);
        let actual = hasher.finish();
        if actual != *expected {
            return Err(Cause::Mismatch {
                url: head.url.clone(),
                what: "content of digest",
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
    }
    Ok(asked.cloned().unwrap_or_else(|| Digest::of(bytes)))
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// The page after the one that came with `head`: `Link: </v2/...>; rel="next"`.
fn following(head: &Head) -> std::result::Result<Option<Uri>, Cause> {
    let link = head.headers.get(LINK).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = link.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    match target {
        Some((target, rest)) if rest.contains("next") => follow(&head.uri, target).map(Some),
        _ => Ok(None),
    }
}

fn pull(server: &Server, image: &Reference) -> Scope {
    Scope { repository: server.endpoint.repository(image.repository()), actions: "pull", from: None }
}

fn push(server: &Server, image: &Reference) -> Scope {
    Scope { actions: "pull,push", ..pull(server, image) }
}

/// What TLS with each configured host needs.
fn trusts(registries: &Registries) -> HashMap<String, Trust> {
    let trust = |registry: &crate::config::Registry| Trust {
        anyone: registry.insecure == Some(true),
        ca: registry.ca.clone(),
        identity: registry.certificate.clone().zip(registry.key.clone()),
    };
    registries.iter().map(|(name, registry)| (network_name(name).to_owned(), trust(registry))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_send<T: Send>(_: &T) {}

    #[test]
    fn every_operation_may_move_between_threads() {
        let client = Client::new(Config::default());
        let image: Reference = "localhost:1/a".parse().unwrap();
        let descriptor = Descriptor::of("x", b"");
        let source = Source::new("nothing", || Ok(Box::new(std::io::empty())));
        check_send(&client.manifest(&image));
        check_send(&client.digest(&image));
        check_send(&client.blob(&image, &descriptor, 0, 0));
        check_send(&client.push_blob(&image, &descriptor, &source, None));
        check_send(&client.push_manifest(&image, "x", &Bytes::new()));
        check_send(&client.tags(&image));
    }
}
