//! Hosts: which are this machine, which belong together.

use std::net::IpAddr;

use http::Uri;

/// The host of `uri`, an IPv6 address without its brackets.
pub(crate) fn of(uri: &Uri) -> &str {
    bare(uri.host().unwrap_or_default())
}

/// The host of `host[:port]`, an IPv6 address without its brackets.
pub(crate) fn of_authority(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// Whether `host` can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Scheme, host and port: what a secret is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    pub(crate) fn of(uri: &Uri) -> Self {
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Self { scheme, host: of(uri).to_ascii_lowercase(), port }
    }
}

/// Whether a registry on `host` may name `other` as the one who checks its passwords.
///
/// The same host, or both below one registrable domain. Without a list of public suffixes that is guessed: the last
/// two labels, three where the second is as short as in `co.uk`.
pub(crate) fn same_site(host: &str, other: &str) -> bool {
    let (host, other) = (host.to_ascii_lowercase(), other.to_ascii_lowercase());
    if host == other || is_loopback(&host) && is_loopback(&other) {
        return true;
    }
    let is_address = |host: &str| host.parse::<IpAddr>().is_ok();
    if is_address(&host) || is_address(&other) {
        return false;
    }
    matches!((site(&host), site(&other)), (Some(left), Some(right)) if left == right)
}

fn site(host: &str) -> Option<&str> {
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let (top, second, third) = (dots.next()?, dots.next(), dots.next());
    let label = &host[second.map_or(0, |at| at + 1)..top];
    let suffix_of_two = label.len() <= 3 && host.len() - top - 1 == 2;
    match (suffix_of_two, second) {
        (false, _) => Some(&host[second.map_or(0, |at| at + 1)..]),
        (true, Some(_)) => Some(&host[third.map_or(0, |at| at + 1)..]),
        (true, None) => None,
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_address_and_by_name() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "registry.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1", "127.0.0.1.example.com", "::2"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn sites() {
        let same = [
            ("registry-1.docker.io", "auth.docker.io"),
            ("registry.gitlab.com", "gitlab.com"),
            ("ghcr.io", "ghcr.io"),
            ("127.0.0.1", "localhost"),
            ("r.acme.co.uk", "auth.acme.co.uk"),
        ];
        let other = [
            ("registry.test", "evil.test"),
            ("registry.example.com", "registry.evil.com"),
            ("acme.co.uk", "evil.co.uk"),
            ("10.0.0.1", "10.0.0.2"),
            ("a", "b"),
            ("10.0.0.1", "localhost"),
        ];
        for (left, right) in same {
            assert!(same_site(left, right), "{left} {right}");
        }
        for (left, right) in other {
            assert!(!same_site(left, right), "{left} {right}");
        }
    }

    #[test]
    fn the_host_of_an_authority() {
        assert_eq!(of_authority("[::1]:5000"), "::1");
        assert_eq!(of_authority("localhost:5000"), "localhost");
        assert_eq!(of_authority("quay.io"), "quay.io");
    }
}
