//! Why a network could not be made, joined or taken away.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use onggi_diag::{Diagnose, Kind};

use crate::subnet::Subnet;

/// A network operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directories of the network cannot be used.
    #[error("cannot open the network's directory {}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// What we wrote about the network cannot be read or written.
    #[error("cannot {verb} the settings of network `bridge`")]
    Settings {
        /// "read" or "write".
        verb: &'static str,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// What we wrote about the network is not what we write.
    #[error("the settings of network `bridge` are damaged")]
    Damaged {
        /// Where the text goes wrong.
        source: serde_json::Error,
    },
    /// Every range of private addresses overlaps with a route of this host.
    #[error("no range of private addresses is free of this host's routes")]
    NoSubnet,
    /// Every bridge name of ours is taken by somebody else.
    #[error("no name is free for a bridge")]
    NoName,
    /// Every address of the network is taken.
    #[error("every address of {subnet} is taken")]
    NoAddress {
        /// The network's range.
        subnet: Subnet,
    },
    /// An address cannot be reserved or given back.
    #[error("cannot {verb} an address of network `bridge`")]
    Lease {
        /// "reserve", "release" or "list".
        verb: &'static str,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The bridge cannot be made or changed.
    #[error("cannot {verb} bridge `{bridge}`")]
    Bridge {
        /// What was to be done with it.
        verb: &'static str,
        /// The bridge.
        bridge: String,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The packet filter cannot be read or changed.
    #[error("cannot {verb} the packet filter rules of bridge `{bridge}`")]
    Firewall {
        /// What was to be done with them.
        verb: &'static str,
        /// The bridge.
        bridge: String,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// A setting of the kernel's cannot be read or written.
    #[error("cannot set {}", path.display())]
    Sysctl {
        /// Its file.
        path: PathBuf,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The container's interface cannot be made.
    #[error("cannot connect the container to bridge `{bridge}`")]
    Cable {
        /// The bridge.
        bridge: String,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The container's interface cannot be configured.
    #[error("cannot give the container the address {address}")]
    Address {
        /// The address.
        address: Ipv4Addr,
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The container's loopback interface cannot be brought up.
    #[error("cannot bring the container's loopback interface up")]
    Loopback {
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The container's network namespace cannot be entered.
    #[error("cannot enter the container's network namespace")]
    Namespace {
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// The calling thread is still in the container's network namespace: all it may do is report and exit.
    #[error("cannot return from the container's network namespace")]
    Lost {
        /// The call that failed.
        source: onggi_sys::Error,
    },
    /// Somebody else changes the network and does not come to an end.
    #[error("network `bridge` is being changed by another process")]
    Busy {
        /// The lock that was not to be had.
        source: onggi_sys::Error,
    },
    /// Containers are attached.
    #[error("network `bridge` is in use by {users} containers")]
    InUse {
        /// How many.
        users: usize,
    },
}

impl Diagnose for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Directory { source, .. }
            | Self::Settings { source, .. }
            | Self::Lease { source, .. }
            | Self::Bridge { source, .. }
            | Self::Firewall { source, .. }
            | Self::Sysctl { source, .. }
            | Self::Cable { source, .. }
            | Self::Address { source, .. }
            | Self::Loopback { source }
            | Self::Namespace { source } => source.kind(),
            Self::Damaged { .. } | Self::Lost { .. } => Kind::Internal,
            Self::NoSubnet | Self::NoName | Self::NoAddress { .. } | Self::Busy { .. } => Kind::Unavailable,
            Self::InUse { .. } => Kind::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoAddress { .. } => "`onggi system prune` gives back the addresses of containers that are gone",
            Self::NoSubnet | Self::NoName => "`--network host` or `--network none` needs neither",
            Self::Damaged { .. } => "remove networks/bridge.json in onggi's state directory; it is made again",
            Self::Firewall { source, .. } if source.kind() == Kind::Unsupported => {
                "this kernel lacks nf_tables with masquerade (CONFIG_NFT_MASQ); `--network host` does without"
            }
            Self::Bridge { source, .. } if source.kind() == Kind::Denied => {
                "a bridge network needs root; an ordinary user has `--network host` and `--network none`"
            }
            Self::Bridge { source, .. } | Self::Cable { source, .. } if source.kind() == Kind::Unsupported => {
                "this kernel lacks bridges or veth pairs (CONFIG_BRIDGE, CONFIG_VETH)"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
