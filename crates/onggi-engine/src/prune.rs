//! Taking away what nobody owns.

use onggi_cgroup::{Cgroup, CgroupPath};
use onggi_diag::Record as Account;
use onggi_fs::Root;
use onggi_image::Removed;
use onggi_snapshot::Snapshots;
use onggi_sys::Errno;

use crate::error::Context;
use crate::spec::CGROUP_PARENT;
use crate::{ContainerId, Engine, Error, Result};

/// What a prune took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Containers.
    pub containers: Vec<ContainerId>,
    /// Names of images, and images.
    pub images: Vec<Removed>,
    /// Bytes of the disk that are free again.
    pub reclaimed: u64,
}

impl Engine {
    /// Removes all containers that do not run, images without a name (all that no container uses, if `all_images`),
    /// and what crashes left: half-made and half-removed containers, sockets, addresses, writable layers, blobs.
    ///
    /// Volumes stay: what is in them may be all there is of it.
    pub fn prune(&self, all_images: bool) -> Result<Pruned> {
        let before = self.writable_bytes();
        let containers = self.containers().prune()?;
        self.prune_rests()?;
        let written = before.saturating_sub(self.writable_bytes());
        let images = self.prune_images(all_images)?;
        Ok(Pruned { containers, images: images.removed, reclaimed: written + images.reclaimed })
    }

    fn prune_rests(&self) -> Result<()> {
        for id in self.ids_in(self.paths().running())? {
            if !self.is_container(&id) {
                self.containers().release(&id)?;
            }
        }
        if !self.rootless() {
            self.prune_addresses()?;
        }
        // The parent of all containers' groups, while there are none.
        CgroupPath::parse(CGROUP_PARENT)
            .and_then(|parent| Cgroup::remove_if_empty(&parent))
            .map_err(|error| self.tidying(&error))?;
        let snapshots = self.snapshots()?;
        for name in snapshots.writables().map_err(|error| self.tidying(&error))? {
            if name.parse().is_ok_and(|id| !self.is_container(&id)) {
                snapshots.remove_writable(&name).map_err(|error| self.tidying(&error))?;
            }
        }
        Ok(())
    }

    fn prune_addresses(&self) -> Result<()> {
        let paths = self.paths();
        let owned = |id: &str| id.parse().is_ok_and(|id| self.is_container(&id));
        let bridge = onggi_net::Bridge::open(&paths.data, &paths.run).map_err(|error| self.tidying(&error))?;
        bridge.retain(owned).map_err(|error| self.tidying(&error))?;
        if self.rootless() {
            return Ok(());
        }
        // A bridge that nobody is on, and its rules, are made again by the next container that wants one.
        match bridge.teardown() {
            Err(onggi_net::Error::InUse { .. }) => Ok(()),
            other => other.map_err(|error| self.tidying(&error)),
        }
    }

    /// Whether there is a container `id`, be it still in the making or half removed.
    fn is_container(&self, id: &ContainerId) -> bool {
        self.containers().is_anywhere(id)
    }

    fn ids_in(&self, path: std::path::PathBuf) -> Result<Vec<ContainerId>> {
        let what = format!("list {}", path.display());
        match Root::open(path) {
            Err(error) if error.is(Errno::NOENT) => Ok(Vec::new()),
            other => {
                let entries = onggi_sys::file::entries(other.to(what.clone())?).to(what)?;
                Ok(entries.iter().filter_map(|entry| entry.name.to_str()?.parse().ok()).collect())
            }
        }
    }

    fn snapshots(&self) -> Result<Snapshots> {
        Snapshots::open(self.paths().layers()).map_err(|error| self.tidying(&error))
    }

    /// What containers wrote; nothing where that cannot be told.
    fn writable_bytes(&self) -> u64 {
        let Ok(snapshots) = self.snapshots() else { return 0 };
        let writables = snapshots.writables().unwrap_or_default();
        writables.iter().filter_map(|id| snapshots.writable_size(id).ok()).sum()
    }

    fn tidying(&self, error: &dyn onggi_diag::Diagnose) -> Error {
        let what = format!("tidy {}", self.paths().data.display());
        Error::Below { what, source: Box::new(Account::new("prune", error)) }
    }
}
