//! Where onggi keeps its things.

use std::path::{Path, PathBuf};

use crate::ContainerId;

/// The two trees: what outlives a boot and what must not.
///
/// ```text
/// DATA/                      (0700)
///   images/ layers/          the stores of onggi-image and onggi-snapshot
///   containers/ID/           a container (see the crate's page)
///   volumes/NAME/_data/      a volume
/// RUN/                       (0700)
///   containers/ID/           a running container's socket
///   networks/                leases of addresses
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// What outlives a boot.
    pub data: PathBuf,
    /// What must not: sockets, leases.
    pub run: PathBuf,
}

impl Paths {
    /// The machine's own: `/var/lib/onggi` and `/run/onggi`.
    pub fn system() -> Self {
        Self { data: "/var/lib/onggi".into(), run: "/run/onggi".into() }
    }

    /// A user's own, below `$XDG_DATA_HOME` and `$XDG_RUNTIME_DIR`, which the caller has read from the environment.
    pub fn rootless(data_home: &Path, runtime_dir: &Path) -> Self {
        Self { data: data_home.join("onggi"), run: runtime_dir.join("onggi") }
    }

    /// The trees around a container's two directories, as this type lays them out.
    pub(crate) fn around(container: &Path, running: &Path) -> Self {
        let up = |path: &Path| path.ancestors().nth(2).unwrap_or(path).to_owned();
        Self { data: up(container), run: up(running) }
    }

    /// The directory of all containers.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// One container's directory.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// The directory of what lives while containers run.
    pub fn running(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// Where a running container's monitor listens.
    pub fn running_container(&self, id: &ContainerId) -> PathBuf {
        self.running().join(id.as_str())
    }

    /// The directory of all volumes.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// The unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }
}
