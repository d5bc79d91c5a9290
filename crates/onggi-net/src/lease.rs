//! Who has which address: a file per address, made in one step, whose name is the address and whose content is the
//! container.
//!
//! ```text
//! RUN/networks/bridge/10.66.31.7      "3f1c...": the container that has it
//! ```
//!
//! There is no lock and no counter: `create_new` is the claim, and a crash leaves at most a lease whose container is
//! gone, which [`Leases::retain`] finds. The search begins at a place that follows from the container's id, so it
//! takes a step or two however many leases there are, and a container that starts again mostly has its old address.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use onggi_fs::{Durability, Root};
use onggi_sys::file::{self, AtFlags};
use onggi_sys::{Errno, Result};

use crate::subnet::Subnet;

/// How far from its place the lease of an id is looked for before all are read.
const NEIGHBOURHOOD: u32 = 4;
const LONGEST_ID: usize = 256;

/// An address and the container that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The container's id.
    pub container: String,
}

/// The leases of one network.
#[derive(Debug)]
pub(crate) struct Leases {
    dir: Root,
}

impl Leases {
    pub(crate) fn new(dir: Root) -> Self {
        Self { dir }
    }

    /// An address of `subnet` for `container`: the one it has already, or the first free from its place on.
    /// `None` if all are taken.
    pub(crate) fn take(&self, container: &str, subnet: Subnet) -> Result<Option<Ipv4Addr>> {
        for address in candidates(container, subnet) {
            if self.owner(address)?.is_some_and(|owner| owner != container) {
                continue;
            }
            match self.claim(address, container) {
                Err(error) if error.is(Errno::EXIST) => {
                    // It came between the look and the claim, or it is ours from an earlier attempt.
                    if self.owner(address)?.as_deref() == Some(container) {
                        return Ok(Some(address));
                    }
                }
                other => return other.map(|()| Some(address)),
            }
        }
        Ok(None)
    }

    fn claim(&self, address: Ipv4Addr, container: &str) -> Result<()> {
        onggi_fs::create_new(&self.dir, address.to_string(), container.as_bytes(), 0o600, Durability::Volatile)
    }

    /// Gives back what `container` has; nothing if it has nothing.
    pub(crate) fn release(&self, container: &str, subnet: Option<Subnet>) -> Result<()> {
        if let Some(subnet) = subnet {
            for address in candidates(container, subnet).take(NEIGHBOURHOOD as usize) {
                if self.owner(address)?.as_deref() == Some(container) {
                    return self.remove(address);
                }
            }
        }
        for lease in self.list()?.iter().filter(|lease| lease.container == container) {
            self.remove(lease.address)?;
        }
        Ok(())
    }

    /// Gives back the addresses of containers that are not `alive`; what was given back.
    pub(crate) fn retain(&self, alive: &mut dyn FnMut(&str) -> bool) -> Result<Vec<Lease>> {
        let gone: Vec<_> = self.list()?.into_iter().filter(|lease| !alive(&lease.container)).collect();
        gone.iter().try_for_each(|lease| self.remove(lease.address))?;
        onggi_fs::sweep_temporaries(&self.dir)?;
        Ok(gone)
    }

    /// Every lease, by address.
    pub(crate) fn list(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for entry in file::entries(&self.dir)? {
            let Some(address) = entry.name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(container) = self.owner(address)? {
                leases.push(Lease { address, container });
            }
        }
        leases.sort_by_key(|lease| lease.address);
        Ok(leases)
    }

    fn owner(&self, address: Ipv4Addr) -> Result<Option<String>> {
        let opened = file::open(
            &self.dir,
            PathBuf::from(address.to_string()),
            file::OFlags::RDONLY | file::OFlags::NOFOLLOW,
            file::Mode::empty(),
        );
        match opened.and_then(|opened| file::read_all(opened, LONGEST_ID)) {
            Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, address: Ipv4Addr) -> Result<()> {
        match file::unlink(&self.dir, address.to_string(), AtFlags::empty()) {
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            other => other,
        }
    }
}

/// Every address for containers once, from the place of `container` on.
fn candidates(container: &str, subnet: Subnet) -> impl Iterator<Item = Ipv4Addr> {
    let capacity = subnet.capacity();
    let start = if capacity == 0 { 0 } else { u32::try_from(hash(container) % u64::from(capacity)).unwrap_or(0) };
    (start..capacity).chain(0..start).filter_map(move |index| subnet.host(index))
}

/// FNV-1a: the same number for the same text in every version of onggi, unlike the standard library's.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn scratch() -> (tempfile::TempDir, Leases) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, Leases::new(root))
    }

    fn subnet(text: &str) -> Subnet {
        Subnet::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn every_address_once_and_then_none() {
        let (_dir, leases) = scratch();
        let small = subnet("10.0.0.0/28");
        let taken: HashSet<_> = (0..13).map(|n| leases.take(&format!("c{n}"), small).unwrap().unwrap()).collect();
        assert_eq!(taken.len(), 13);
        assert!(!taken.contains(&small.gateway()) && !taken.contains(&small.broadcast()));
        assert_eq!(leases.take("one more", small).unwrap(), None);
        leases.release("c7", Some(small)).unwrap();
        assert!(leases.take("one more", small).unwrap().is_some());
    }

    #[test]
    fn the_same_container_has_the_same_address() {
        let (_dir, leases) = scratch();
        let wide = subnet("10.66.0.0/16");
        let first = leases.take("a", wide).unwrap();
        assert_eq!(leases.take("a", wide).unwrap(), first);
        leases.release("a", Some(wide)).unwrap();
        assert!(leases.list().unwrap().is_empty());
        assert_eq!(leases.take("a", wide).unwrap(), first);
    }

    #[test]
    fn a_lease_far_from_its_place_is_released_too() {
        let (_dir, leases) = scratch();
        let small = subnet("10.0.0.0/27");
        (0..29).for_each(|n| assert!(leases.take(&format!("c{n}"), small).unwrap().is_some()));
        (0..29).for_each(|n| leases.release(&format!("c{n}"), Some(small)).unwrap());
        assert!(leases.list().unwrap().is_empty());
    }

    #[test]
    fn the_dead_lose_theirs() {
        let (_dir, leases) = scratch();
        let wide = subnet("10.66.0.0/16");
        for id in ["alive", "dead"] {
            leases.take(id, wide).unwrap();
        }
        let gone = leases.retain(&mut |id| id == "alive").unwrap();
        assert_eq!(gone.iter().map(|lease| lease.container.as_str()).collect::<Vec<_>>(), ["dead"]);
        assert_eq!(leases.list().unwrap().len(), 1);
    }

    #[test]
    fn thousands_take_a_step_or_two_each() {
        let (_dir, leases) = scratch();
        let wide = subnet("10.66.0.0/16");
        let ids: Vec<_> = (0..3000).map(|n| format!("{:064x}", n * 7919)).collect();
        let began = std::time::Instant::now();
        let taken: HashSet<_> = ids.iter().map(|id| leases.take(id, wide).unwrap().unwrap()).collect();
        assert_eq!(taken.len(), ids.len());
        assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
    }
}
