//! Container networks. Three nouns: a [`Bridge`] is the default network of a state directory; [`Bridge::attach`] puts
//! a container's network namespace on it; the [`Attachment`] says what the container got there.
//!
//! The kernel is spoken to directly: rtnetlink for links, addresses and routes, nf_tables for the packet filter. No
//! program is run. The cost of one more container is one pair of interfaces and one small file; the packet filter
//! does not grow.
//!
//! What a container reads about its network is text made by [`dns`].
//!
//! ```no_run
//! use std::os::fd::AsFd;
//! use std::path::Path;
//!
//! let bridge = onggi_net::Bridge::open(Path::new("/var/lib/onggi"), Path::new("/run/onggi"))?;
//! # let (pid, id) = (1, "3f1c2d");
//! let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("the container is there");
//! let attachment = bridge.attach(namespace.as_fd(), id)?;
//! println!("{} behind {}", attachment.address, attachment.gateway);
//! bridge.release(id)?; // once the container is gone
//! # Ok::<(), onggi_net::Error>(())
//! ```

mod attachment;
mod bridge;
pub mod dns;
mod error;
mod firewall;
mod iptables;
mod lease;
mod netlink;
mod netns;
mod nft;
mod route;
mod subnet;

pub use attachment::{Attachment, Mac};
pub use bridge::{Bridge, NAME, Settings};
pub use error::Error;
pub use lease::Lease;
pub use netns::loopback_up;
pub use subnet::Subnet;
