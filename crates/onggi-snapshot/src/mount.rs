//! Directories put together by overlayfs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use onggi_fs::{Durability, Root};
use onggi_layer::overlay::Namespace;
use onggi_sys::file;
use onggi_sys::mount::{Depth, FsContext, MountAttrFlags, clone_tree};
use onggi_sys::overlay::{Directories, mount_detached};
use onggi_sys::{Errno, Error as SysError, Result as SysResult};

use crate::snapshots::{EMPTY, upper_and_work};
use crate::{Error, Snapshots};

/// As many lower layers as overlayfs takes (`OVL_MAX_STACK`).
pub(crate) const MAX_LAYERS: usize = 500;

/// What to mount.
pub(crate) struct Overlay<'o> {
    pub(crate) store: &'o Snapshots,
    /// Lower layers, bottom first, from the store's directory.
    pub(crate) layers: &'o [PathBuf],
    /// The directory that holds upper and work; none for a read-only mount.
    pub(crate) writable: Option<&'o Root>,
    /// What of the upper directory must outlive a power cut.
    pub(crate) durability: Durability,
}

/// How layers are told to the kernel, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One descriptor each (Linux 6.13).
    Descriptors,
    /// One path each (Linux 6.7).
    Paths,
    /// All in one string of mount(2), for everything older.
    Options,
}

impl Overlay<'_> {
    /// Mounts it, attached nowhere.
    pub(crate) fn mount(&self, what: &str) -> Result<OwnedFd, Error> {
        match self.mount_as_asked(what) {
            // Older than 5.10.
            Err(_) if self.durability == Durability::Volatile => {
                Self { durability: Durability::Durable, ..*self }.mount_as_asked(what)
            }
            other => other,
        }
    }

    fn mount_as_asked(&self, what: &str) -> Result<OwnedFd, Error> {
        if self.layers.len() >= MAX_LAYERS {
            return Err(Error::TooManyLayers { count: self.layers.len(), limit: MAX_LAYERS - 1 });
        }
        if self.writable.is_none() && self.layers.is_empty() {
            let bare = clone_tree(self.store.root(), EMPTY, Depth::Single);
            return bare.map_err(|source| Error::Mount { what: what.into(), source });
        }
        let mut result = self.mount_by(Way::Descriptors);
        for way in [Way::Paths, Way::Options] {
            match result {
                // Before Linux 6.15 an O_PATH descriptor is a bad one here.
                Err(error) if error.is(Errno::INVAL) || error.is(Errno::BADF) => result = self.mount_by(way),
                _ => break,
            }
        }
        result.map_err(|source| Error::Mount { what: what.into(), source })
    }

    fn mount_by(&self, way: Way) -> SysResult<OwnedFd> {
        if way == Way::Options {
            return mount_detached(self.directories(), self.options());
        }
        let context = FsContext::open("overlay")?;
        // `source` is what /proc/mounts shows first.
        context.set("source", "overlay")?;
        for (key, value) in self.options() {
            if value.is_empty() { context.set_flag(key)? } else { context.set(key, value)? }
        }
        for path in self.lower() {
            set_dir(&context, "lowerdir+", &self.store.root().dir(path)?, way)?;
        }
        if let Some(writable) = self.writable {
            let (upper, work) = upper_and_work(writable)?;
            set_dir(&context, "upperdir", &upper, way)?;
            set_dir(&context, "workdir", &work, way)?;
        }
        context.mount(MountAttrFlags::empty())
    }

    /// Lower layers as the kernel wants them, the topmost first; without an upper directory there must be two.
    fn lower(&self) -> impl Iterator<Item = PathBuf> {
        let least = if self.writable.is_some() { 1 } else { 2 };
        let empty = (self.layers.len() < least).then(|| PathBuf::from(EMPTY));
        self.layers.iter().rev().cloned().chain(empty)
    }

    fn options(&self) -> Vec<(&'static str, &'static str)> {
        let mut options = match self.store.namespace() {
            // A layer is used by many mounts, and nothing in one may redirect or stand in for something elsewhere.
            Namespace::Trusted => vec![("index", "off"), ("redirect_dir", "nofollow"), ("metacopy", "off")],
            // Implies the other two.
            Namespace::User => vec![("userxattr", ""), ("index", "off")],
        };
        if self.writable.is_some() && self.durability == Durability::Volatile {
            // Without it the end of the mount waits until all of the file system below is on the disk, and not only
            // what is the container's (Linux 5.10).
            options.push(("volatile", ""));
        }
        options
    }

    fn directories(&self) -> Directories {
        let absolute = |path: PathBuf| self.store.path().join(path);
        let upper = self.writable.map(|writable| {
            let path = file::name_of(writable);
            (path.join("upper"), path.join("work"))
        });
        Directories { lower: self.lower().map(absolute).collect(), upper, target: absolute(EMPTY.into()) }
    }
}

