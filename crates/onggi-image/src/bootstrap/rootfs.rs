//! A directory that is a whole root file system.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use onggi_fs::Root;
use onggi_layer::tar::{Entry, Kind, Time};
use onggi_sys::file::{self, FileType, Mode, OFlags, Stat};

use super::BootstrapError;
use super::archive::{Output, Seen, clamp};

/// The directory, and its path for messages.
#[derive(Debug)]
pub(super) struct RootDir {
    root: Root,
    path: PathBuf,
}

pub(super) fn open(path: &Path) -> Result<RootDir, BootstrapError> {
    let root = Root::open(path).map_err(|source| BootstrapError::Read { path: path.into(), source: source.into() })?;
    Ok(RootDir { root, path: path.to_owned() })
}

/// Writes everything in it, by name. Sockets are left out, and what other file systems are mounted in it.
pub(super) fn write(root: &RootDir, tar: &mut Output, latest: Option<i64>) -> Result<Seen, BootstrapError> {
    let failed = |source: onggi_sys::Error| BootstrapError::Read { path: root.path.clone(), source: source.into() };
    let device = file::stat(&root.root).map_err(failed)?.st_dev;
    let mut walk = Walk { tar, latest, device, links: HashMap::new(), seen: Seen::default(), path: &root.path };
    walk.directory(root.root.as_fd(), Path::new(""))?;
    if walk.seen.entries == 0 {
        return Err(BootstrapError::Empty { path: root.path.clone() });
    }
    Ok(walk.seen)
}

/// Names and values.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

struct Walk<'w> {
    tar: &'w mut Output,
    latest: Option<i64>,
    device: u64,
    /// Where a file with several names was written first, by inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    seen: Seen,
    path: &'w Path,
}

impl Walk<'_> {
    fn directory(&mut self, dir: impl AsFd, at: &Path) -> Result<(), BootstrapError> {
        let dir = dir.as_fd();
        let mut entries = file::entries(dir).map_err(|error| self.failed(at, error))?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        for entry in entries {
            let path = at.join(&entry.name);
            let stat = file::stat_at(dir, &entry.name).map_err(|error| self.failed(&path, error))?;
            let name = Path::new(&entry.name);
            let Some(mut described) = self.describe(dir, name, &path, &stat)? else { continue };
            clamp(&mut described, self.latest);
            match described.kind {
                Kind::File => self.file(dir, name, &path, &described)?,
                Kind::Directory => {
                    self.append(&described, &path, io::empty(), &[])?;
                    // What is mounted there belongs to this machine.
                    if stat.st_dev == self.device {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                        let below = self.open(dir, name, &path, flags)?;
                        self.directory(&below, &path)?;
                    }
                }
                _ => self.append(&described, &path, io::empty(), &[])?,
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: impl AsFd, name: &Path, path: &Path, entry: &Entry) -> Result<(), BootstrapError> {
        let data = File::from(self.open(dir, name, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?);
        let mut head = [0; 20];
        let count = data.read_at(&mut head, 0).map_err(|source| self.unreadable(path, source))?;
        self.append(entry, path, data, &head[..count])
    }

    fn append(&mut self, entry: &Entry, path: &Path, data: impl Read, head: &[u8]) -> Result<(), BootstrapError> {
        self.seen.note(entry, head);
        self.tar.append(entry, data).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => self.unreadable(path, source),
            _ => BootstrapError::Write { source },
        })
    }

    /// The entry for what is at `path`; `None` for a socket.
    fn describe(
        &mut self,
        dir: impl AsFd,
        name: &Path,
        path: &Path,
        stat: &Stat,
    ) -> Result<Option<Entry>, BootstrapError> {
        let kind = file::type_of(stat);
        let mut written = path.as_os_str().as_bytes().to_vec();
        let (major, minor) = (file::major(stat.st_rdev), file::minor(stat.st_rdev));
        let kind = match kind {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => {
                let target = file::read_link(&dir, name).map_err(|error| self.failed(path, error))?;
                Kind::Symlink(target.as_os_str().as_bytes().to_vec())
            }
            FileType::CharacterDevice => Kind::CharDevice(major, minor),
            FileType::BlockDevice => Kind::BlockDevice(major, minor),
            FileType::Fifo => Kind::Fifo,
            FileType::RegularFile => match self.links.get(&(stat.st_dev, stat.st_ino)) {
                Some(first) => Kind::HardLink(first.clone()),
                None => Kind::File,
            },
            _ => return Ok(None),
        };
        if kind == Kind::File && stat.st_nlink > 1 {
            self.links.insert((stat.st_dev, stat.st_ino), written.clone());
        }
        if kind == Kind::Directory {
            written.push(b'/');
        }
        let xattrs = if matches!(kind, Kind::HardLink(_)) { Vec::new() } else { self.xattrs(&dir, name, path)? };
        let size = if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
        Ok(Some(Entry {
            path: written,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time { seconds: stat.st_mtime, nanoseconds: 0 },
            atime: None,
            size,
            extents: None,
            xattrs,
        }))
    }

    /// The attributes that belong to the content: capabilities, access lists and the user's own. Labels of this
    /// machine's security policy and overlayfs's notes do not.
    fn xattrs(&self, dir: impl AsFd, name: &Path, path: &Path) -> Result<Attributes, BootstrapError> {
        let mut kept = Vec::new();
        for attribute in file::xattr_names_at(&dir, name).map_err(|error| self.failed(path, error))? {
            let bytes = attribute.as_bytes();
            let belongs = bytes == b"security.capability"
                || bytes.starts_with(b"system.posix_acl_")
                || (bytes.starts_with(b"user.") && !bytes.starts_with(b"user.overlay."));
            if belongs {
                let value = file::xattr_at(&dir, name, &attribute).map_err(|error| self.failed(path, error))?;
                kept.extend(value.map(|value| (bytes.to_vec(), value)));
            }
        }
        kept.sort();
        Ok(kept)
    }

    fn open(&self, dir: impl AsFd, name: &Path, path: &Path, flags: OFlags) -> Result<OwnedFd, BootstrapError> {
        file::open(dir, name, flags, Mode::empty()).map_err(|error| self.failed(path, error))
    }

    fn failed(&self, path: &Path, error: onggi_sys::Error) -> BootstrapError {
        self.unreadable(path, error.into())
    }

    fn unreadable(&self, path: &Path, source: io::Error) -> BootstrapError {
        BootstrapError::Read { path: self.path.join(path), source }
    }
}
