//! The servers that may answer for a registry: its mirrors, then itself.

use http::{Method, Uri};
use tokio::sync::OnceCell;

use crate::config::{Mirror, Registries, canonical};
use crate::error::Cause;
use crate::host;
use crate::transport::{Ask, Transport};

/// One server, and how to speak to it.
pub(crate) struct Endpoint {
    /// The name under which configuration and credentials know it.
    pub(crate) name: String,
    /// `host[:port]` on the network.
    pub(crate) authority: String,
    /// What goes before each repository, with its slash.
    prefix: String,
    /// The registry that it mirrors.
    mirrored: Option<String>,
    scheme: Scheme,
    probed: OnceCell<bool>,
}

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Secure,
    Plain,
    /// TLS if there is any: what `insecure` allows.
    Either,
}

impl Endpoint {
    /// Those to ask for content of `registry`, in that order; the registry itself comes last.
    pub(crate) fn all(registry: &str, registries: &Registries) -> Vec<Self> {
        let configured = registries.get(registry).map(|registry| registry.mirrors.as_slice()).unwrap_or_default();
        // What cannot be parsed was refused when the configuration was read.
        let mirrors = configured.iter().filter_map(|text| Mirror::parse(text).ok());
        let mut all: Vec<_> = mirrors.map(|mirror| Self::mirror(&mirror, registry, registries)).collect();
        all.push(Self::itself(registry, registries));
        all
    }

    fn itself(registry: &str, registries: &Registries) -> Self {
        let name = canonical(registry).to_owned();
        let authority = network_name(&name).to_owned();
        let scheme = Scheme::of(&authority, registries.get(&name).and_then(|registry| registry.insecure), None);
        Self { name, authority, prefix: String::new(), mirrored: None, scheme, probed: OnceCell::new() }
    }

    fn mirror(mirror: &Mirror, registry: &str, registries: &Registries) -> Self {
        let authority = mirror.authority.clone();
        let insecure = registries.get(&authority).and_then(|registry| registry.insecure);
        let scheme = Scheme::of(&authority, insecure, mirror.secure);
        let prefix = if mirror.prefix.is_empty() { String::new() } else { format!("{}/", mirror.prefix) };
        let mirrored = Some(canonical(registry).to_owned());
        Self { name: authority.clone(), authority, prefix, mirrored, scheme, probed: OnceCell::new() }
    }

    /// The repository's name as this server knows it.
    pub(crate) fn repository(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }

    /// The URL of `path` below `repository`: `manifests/latest`, `tags/list?n=10`.
    ///
    /// A mirror is told whom it stands for by `ns`, as containerd does: one server may mirror many.
    pub(crate) async fn url(&self, transport: &Transport, repository: &str, path: &str) -> Result<Uri, Cause> {
        let namespace = self.mirrored.as_ref().map(|registry| {
            let joint = if path.contains('?') { '&' } else { '?' };
            format!("{joint}ns={registry}")
        });
        let path = format!("/v2/{}/{path}{}", self.repository(repository), namespace.unwrap_or_default());
        self.at(self.is_secure(transport).await?, &path)
    }

    /// Whether the server is spoken to by TLS; asks it where the configuration leaves that open.
    pub(crate) async fn is_secure(&self, transport: &Transport) -> Result<bool, Cause> {
        match self.scheme {
            Scheme::Secure => Ok(true),
            Scheme::Plain => Ok(false),
            Scheme::Either => self.probed.get_or_try_init(|| self.probe(transport)).await.copied(),
        }
    }

    async fn probe(&self, transport: &Transport) -> Result<bool, Cause> {
        let ask = Ask::new(Method::GET, self.at(true, "/v2/")?);
        match transport.send(&ask, None).await {
            Err(Cause::Connect(error)) if error.may_be_plain() => Ok(false),
            Err(Cause::Broken { .. }) => Ok(false),
            Err(other) => Err(other),
            Ok(_) => Ok(true),
        }
    }

    fn at(&self, secure: bool, path: &str) -> Result<Uri, Cause> {
        let scheme = if secure { "https" } else { "http" };
        let text = format!("{scheme}://{}{path}", self.authority);
        text.parse().map_err(|_| Cause::Protocol { url: text, reason: "that is not a URL".into() })
    }
}

impl Scheme {
    fn of(authority: &str, insecure: Option<bool>, named: Option<bool>) -> Self {
        match (named, insecure) {
            (Some(true), _) | (None, Some(false)) => Self::Secure,
            (Some(false), _) => Self::Plain,
            (None, Some(true)) => Self::Either,
            (None, None) if host::is_loopback(host::of_authority(authority)) => Self::Plain,
            (None, None) => Self::Secure,
        }
    }
}

/// Where a registry's name leads on the network.
pub(crate) fn network_name(name: &str) -> &str {
    match name {
        "docker.io" => "registry-1.docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemes(registry: &str, toml: &str) -> Vec<(String, Scheme)> {
        let registries = Registries::parse(toml).unwrap();
        Endpoint::all(registry, &registries).into_iter().map(|e| (e.authority, e.scheme)).collect()
    }

    #[test]
    fn mirrors_come_first_and_any_registry_may_have_some() {
        let toml = "[registry.'quay.io']\nmirrors = ['http://10.0.0.1:5000', 'm.test/q']\n[registry.'m.test']\ninsecure = true";
        let expected = [("10.0.0.1:5000", Scheme::Plain), ("m.test", Scheme::Either), ("quay.io", Scheme::Secure)];
        assert_eq!(schemes("quay.io", toml), expected.map(|(name, scheme)| (name.to_owned(), scheme)));
        let mirror = &Endpoint::all("quay.io", &Registries::parse(toml).unwrap())[1];
        assert_eq!(mirror.repository("a/b"), "q/a/b");
    }

    #[test]
    fn this_machine_is_plain_and_the_rest_is_not() {
        assert_eq!(schemes("localhost:5000", ""), [("localhost:5000".to_owned(), Scheme::Plain)]);
        assert_eq!(schemes("[::1]:5000", ""), [("[::1]:5000".to_owned(), Scheme::Plain)]);
        assert_eq!(schemes("docker.io", ""), [("registry-1.docker.io".to_owned(), Scheme::Secure)]);
        let toml = "[registry.'localhost:5000']\ninsecure = false";
        assert_eq!(schemes("localhost:5000", toml), [("localhost:5000".to_owned(), Scheme::Secure)]);
    }
}
