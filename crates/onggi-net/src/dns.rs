//! What a container reads about names: `/etc/resolv.conf` and `/etc/hosts`, as text.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::{Errno, Result};

const HOST: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the resolvers that its own stub at 127.0.0.53 asks.
const BEHIND_THE_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// For a host that has no resolver a container could reach; the choice of Docker too.
const FALLBACK: [Ipv4Addr; 2] = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)];
const LONGEST: usize = 1024 * 1024;

/// The `/etc/resolv.conf` for a container on an IPv4 network of its own: the host's, without the resolvers that
/// only the host reaches.
///
/// If none is left, those behind systemd-resolved's stub; if there are none either, 8.8.8.8 and 8.8.4.4.
pub fn resolv_conf() -> Result<String> {
    let (host, behind) = (read(Path::new(HOST))?, read(Path::new(BEHIND_THE_STUB))?);
    Ok(reachable(&host).or_else(|| reachable(&behind)).unwrap_or_else(|| fallback(&host)))
}

/// The host's own `/etc/resolv.conf`, for a container on the host's network; empty if it has none.
pub fn host_resolv_conf() -> Result<String> {
    read(Path::new(HOST))
}

/// `text` of a resolv.conf without the resolvers that an IPv4 container cannot reach; `None` if none is left.
fn reachable(text: &str) -> Option<String> {
    let mut kept = String::new();
    let mut resolvers = 0;
    for line in text.lines() {
        match resolver(line) {
            Some(IpAddr::V4(address)) if !address.is_loopback() && !address.is_unspecified() => resolvers += 1,
            Some(_) => continue,
            None if is_comment(line) => continue,
            None => {}
        }
        kept.push_str(line);
        kept.push('\n');
    }
    (resolvers > 0).then_some(kept)
}

/// The search domains and options of `text` with resolvers of the world.
fn fallback(text: &str) -> String {
    let mut made = String::new();
    for line in text.lines().filter(|line| resolver(line).is_none() && !is_comment(line)) {
        made.push_str(line);
        made.push('\n');
    }
    for address in FALLBACK {
        made.push_str(&format!("nameserver {address}\n"));
    }
    made
}

/// The address in a `nameserver` line; one that is no address is taken as the unspecified one, which nobody reaches.
fn resolver(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    if words.next() != Some("nameserver") {
        return None;
    }
    let unreachable = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    Some(words.next().and_then(|word| word.parse().ok()).unwrap_or(unreachable))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with(['#', ';'])
}

fn read(path: &Path) -> Result<String> {
    match file::open(CWD, path, OFlags::RDONLY, Mode::empty()).and_then(|opened| file::read_all(opened, LONGEST)) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.is(Errno::NOENT) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The `/etc/hosts` of a container: the loopback names, then `extra` as they come, then its own name at `address`
/// (at 127.0.1.1, as Debian has it, where it has no network).
pub fn hosts(hostname: &str, address: Option<Ipv4Addr>, extra: &[(String, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if !hostname.is_empty() {
        let address = address.unwrap_or(Ipv4Addr::new(127, 0, 1, 1));
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_ipv6_resolvers_are_left_out() {
        let host = "# made by hand\nsearch example.org\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n\
                    nameserver ::1\nnameserver 2001:db8::1\nnameserver nonsense\noptions edns0\n";
        assert_eq!(reachable(host).unwrap(), "search example.org\nnameserver 192.0.2.1\noptions edns0\n");
    }

    #[test]
    fn a_stub_alone_leads_to_the_fallback() {
        let host = "nameserver 127.0.0.53\noptions trust-ad\n";
        assert_eq!(reachable(host), None);
        assert_eq!(fallback(host), "options trust-ad\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        assert_eq!(fallback(""), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    }

    #[test]
    fn a_container_finds_itself() {
        let text = hosts("box", Some(Ipv4Addr::new(10, 66, 0, 2)), &[("db".into(), "10.66.0.9".parse().unwrap())]);
        assert!(text.ends_with("10.66.0.9\tdb\n10.66.0.2\tbox\n"), "{text}");
        assert!(hosts("box", None, &[]).ends_with("127.0.1.1\tbox\n"));
    }
}
