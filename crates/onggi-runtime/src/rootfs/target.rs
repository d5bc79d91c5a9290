//! Where something is mounted: a place inside the root, made if it is not there.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use onggi_fs::Root;
use onggi_sys::file::{self, FileType, Mode, OFlags, ResolveFlags};
use onggi_sys::{Errno, Error, Result};

use super::Builder;

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

impl Builder<'_> {
    /// The directory `path`, made if it is missing.
    pub(super) fn dir_target(&self, path: &Path) -> Result<OwnedFd> {
        self.target(path, &|root, path| root.make_dir_all(path, 0o755).map(OwnedFd::from))
    }

    /// The file `path` (anything but a directory), made empty if it is missing.
    pub(super) fn file_target(&self, path: &Path) -> Result<OwnedFd> {
        let found = self.target(path, &make_file)?;
        if file::type_of(&file::stat(&found)?) == FileType::Directory {
            return Err(Error::new("open", path.display().to_string(), Errno::ISDIR));
        }
        Ok(found)
    }

    /// The directory `path`, no component of which is a link: what lands there decides over labels and sysctls.
    pub(super) fn plain_dir_target(&self, path: &Path) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let open = || file::open2(&self.root, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), resolve);
        match open() {
            Err(error) if error.is(Errno::NOENT) => {
                self.root.make_dir_all(path, 0o755)?;
                open()
            }
            other => other,
        }
    }

    fn target(&self, path: &Path, make: &dyn Fn(&Root, &Path) -> Result<OwnedFd>) -> Result<OwnedFd> {
        match self.root.resolve(path) {
            Err(error) if error.is(Errno::NOENT) => make(&self.root, &self.end_of_links(path)?),
            other => other,
        }
    }

    /// Where a dangling link at the end of `path` leads to, inside the root; `path` itself where there is none.
    ///
    /// Ubuntu's `/etc/resolv.conf` is one, and a container gets its own exactly there.
    fn end_of_links(&self, path: &Path) -> Result<PathBuf> {
        let mut path = path.to_path_buf();
        for _ in 0..MOST_LINKS {
            let (parent, name) = match self.root.parent(&path) {
                Ok(found) => found,
                Err(error) if error.is(Errno::NOENT) => return Ok(path),
                Err(error) => return Err(error),
            };
            match file::stat_at(&parent, name) {
                Ok(found) if file::type_of(&found) == FileType::Symlink => {
                    let leads_to = file::read_link(&parent, name)?;
                    path = path.parent().unwrap_or(Path::new("/")).join(leads_to);
                }
                _ => return Ok(path),
            }
        }
        Err(Error::new("openat2", path.display().to_string(), Errno::LOOP))
    }
}

fn make_file(root: &Root, path: &Path) -> Result<OwnedFd> {
    let (parent, name) = root.parent_or_make(path, 0o755)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY;
    match file::open(&parent, name, flags, Mode::from_raw_mode(0o644)) {
        Err(error) if !error.is(Errno::EXIST) => return Err(error),
        _ => {}
    }
    file::open(&parent, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
}
