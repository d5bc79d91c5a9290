//! What a container got when it was attached to a network.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A container's place on a network; kept in its record and shown by `inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The interface inside the container.
    pub interface: String,
    /// The other end of its cable, on the host.
    pub host_interface: String,
    /// The bridge that the other end is a port of.
    pub bridge: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// How many leading bits all addresses of the network share.
    pub prefix: u8,
    /// Where traffic for everywhere else goes.
    pub gateway: Ipv4Addr,
    /// The interface's link address.
    pub mac: Mac,
    /// The longest packet, in bytes.
    pub mtu: u32,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// The one that goes with an IPv4 address: always the same, so that whoever remembers which link address an
    /// address had is right about its next owner too.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        // The second-lowest bit of the first byte says "assigned locally".
        Self([0x02, 0x6f, a, b, c, d])
    }

    /// Its six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a link address");
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+')).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_address_is_text_in_json() {
        let mac = Mac::of(Ipv4Addr::new(10, 66, 0, 255));
        assert_eq!(serde_json::to_string(&mac).unwrap(), "\"02:6f:0a:42:00:ff\"");
        assert_eq!(serde_json::from_str::<Mac>("\"02:6f:0a:42:00:ff\"").unwrap(), mac);
        for wrong in ["02:6f", "02:6f:0a:42:00:ff:00", "02:6f:0a:42:00:+f", ""] {
            assert!(Mac::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
