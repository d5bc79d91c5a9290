//! A directory tree becomes a tar stream: sorted, without anything of the machine in it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use onggi_fs::Root;
use onggi_sys::file::{self, FileType, Mode, OFlags, Stat};
use onggi_sys::{Errno, Error as SysError};

use crate::Error;
use crate::name::{OPAQUE, WHITEOUT};
use crate::overlay::{self, Namespace};
use crate::tar::{Entry, Kind, Limits, Time, Writer, Xattrs};

/// What a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Files and nothing else.
    Tree,
    /// An overlay's upper directory: what it hides is written as an image's layer says it, `.wh.` names.
    Upper(Namespace),
}

/// How to write a tree.
#[derive(Clone, Copy)]
pub struct WriteOptions<'o> {
    /// What the tree is.
    pub form: Form,
    /// No file shall be younger than this: `SOURCE_DATE_EPOCH`.
    pub newest: Option<Time>,
    /// Whether the root directory itself gets an entry.
    pub root: bool,
    /// Paths (from the root) for which this is true are left out, with all below them.
    pub leave_out: &'o dyn Fn(&Path) -> bool,
}

impl WriteOptions<'_> {
    /// Everything below the root, as it is.
    pub fn new(form: Form) -> Self {
        Self { form, newest: None, root: false, leave_out: &|_| false }
    }
}

/// Writes the tree below `root` to `output`: names in the order of their bytes, a directory before what is in it.
///
/// Sockets are left out: they mean nothing without the process behind them. Files are never opened but regular ones.
///
/// # Errors
/// If a file shrinks while it is read, or has a name that a layer cannot say (`.wh.x`, with [`Form::Upper`]).
pub fn write_tar<W: Write>(root: &Root, output: W, options: &WriteOptions<'_>) -> Result<W, Error> {
    let mut walk = Walk { writer: Writer::new(output), options, links: HashMap::new() };
    if options.root {
        walk.node(root, OsStr::new("."), Path::new(""))?;
    }
    walk.children(root, Path::new(""))?;
    walk.writer.finish().map_err(|source| Error::Write { path: PathBuf::from("."), source })
}

