//! `tmpcopyup`: a new tmpfs begins with what the directory below it has.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use onggi_sys::file::{self, FileType, Mode, OFlags};
use onggi_sys::{Error, Result};

/// The largest file taken along; a tmpfs is memory.
const LARGEST: usize = 64 << 20;

/// Copies everything below `from` into `to`. Links are copied as links, never followed.
pub(super) fn copy_up(from: impl AsFd, to: impl AsFd) -> Result<()> {
    for entry in file::entries(&from)? {
        copy(from.as_fd(), to.as_fd(), Path::new(&entry.name))?;
    }
    Ok(())
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &Path) -> Result<()> {
    let found = file::stat_at(from, name)?;
    let mode = Mode::from_raw_mode(found.st_mode & 0o7777);
    match file::type_of(&found) {
        FileType::Directory => {
            file::mkdir(to, name, mode)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let (source, copy) = (file::open(from, name, flags, 0.into())?, file::open(to, name, flags, 0.into())?);
            copy_up(&source, &copy)?;
        }
        FileType::RegularFile => {
            let source = file::open(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, 0.into())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            file::write_all(file::open(to, name, flags, mode)?, &file::read_all(source, LARGEST)?)?;
        }
        FileType::Symlink => file::symlink(file::read_link(from, name)?, to, name)?,
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
            file::mknod(to, name, file::type_of(&found), mode, found.st_rdev)?;
        }
        FileType::Unknown => return Err(Error::new("copy", name.display().to_string(), onggi_sys::Errno::INVAL)),
    }
    file::chown_at(to, name, found.st_uid, found.st_gid)?;
    // chown clears set-user-ID bits, so the mode goes on after the owner.
    if file::type_of(&found) != FileType::Symlink {
        file::chmod_at(to, name, mode)?;
    }
    Ok(())
}
