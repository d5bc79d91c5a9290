//! Ranges of IPv4 addresses, and those that we may choose from.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A range of IPv4 addresses with a common prefix: `10.66.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The range of `prefix` leading bits that `address` is in; `None` if `prefix` is above 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix)), prefix })
    }

    /// The first address, which names the range.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// How many leading bits its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The last address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix))
    }

    /// The address of the bridge: the first that a host may have.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// How many addresses are left for containers: without the network's, the gateway's and the broadcast one.
    pub fn capacity(self) -> u32 {
        (!mask(self.prefix)).saturating_sub(2)
    }

    /// The `index`th of the addresses for containers, counted from 0; `None` from [`Subnet::capacity`] on.
    pub fn host(self, index: u32) -> Option<Ipv4Addr> {
        (index < self.capacity()).then(|| Ipv4Addr::from_bits(self.network.to_bits() + 2 + index))
    }

    /// Whether `address` is in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.network.to_bits()
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The ranges that a bridge may get, best first: private ones (RFC 1918) that other engines do not begin with.
///
/// Docker takes 172.17.0.0/16 first and podman 10.88.0.0/16; neither is here, so that they keep theirs.
pub(crate) fn pool() -> impl Iterator<Item = Subnet> {
    let tens = (66..=87).map(|second| (Ipv4Addr::new(10, second, 0, 0), 16));
    let rest = (128..=255).map(|second| (Ipv4Addr::new(10, second, 0, 0), 16));
    let middle = (24..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (1..=15).map(|third| (Ipv4Addr::new(192, 168, third * 16, 0), 20));
    tens.chain(rest).chain(middle).chain(small).filter_map(|(address, prefix)| Subnet::new(address, prefix))
}

/// The first range of the pool that has nothing in common with those `taken`.
pub(crate) fn choose(taken: &[Subnet]) -> Option<Subnet> {
    pool().find(|subnet| !taken.iter().any(|other| subnet.overlaps(*other)))
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed =
            text.split_once('/').and_then(|(address, prefix)| Self::new(address.parse().ok()?, prefix.parse().ok()?));
        parsed.ok_or_else(|| format!("`{text}` is not a subnet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn first_and_last_addresses() {
        let small = subnet("192.168.7.9/30");
        assert_eq!(small.to_string(), "192.168.7.8/30");
        assert_eq!(small.gateway(), Ipv4Addr::new(192, 168, 7, 9));
        assert_eq!((small.capacity(), small.host(0)), (1, Some(Ipv4Addr::new(192, 168, 7, 10))));
        assert_eq!(small.host(1), None);
        assert_eq!(small.broadcast(), Ipv4Addr::new(192, 168, 7, 11));
    }

    #[test]
    fn too_small_or_too_large_for_anything() {
        for text in ["10.0.0.0/31", "10.0.0.0/32"] {
            assert_eq!(subnet(text).capacity(), 0, "{text}");
        }
        assert_eq!(subnet("1.2.3.4/0").to_string(), "0.0.0.0/0");
        assert!(Subnet::try_from("10.0.0.0/33".to_owned()).is_err());
    }

    #[test]
    fn a_choice_keeps_off_what_is_taken() {
        assert_eq!(choose(&[]), Some(subnet("10.66.0.0/16")));
        assert_eq!(choose(&[subnet("10.66.7.0/24")]), Some(subnet("10.67.0.0/16")));
        assert_eq!(choose(&[subnet("10.0.0.0/8")]), Some(subnet("172.24.0.0/16")));
        assert_eq!(choose(&[subnet("10.0.0.0/8"), subnet("172.16.0.0/12")]), Some(subnet("192.168.16.0/20")));
        assert_eq!(choose(&[subnet("0.0.0.0/1"), subnet("128.0.0.0/1")]), None);
    }
}
