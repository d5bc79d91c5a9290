//! Which proxy, if any, a request goes through.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;

use crate::percent;

/// The proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Exception>,
}

/// One proxy server, spoken to in plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of `Proxy-Authorization`, where the proxy's URL had a user.
    pub(crate) authorization: Option<String>,
}

impl Proxies {
    /// Reads the variables that `variable` knows, lower-case names first, as curl does.
    ///
    /// # Errors
    /// The text says which variable cannot be understood.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| {
            let value = variable(&name.to_lowercase()).or_else(|| variable(name));
            value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let proxy = |name: &str| match get(name).or_else(|| get("ALL_PROXY")) {
            Some(value) => Proxy::parse(&value).map(Some).map_err(|reason| format!("{name}: {reason}")),
            None => Ok(None),
        };
        let except = get("NO_PROXY").unwrap_or_default();
        Ok(Self { http: proxy("HTTP_PROXY")?, https: proxy("HTTPS_PROXY")?, except: Exception::parse_list(&except) })
    }

    /// The proxy on the way to `uri`. What is on this machine is never behind one.
    pub(crate) fn on_the_way_to(&self, uri: &Uri) -> Option<&Proxy> {
        let host = crate::host::of(uri);
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        if crate::host::is_loopback(host) || self.except.iter().any(|exception| exception.covers(host, port)) {
            return None;
        }
        if https { self.https.as_ref() } else { self.http.as_ref() }
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(format!("a proxy of scheme `{scheme}` is not supported, only http")),
        };
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let uri: Uri = format!("http://{}/", authority.trim_end_matches('/'))
            .parse()
            .map_err(|_| "not the address of a proxy".to_owned())?;
        let host = crate::host::of(&uri).to_owned();
        let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(percent::decode(user))));
        Ok(Self { host, port: uri.port_u16().unwrap_or(3128), authorization })
    }
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    /// A domain and all below it.
    Domain {
        name: String,
        port: Option<u16>,
    },
    /// Addresses that share their first `bits` with `address`.
    Network {
        address: IpAddr,
        bits: u8,
    },
}

impl Exception {
    fn parse_list(text: &str) -> Vec<Self> {
        text.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).map(Self::parse).collect()
    }

    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Self::Network { address, bits };
        }
        if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Self::Network { address, bits: if address.is_ipv4() { 32 } else { 128 } };
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
            _ => (entry, None),
        };
        let name = name.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
        Self::Domain { name, port }
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network { address, bits } => host.parse().is_ok_and(|host| in_network(host, *address, *bits)),
            Self::Domain { name, port: only } => {
                let host = host.to_ascii_lowercase();
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && only.is_none_or(|only| only == port)
            }
        }
    }
}

fn in_network(host: IpAddr, network: IpAddr, bits: u8) -> bool {
    let shared = |left: u128, right: u128, width: u32| {
        let drop = width.saturating_sub(u32::from(bits));
        left.checked_shr(drop).unwrap_or(0) == right.checked_shr(drop).unwrap_or(0)
    };
    match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => shared(host.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(host), IpAddr::V6(network)) => shared(host.to_bits(), network.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(pairs: &'static [(&str, &str)]) -> Proxies {
        let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Proxies::from_variables(get).unwrap()
    }

    #[test]
    fn the_scheme_chooses_and_no_proxy_excepts() {
        let set = proxies(&[
            ("HTTPS_PROXY", "http://us%40er:pw@proxy.test:8080"),
            ("http_proxy", "plain.test"),
            ("NO_PROXY", "*.inside.test, 10.0.0.0/8,exact.test:5000"),
        ]);
        let check = |uri: &str, expected: Option<(&str, u16)>| {
            let found = set.on_the_way_to(&uri.parse().unwrap()).map(|proxy| (proxy.host.as_str(), proxy.port));
            assert_eq!(found, expected, "{uri}");
        };
        check("https://quay.io/v2/", Some(("proxy.test", 8080)));
        check("http://quay.io/v2/", Some(("plain.test", 3128)));
        check("https://a.inside.test/", None);
        check("https://notinside.test/", Some(("proxy.test", 8080)));
        check("https://10.1.2.3/", None);
        check("https://11.1.2.3/", Some(("proxy.test", 8080)));
        check("https://exact.test:5000/", None);
        check("https://exact.test/", Some(("proxy.test", 8080)));
        check("http://localhost:5000/", None);
        check("http://127.0.0.9:5000/", None);
        let authorization = set.https.as_ref().and_then(|proxy| proxy.authorization.clone());
        assert_eq!(authorization.as_deref(), Some("Basic dXNAZXI6cHc="));
    }

    #[test]
    fn what_cannot_be_spoken_is_refused() {
        let socks = |name: &str| (name == "HTTPS_PROXY").then(|| "socks5://localhost:1080".to_owned());
        assert!(Proxies::from_variables(socks).unwrap_err().contains("socks5"));
    }
}