fn set_dir(context: &FsContext, key: &str, dir: impl AsFd, way: Way) -> SysResult<()> {
    match way {
        Way::Descriptors => context.set_fd(key, dir),
        _ => {
            let path = file::proc_path(dir);
            let path = path.to_str().ok_or_else(|| SysError::new("fsconfig", key, Errno::INVAL))?;
            context.set(key, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use onggi_layer::Finish;
    use onggi_oci::Digest;
    use onggi_sys::file::{self, Mode, OFlags};

    use super::*;

    fn layer(store: &Snapshots, number: u32) -> Digest {
        let diff_id = Digest::of(&number.to_le_bytes());
        let pending = store.begin_layer(&diff_id).unwrap();
        for name in [format!("own-{number}"), "common".into()] {
            let file = file::open(pending.root(), name, OFlags::WRONLY | OFlags::CREATE, Mode::RWXU).unwrap();
            file::write_all(&file, number.to_string().as_bytes()).unwrap();
        }
        pending.commit(&Finish::default()).unwrap();
        diff_id
    }

    /// Every way to tell the kernel about layers makes the same mount; old kernels have only the last.
    #[test]
    fn all_ways_make_the_same_mount() {
        onggi_testkit::needs!("root");
        let dir = tempfile::tempdir().unwrap();
        let store = Snapshots::open(dir.path()).unwrap();
        let layers: Vec<Digest> = (0..150).map(|number| layer(&store, number)).collect();
        store.create_writable("w", &layers, Durability::Volatile).unwrap();
        let (writable, stack) = store.writable("w").unwrap();
        for way in [Way::Descriptors, Way::Paths, Way::Options] {
            for writable in [Some(&writable), None] {
                let (layers, durability) = (&stack.layers, Durability::Durable);
                let overlay = Overlay { store: &store, layers, writable, durability };
                let mount = Root::from(overlay.mount_by(way).unwrap());
                assert_eq!(mount.read("common", 100).unwrap(), b"149", "{way:?}");
                assert_eq!(file::entries(&mount).unwrap().len(), 151, "{way:?}");
                let path = format!("/proc/self/fd/{}/common", mount.as_fd().as_raw_fd());
                let written = file::open(file::CWD, path, OFlags::WRONLY, Mode::empty());
                assert_eq!(written.is_ok(), writable.is_some(), "{way:?}");
            }
        }
        let table = Root::open("/proc/self").unwrap().read("mountinfo", 1 << 20).unwrap();
        let shown = dir.path().to_str().unwrap();
        assert!(!String::from_utf8_lossy(&table).contains(shown), "a mount of ours is attached");
    }

    #[test]
    fn a_volatile_mount_is_the_last() {
        onggi_testkit::needs!("root");
        let dir = tempfile::tempdir().unwrap();
        let store = Snapshots::open(dir.path()).unwrap();
        store.create_writable("w", &[layer(&store, 1)], Durability::Volatile).unwrap();
        let (writable, _) = store.writable("w").unwrap();
        let marked = || writable.resolve("work/work/incompat/volatile").is_ok();
        drop(store.mount("w", Durability::Durable).unwrap());
        assert!(!marked());
        let mount = Root::from(store.mount("w", Durability::Volatile).unwrap());
        assert_eq!(mount.read("common", 100).unwrap(), b"1");
        drop(mount);
        assert!(marked());
        assert!(matches!(store.mount("w", Durability::Durable), Err(Error::Mount { .. })));
        store.remove_writable("w").unwrap();
    }
}
