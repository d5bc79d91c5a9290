//! The engine: two trees, opened.

use std::path::Path;

use onggi_fs::{Root, ensure_dir};

use crate::error::Context;
use crate::{Containers, Paths, Result};

/// Everything below is for our eyes only: an image's set-user-ID programs must not be within reach of other users.
const PRIVATE: u32 = 0o700;

/// Opened trees; cheap to make, and to make again.
///
/// ```no_run
/// use onggi_engine::{CreateContainer, Engine, Paths, StartContainer};
///
/// let engine = Engine::open(Paths::system())?;
/// let request = CreateContainer { image: "alpine".into(), command: vec!["true".into()], ..Default::default() };
/// let created = engine.containers().create(&request)?;
/// engine.containers().start(&created.id, &StartContainer::default())?;
/// # Ok::<(), onggi_engine::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    paths: Paths,
    /// `DATA/containers`.
    pub(crate) containers: Root,
    rootless: bool,
}

impl Engine {
    /// Opens the trees, making their directories (mode 0700) where they are missing. Nothing is scanned.
    pub fn open(paths: Paths) -> Result<Self> {
        private_dir(&paths.data)?;
        private_dir(&paths.run)?;
        let containers = private_dir(&paths.containers())?;
        private_dir(&paths.running())?;
        let rootless = in_user_namespace();
        Ok(Self { paths, containers, rootless })
    }

    /// Where everything is.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Whether this is an ordinary user's engine, root only in a user namespace of its own.
    pub fn rootless(&self) -> bool {
        self.rootless
    }

    /// The containers.
    pub fn containers(&self) -> Containers<'_> {
        Containers::new(self)
    }
}

/// Opens a directory of ours, made if it is missing.
pub(crate) fn private_dir(path: &Path) -> Result<Root> {
    ensure_dir(path, PRIVATE).to(format!("open {}", path.display()))
}

/// Whether ids are mapped: the first user namespace maps all of them onto themselves.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut words = map.split_whitespace();
    !matches!((words.next(), words.next(), words.next()), (Some("0"), Some("0"), Some("4294967295")))
}
