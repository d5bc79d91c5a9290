//! One entry becomes one node.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use onggi_sys::file::{self, FileType, Mode, OFlags};
use onggi_sys::{Errno, Error as SysError};

use super::attributes::{Made, mode, own, times};
use super::walk::{Dir, remove_below};
use super::{Applier, Fault};
use crate::name::{self, Target};
use crate::overlay;
use crate::tar::{self, Kind};

impl Applier<'_> {
    /// Makes `entry` at `path`, in place of whatever this layer had there.
    pub(super) fn place(&mut self, path: &Path, entry: &tar::Entry, data: &mut impl BufRead) -> Result<(), Fault> {
        let name = path.file_name().ok_or(Fault::Entry("it has no name"))?;
        let path = self.walk.enter(path.parent().unwrap_or(Path::new("")))?.join(name);
        self.applied.finish.links.remove(&path);
        match &entry.kind {
            Kind::Directory => self.directory(&path, name, entry),
            Kind::File => self.file(&path, name, entry, data),
            Kind::HardLink(target) => self.hard_link(&path, name, target),
            Kind::Symlink(target) => self.symlink(&path, name, target, entry),
            // That is how overlayfs itself writes a whiteout; whoever archived an upper directory as it is meant one.
            Kind::CharDevice(0, 0) => self.whiteout(&path),
            Kind::CharDevice(major, minor) => {
                self.node(&path, name, FileType::CharacterDevice, (*major, *minor), entry)
            }
            Kind::BlockDevice(major, minor) => self.node(&path, name, FileType::BlockDevice, (*major, *minor), entry),
            Kind::Fifo => self.node(&path, name, FileType::Fifo, (0, 0), entry),
        }
    }

    /// The archive's entry for the root directory itself.
    pub(super) fn root(&mut self, entry: &tar::Entry) -> Result<(), Fault> {
        if entry.kind != Kind::Directory {
            return Err(Fault::Entry("the root is a directory"));
        }
        self.applied.finish.root_stated = true;
        self.walk.enter(Path::new(""))?;
        self.dress_directory(Path::new(""), OsStr::new("."), entry)
    }

    /// Refuses a whiteout that is more than an empty file.
    pub(super) fn instruction(&self, entry: &tar::Entry) -> Result<(), Fault> {
        match entry.kind {
            // aufs made all its whiteouts hard links to one file.
            Kind::File | Kind::HardLink(_) => Ok(()),
            _ => Err(Fault::Entry("a whiteout is an empty file")),
        }
    }

    /// Hides `path` of the layers below; what this layer has there stays.
    pub(super) fn whiteout(&mut self, path: &Path) -> Result<(), Fault> {
        let name = path.file_name().ok_or(Fault::Entry("it has no name"))?;
        let path = self.walk.enter(path.parent().unwrap_or(Path::new("")))?.join(name);
        match overlay::whiteout(self.walk.here(), name) {
            Err(error) if error.is(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        if file::type_of(&file::stat_at(self.walk.here(), name)?) == FileType::Directory {
            overlay::make_opaque(self.walk.here(), name, self.options.namespace)?;
            self.walk.set_explicit(&path);
        }
        Ok(())
    }

    /// Hides what the layers below have in the directory `path`.
    pub(super) fn opaque(&mut self, path: &Path) -> Result<(), Fault> {
        if self.walk.enter(path)?.as_os_str().is_empty() {
            // overlayfs merges roots whatever their attributes say.
            self.applied.finish.root_opaque = true;
            return Ok(());
        }
        Ok(overlay::make_opaque(self.walk.here(), ".", self.options.namespace)?)
    }

    fn directory(&mut self, path: &Path, name: &OsStr, entry: &tar::Entry) -> Result<(), Fault> {
        match file::mkdir(self.walk.here(), name, Mode::RWXU) {
            Err(error) if error.is(Errno::EXIST) => self.make_way_for_directory(path, name)?,
            result => result?,
        }
        self.dress_directory(path, name, entry)
    }

    /// A directory stays if there is one. Anything else goes, and took what is below with it: the new one is opaque.
    fn make_way_for_directory(&mut self, path: &Path, name: &OsStr) -> Result<(), Fault> {
        if file::type_of(&file::stat_at(self.walk.here(), name)?) == FileType::Directory {
            return Ok(());
        }
        self.walk.clear(name, path)?;
        file::mkdir(self.walk.here(), name, Mode::RWXU)?;
        Ok(overlay::make_opaque(self.walk.here(), name, self.options.namespace)?)
    }

    fn dress_directory(&mut self, path: &Path, name: &OsStr, entry: &tar::Entry) -> Result<(), Fault> {
        let made = Made::Named(self.walk.here().as_fd(), name);
        own(made, path, entry, self.options, &mut self.applied)?;
        made.chmod(mode(entry) | Mode::RWXU)?;
        let late = (!mode(entry).contains(Mode::RWXU)).then(|| mode(entry));
        self.walk.state(path, Dir { implicit: false, times: times(entry), mode: late });
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &OsStr, entry: &tar::Entry, data: &mut impl BufRead) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let made = self.make(path, name, |dir| file::open(dir, name, flags, Mode::RUSR | Mode::WUSR))?;
        let made = File::from(made);
        self.applied.bytes += write_data(&made, entry, data)?;
        own(Made::Open(made.as_fd()), path, entry, self.options, &mut self.applied)?;
        file::chmod(&made, mode(entry))?;
        Ok(file::set_times(&made, &times(entry))?)
    }

    fn symlink(&mut self, path: &Path, name: &OsStr, target: &[u8], entry: &tar::Entry) -> Result<(), Fault> {
        if target.is_empty() || target.contains(&0) {
            return Err(Fault::Entry("it is a link to nothing"));
        }
        let target = Path::new(OsStr::from_bytes(target));
        self.make(path, name, |dir| file::symlink(target, dir, name))?;
        let made = Made::Named(self.walk.here().as_fd(), name);
        own(made, path, entry, self.options, &mut self.applied)?;
        Ok(made.set_times(&times(entry))?)
    }

    fn node(
        &mut self,
        path: &Path,
        name: &OsStr,
        kind: FileType,
        (major, minor): (u32, u32),
        entry: &tar::Entry,
    ) -> Result<(), Fault> {
        let device = file::makedev(major, minor);
        match self.make(path, name, |dir| file::mknod(dir, name, kind, Mode::RUSR | Mode::WUSR, device)) {
            Err(Fault::Kernel(error)) if error.is(Errno::PERM) && kind != FileType::Fifo => {
                self.applied.note(path, "device node left out: only root of the machine can make one");
                return Ok(());
            }
            result => result?,
        }
        let made = Made::Named(self.walk.here().as_fd(), name);
        own(made, path, entry, self.options, &mut self.applied)?;
        made.chmod(mode(entry))?;
        Ok(made.set_times(&times(entry))?)
    }

    /// Links to the file `target` of this layer, or remembers the link if only a layer below can have it.
    fn hard_link(&mut self, path: &Path, name: &OsStr, target: &[u8]) -> Result<(), Fault> {
        let Ok(Target::Path(target)) = name::target(target) else {
            return Err(Fault::Entry("it is a hard link out of the root or to no file"));
        };
        let Some((dir, found)) = self.find(&target)? else {
            return self.link_later(path, name, target);
        };
        let target_name = target.file_name().ok_or(Fault::Entry("it has no name"))?;
        if overlay::is_whiteout(&found) {
            return Err(Fault::Entry("it is a hard link to a file that its own layer removes"));
        }
        if file::type_of(&found) == FileType::Directory {
            return Err(Fault::Entry("it is a hard link to a directory"));
        }
        match file::link(&dir, target_name, self.walk.here(), name) {
            Err(error) if error.is(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        let existing = file::stat_at(self.walk.here(), name)?;
        if (existing.st_dev, existing.st_ino) == (found.st_dev, found.st_ino) {
            return Ok(());
        }
        self.clear(path, name)?;
        Ok(file::link(&dir, target_name, self.walk.here(), name)?)
    }

    /// The directory of `target` in this layer and what is there; `None` if this layer has nothing there.
    fn find(&self, target: &Path) -> Result<Option<(onggi_fs::Root, file::Stat)>, Fault> {
        let parent = target.parent().unwrap_or(Path::new(""));
        let name = target.file_name().ok_or(Fault::Entry("it has no name"))?;
        let found = self.walk.root().dir(parent).and_then(|dir| file::stat_at(&dir, name).map(|stat| (dir, stat)));
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn link_later(&mut self, path: &Path, name: &OsStr, target: PathBuf) -> Result<(), Fault> {
        match self.clear(path, name) {
            Err(Fault::Kernel(error)) if error.is(Errno::NOENT) => {}
            result => result?,
        }
        if target == path {
            return Err(Fault::Entry("it is a hard link to itself"));
        }
        self.applied.finish.links.insert(path.to_path_buf(), target);
        Ok(())
    }

    /// Makes something at a name that is free, or is made free.
    fn make<T>(
        &mut self,
        path: &Path,
        name: &OsStr,
        make: impl Fn(&onggi_fs::Root) -> Result<T, SysError>,
    ) -> Result<T, Fault> {
        match make(self.walk.here()) {
            Err(error) if error.is(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        self.clear(path, name)?;
        Ok(make(self.walk.here())?)
    }

    /// Removes what this layer has at `path`.
    fn clear(&mut self, path: &Path, name: &OsStr) -> Result<(), Fault> {
        self.walk.clear(name, path)?;
        remove_below(&mut self.applied.finish.links, path);
        Ok(())
    }
}

/// Writes the data of `entry`, with holes where it has holes; tells how many bytes.
fn write_data(file: &File, entry: &tar::Entry, data: &mut impl BufRead) -> Result<u64, Fault> {
    let Some(extents) = &entry.extents else { return copy(file, 0, entry.size, data) };
    let mut written = 0;
    for extent in extents {
        written += copy(file, extent.offset, extent.length, data)?;
    }
    file::truncate(file, entry.size)?;
    Ok(written)
}

/// Writes straight out of the reader's buffer: no byte is copied on the way.
fn copy(file: &File, mut offset: u64, length: u64, data: &mut impl BufRead) -> Result<u64, Fault> {
    let mut left = length;
    while left > 0 {
        let buffer = data.fill_buf().map_err(|error| Fault::Archive(tar::Error::from_read(error)))?;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return Err(Fault::Archive(tar::Error::Truncated));
        }
        file.write_all_at(&buffer[..count], offset).map_err(|error| write_error(&error))?;
        data.consume(count);
        (offset, left) = (offset + count as u64, left - count as u64);
    }
    Ok(length)
}

fn write_error(error: &io::Error) -> Fault {
    let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    Fault::Kernel(SysError::new("pwrite64", "data", errno))
}
