//! Host names to addresses without the C library: `/etc/hosts` and the servers of `/etc/resolv.conf`.
//!
//! A static binary must never reach getaddrinfo(3), which loads the host's own libraries into it.

use std::net::IpAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::host;

/// The addresses of `host`, the two families in turn.
///
/// The system's configuration is read anew each time: a resolver that is kept would be bound to the runtime that it
/// was made in, and to a network that may be another by then.
pub(crate) async fn addresses(host: &str) -> Result<Vec<IpAddr>, NetError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host::is_loopback(host) {
        return Ok(vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
    }
    let found = system_resolver()?.lookup_ip(host).await?;
    Ok(in_turn(found.iter().collect()))
}

fn system_resolver() -> Result<TokioResolver, NetError> {
    // Without /etc/resolv.conf (a sandbox, an initramfs) /etc/hosts still answers.
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        TokioResolver::builder_with_config(
            ResolverConfig::from_parts(None, Vec::new(), Vec::new()),
            TokioRuntimeProvider::default(),
        )
    });
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

/// IPv6 first, then one of each family after the other (RFC 8305, section 4).
fn in_turn(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let longest = six.len().max(four.len());
    (0..longest).flat_map(|at| [six.get(at), four.get(at)]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.split(' ').map(|address| address.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(in_turn(parse("10.0.0.1 10.0.0.2 ::1")), parse("::1 10.0.0.1 10.0.0.2"));
    }

    #[tokio::test]
    async fn addresses_and_this_machine_need_no_server() {
        assert_eq!(addresses("10.1.2.3").await.unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        assert_eq!(addresses("localhost").await.unwrap()[0], IpAddr::from([127, 0, 0, 1]));
    }
}
