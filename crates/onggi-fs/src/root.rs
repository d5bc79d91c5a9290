//! Paths that cannot leave their root.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use onggi_sys::file::{self, FileType, Mode, OFlags, ResolveFlags};
use onggi_sys::{Errno, Error, Result};

/// A directory inside which untrusted paths are resolved: as chroot(2) would, but by openat2(2).
///
/// An absolute path or link starts again at the root, `..` at the root stays there, and magic links
/// (`/proc/self/fd/N`) are refused. The kernel does this in one call, so nobody can swap a component under it.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(dir: OwnedFd) -> Self {
        Self { dir }
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.dir
    }
}

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Opens a directory of our own as a root; `path` is trusted.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        file::open(file::CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(Self::from)
    }

    /// A second handle to the same root.
    pub fn try_clone(&self) -> Result<Self> {
        file::dup(self).map(Self::from)
    }

    /// Opens `path` inside the root, following links inside it.
    pub fn open_in(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        file::open2(self, relative(path.as_ref()), flags, mode, INSIDE)
    }

    /// A handle (`O_PATH`) to what `path` names inside the root, following links inside it.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open_in(path, OFlags::PATH, Mode::empty())
    }

    /// A handle (`O_PATH`) to `path` itself: the last component is not followed.
    pub fn resolve_no_follow(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open_in(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// The directory `path` inside the root, as a root of its own (`O_PATH`).
    pub fn dir(&self, path: impl AsRef<Path>) -> Result<Self> {
        self.open_in(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(Self::from)
    }

    /// Opens a regular file for reading, never blocking on what it may be instead.
    ///
    /// # Errors
    /// `EINVAL` if it is not a regular file (a fifo, a device).
    pub fn open_file(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        // The handle first: opening a device or fifo has effects of its own, asking what it is has none.
        let handle = self.resolve(path)?;
        if file::type_of(&file::stat(&handle)?) != FileType::RegularFile {
            return Err(Error::new("open", format!("{}, not a regular file", path.display()), Errno::INVAL));
        }
        file::reopen(&handle, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// `EFBIG` beyond `limit`; `EINVAL` if it is not a regular file.
    pub fn read(&self, path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>> {
        file::read_all(self.open_file(path)?, limit)
    }

    /// The directory that holds `path`'s last component, and that component.
    ///
    /// # Errors
    /// `EINVAL` if `path` has no last component (it is empty, `/`, or ends in `..`).
    pub fn parent<'p>(&self, path: &'p Path) -> Result<(Self, &'p OsStr)> {
        let (parent, name) = split(path)?;
        Ok((self.dir(parent)?, name))
    }

    /// As [`Root::parent`], with the directories on the way made (mode `mode`) where they are missing.
    pub fn parent_or_make<'p>(&self, path: &'p Path, mode: u32) -> Result<(Self, &'p OsStr)> {
        let (parent, name) = split(path)?;
        Ok((self.make_dir_all(parent, mode)?, name))
    }

    /// Makes the directory `path` and those above it where they are missing, and opens it.
    ///
    /// Each step is made in the descriptor of the one before, so a link planted meanwhile cannot redirect the rest.
    /// A link on the way is followed inside the root; a dangling one is an error.
    pub fn make_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<Self> {
        let path = path.as_ref();
        match self.dir(path) {
            Err(error) if error.is(Errno::NOENT) => {}
            other => return other,
        }
        let mut walked = PathBuf::new();
        let mut current = self.try_clone()?;
        for component in path.components() {
            match component {
                Component::Normal(name) => {
                    walked.push(name);
                    current = self.step(&current, name, &walked, mode)?;
                }
                Component::ParentDir => {
                    walked.push("..");
                    current = self.dir(&walked)?;
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(current)
    }

    /// One component of [`Root::make_dir_all`]: `name` in `current`, which is what `walked` named so far.
    fn step(&self, current: &Self, name: &OsStr, walked: &Path, mode: u32) -> Result<Self> {
        match file::stat_at(current, name) {
            // A link is resolved from the root, where its target has a meaning.
            Ok(found) if file::type_of(&found) == FileType::Symlink => self.dir(walked),
            Ok(_) => current.child_dir(name),
            Err(error) if error.is(Errno::NOENT) => {
                match file::mkdir(current, name, Mode::from_raw_mode(mode)) {
                    Err(error) if error.is(Errno::EXIST) => {}
                    other => other?,
                }
                current.child_dir(name)
            }
            Err(error) => Err(error),
        }
    }

    /// The directory `name` (one component) right below, a link not followed.
    pub fn child_dir(&self, name: impl AsRef<Path>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        file::open(self, name, flags, Mode::empty()).map(Self::from)
    }
}

/// openat2 with `IN_ROOT` takes absolute paths as relative to the root, but an empty one as an error.
fn relative(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Error::new("path", format!("{}, no last component", path.display()), Errno::INVAL)),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write scratch files")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn absolute_links_and_dotdot_stay_inside() {
        let (dir, root) = scratch();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "ours").unwrap();
        symlink("/etc", dir.path().join("abs")).unwrap();
        symlink("../../../../../etc", dir.path().join("up")).unwrap();
        for path in ["abs/passwd", "up/passwd", "/etc/passwd", "../../etc/passwd"] {
            assert_eq!(root.read(path, 100).unwrap(), b"ours", "{path}");
        }
    }

    #[test]
    fn directories_are_never_made_outside() {
        let (dir, root) = scratch();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        assert!(root.make_dir_all("out/made", 0o755).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn makes_through_inner_links() {
        let (dir, root) = scratch();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        symlink("/real", dir.path().join("link")).unwrap();
        root.make_dir_all("/link/a/./b", 0o755).unwrap();
        assert!(dir.path().join("real/a/b").is_dir());
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let (dir, root) = scratch();
        file::mknod(&root, "fifo", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(root.read("fifo", 100).unwrap_err().is(Errno::INVAL));
        drop(dir);
    }

    #[test]
    fn more_than_the_limit_is_an_error() {
        let (dir, root) = scratch();
        std::fs::write(dir.path().join("big"), vec![0; 5000]).unwrap();
        assert!(root.read("big", 4999).unwrap_err().is(Errno::FBIG));
        assert_eq!(root.read("big", 5000).unwrap().len(), 5000);
    }
}