struct Walk<'w, W> {
    writer: Writer<W>,
    options: &'w WriteOptions<'w>,
    /// The first name of each file that has more than one.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Walk<'_, W> {
    fn children(&mut self, dir: &Root, path: &Path) -> Result<(), Error> {
        let mut entries = file::entries(dir).map_err(|source| walk_error(path, source))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let path = path.join(&entry.name);
            if !(self.options.leave_out)(&path) {
                self.child(dir, &entry.name, &path)?;
            }
        }
        Ok(())
    }

    fn child(&mut self, dir: &Root, name: &OsStr, path: &Path) -> Result<(), Error> {
        if path.as_os_str().len() > Limits::default().path {
            return Err(walk_error(path, SysError::new("path", "too long", Errno::NAMETOOLONG)));
        }
        if self.options.form != Form::Tree && name.as_bytes().starts_with(WHITEOUT) {
            let source = io::Error::other("in a layer that name would take another file away");
            return Err(Error::Write { path: path.to_path_buf(), source });
        }
        if self.node(dir, name, path)? {
            let below = dir.child_dir(name).map_err(|source| walk_error(path, source))?;
            self.opaque_mark(&below, path)?;
            self.children(&below, path)?;
        }
        Ok(())
    }

    /// Writes one node; tells whether it is a directory.
    fn node(&mut self, dir: &Root, name: &OsStr, path: &Path) -> Result<bool, Error> {
        let found = file::stat_at(dir, name).map_err(|source| walk_error(path, source))?;
        if self.options.form != Form::Tree && overlay::is_whiteout(&found) {
            let hidden = [WHITEOUT, name.as_bytes()].concat();
            self.instruction(&path.with_file_name(OsStr::from_bytes(&hidden)))?;
            return Ok(false);
        }
        let Some(kind) = self.kind(dir, name, path, &found)? else { return Ok(false) };
        let xattrs = if matches!(kind, Kind::HardLink(_)) { Vec::new() } else { xattrs(dir, name, path)? };
        let entry = self.entry(path, kind, &found, xattrs);
        match entry.kind {
            Kind::File => self.file(dir, name, path, entry)?,
            _ => self.append(path, &entry, io::empty())?,
        }
        Ok(file::type_of(&found) == FileType::Directory)
    }

    fn file(&mut self, dir: &Root, name: &OsStr, path: &Path, mut entry: Entry) -> Result<(), Error> {
        // Not blocking, in case it was replaced by a fifo since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = file::open(dir, name, flags, Mode::empty()).map_err(|source| walk_error(path, source))?;
        let found = file::stat(&opened).map_err(|source| walk_error(path, source))?;
        entry.size = u64::try_from(found.st_size).unwrap_or(0);
        self.append(path, &entry, File::from(opened))
    }

    /// The kind of a node, `None` if it is left out.
    fn kind(&mut self, dir: &Root, name: &OsStr, path: &Path, found: &Stat) -> Result<Option<Kind>, Error> {
        let kind = file::type_of(found);
        if kind != FileType::Directory && found.st_nlink > 1 {
            if let Some(first) = self.links.get(&(found.st_dev, found.st_ino)) {
                return Ok(Some(Kind::HardLink(first.as_os_str().as_bytes().to_vec())));
            }
            self.links.insert((found.st_dev, found.st_ino), path.to_path_buf());
        }
        let device = (file::major(found.st_rdev), file::minor(found.st_rdev));
        Ok(match kind {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Directory),
            FileType::Fifo => Some(Kind::Fifo),
            FileType::CharacterDevice => Some(Kind::CharDevice(device.0, device.1)),
            FileType::BlockDevice => Some(Kind::BlockDevice(device.0, device.1)),
            FileType::Symlink => {
                let target = file::read_link(dir.as_fd(), name).map_err(|source| walk_error(path, source))?;
                Some(Kind::Symlink(target.into_os_string().into_vec()))
            }
            FileType::Socket | FileType::Unknown => None,
        })
    }

    fn entry(&self, path: &Path, kind: Kind, found: &Stat, xattrs: Xattrs) -> Entry {
        let nanoseconds = u32::try_from(found.st_mtime_nsec).unwrap_or(0);
        let mtime = Time { seconds: found.st_mtime, nanoseconds };
        let mut path = path.as_os_str().as_bytes().to_vec();
        if kind == Kind::Directory {
            // The root itself is `./`.
            path.extend_from_slice(if path.is_empty() { b"./" } else { b"/" });
        }
        Entry {
            path,
            kind,
            mode: found.st_mode & 0o7777,
            uid: found.st_uid,
            gid: found.st_gid,
            mtime: self.options.newest.map_or(mtime, |newest| mtime.min(newest)),
            atime: None,
            size: 0,
            extents: None,
            xattrs,
        }
    }

    fn opaque_mark(&mut self, dir: &Root, path: &Path) -> Result<(), Error> {
        let Form::Upper(namespace) = self.options.form else { return Ok(()) };
        match overlay::is_opaque(dir, ".", namespace) {
            Ok(true) => self.instruction(&path.join(OsStr::from_bytes(OPAQUE))),
            Ok(false) => Ok(()),
            Err(source) => Err(walk_error(path, source)),
        }
    }

    /// An empty file whose name says it all.
    fn instruction(&mut self, path: &Path) -> Result<(), Error> {
        let entry = Entry {
            path: path.as_os_str().as_bytes().to_vec(),
            kind: Kind::File,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            atime: None,
            size: 0,
            extents: None,
            xattrs: Vec::new(),
        };
        self.append(path, &entry, io::empty())
    }

    fn append(&mut self, path: &Path, entry: &Entry, data: impl io::Read) -> Result<(), Error> {
        self.writer.append(entry, data).map_err(|source| Error::Write { path: path.to_path_buf(), source })
    }
}

/// The attributes that belong to the image, sorted.
fn xattrs(dir: &Root, name: &OsStr, path: &Path) -> Result<Xattrs, Error> {
    let read = || {
        let names: Vec<OsString> = file::xattr_names_at(dir, name)?;
        let mut found = Vec::new();
        for attribute in names.iter().filter(|attribute| overlay::is_image_attribute(attribute.as_bytes())) {
            if let Some(value) = file::xattr_at(dir, name, attribute)? {
                found.push((attribute.as_bytes().to_vec(), value));
            }
        }
        found.sort();
        Ok(found)
    };
    read().map_err(|source| walk_error(path, source))
}

fn walk_error(path: &Path, source: SysError) -> Error {
    Error::Walk { path: path.to_path_buf(), source }
}
