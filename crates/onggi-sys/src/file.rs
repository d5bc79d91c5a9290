//! Files, directories and their attributes, always relative to a descriptor: openat2(2) and its relatives.
//!
//! A path given here is used as it stands. Untrusted paths belong to `onggi_fs::Root`, which resolves them inside a
//! root first.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, retry_on_intr};

use crate::{Error, Result};

pub use rustix::fs::{
    Access, AtFlags, CWD, Dev, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RawMode, RenameFlags,
    ResolveFlags, Stat, StatFs, StatxFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, XattrFlags, major, makedev,
    minor,
};
pub use rustix::process::{Gid, Uid};

/// Opens `path` relative to `dir`. openat(2); `O_CLOEXEC` is added always.
pub fn open(dir: impl AsFd, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let path = path.as_ref();
    retry_on_intr(|| rustix::fs::openat(&dir, path, flags | OFlags::CLOEXEC, mode))
        .map_err(|errno| Error::new("openat", format!("{}, {}", path.display(), flag_names(flags)), errno))
}

/// Opens `path` relative to `dir` under the limits of `resolve`. openat2(2); `O_CLOEXEC` is added always.
///
/// Retries `EAGAIN`, with which the kernel answers a resolution that raced with a rename (at most 128 times).
pub fn open2(
    dir: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    let path = path.as_ref();
    let mut attempts = 0;
    loop {
        match rustix::fs::openat2(&dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if attempts < 128 => attempts += 1,
            other => {
                return other.map_err(|errno| {
                    Error::new("openat2", format!("{}, {}", path.display(), flag_names(flags)), errno)
                });
            }
        }
    }
}

/// Opens again the file behind `fd` (which may be `O_PATH`) with other flags, through `/proc/self/fd`.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    open(CWD, proc_path(&fd), flags, Mode::empty())
}

/// The `/proc/self/fd/N` name of a descriptor, for calls that take only paths.
pub fn proc_path(fd: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// The path that the kernel knows for `fd`; for messages only.
pub fn name_of(fd: impl AsFd) -> PathBuf {
    std::fs::read_link(proc_path(fd)).unwrap_or_else(|_| PathBuf::from("?"))
}

/// A second descriptor for the same open file. fcntl(2) `F_DUPFD_CLOEXEC`.
pub fn dup(fd: impl AsFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(|errno| Error::new("fcntl", "F_DUPFD_CLOEXEC", errno))
}

/// A second descriptor for what `number` (0, 1 or 2) is open on.
pub fn dup_number(number: i32) -> Result<OwnedFd> {
    if !(0..=2).contains(&number) {
        return Err(Error::new("fcntl", number.to_string(), Errno::BADF));
    }
    // SAFETY: nothing in this program closes the standard streams, and the borrow ends with this call.
    dup(unsafe { BorrowedFd::borrow_raw(number) })
}

/// What the file behind `fd` is. fstat(2).
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    rustix::fs::fstat(&fd).map_err(|errno| Error::new("fstat", name_of(&fd).display().to_string(), errno))
}

/// What `path` relative to `dir` is, a link itself rather than what it names. newfstatat(2) `AT_SYMLINK_NOFOLLOW`.
pub fn stat_at(dir: impl AsFd, path: impl AsRef<Path>) -> Result<Stat> {
    let path = path.as_ref();
    rustix::fs::statat(&dir, path, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::new("newfstatat", path.display().to_string(), errno))
}

/// The type in a [`Stat`]'s mode.
pub fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What file system `fd` is on. fstatfs(2).
pub fn statfs(fd: impl AsFd) -> Result<StatFs> {
    rustix::fs::fstatfs(&fd).map_err(|errno| Error::new("fstatfs", name_of(&fd).display().to_string(), errno))
}

/// Whether what `fd` was reached through is a read-only mount (or file system). fstatvfs(3) `ST_RDONLY`.
pub fn is_read_only_mount(fd: impl AsFd) -> Result<bool> {
    rustix::fs::fstatvfs(&fd)
        .map(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
        .map_err(|errno| Error::new("fstatfs", name_of(&fd).display().to_string(), errno))
}

/// Makes a directory. mkdirat(2).
pub fn mkdir(dir: impl AsFd, path: impl AsRef<Path>, mode: Mode) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::mkdirat(&dir, path, mode).map_err(|errno| Error::new("mkdirat", path.display().to_string(), errno))
}

/// Makes a device, fifo or socket node. mknodat(2).
pub fn mknod(dir: impl AsFd, path: impl AsRef<Path>, kind: FileType, mode: Mode, dev: Dev) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::mknodat(&dir, path, kind, mode, dev)
        .map_err(|errno| Error::new("mknodat", path.display().to_string(), errno))
}

/// Makes a symbolic link at `path` that says `target`. symlinkat(2).
pub fn symlink(target: impl AsRef<Path>, dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
    let (target, path) = (target.as_ref(), path.as_ref());
    rustix::fs::symlinkat(target, &dir, path)
        .map_err(|errno| Error::new("symlinkat", format!("{}, {}", target.display(), path.display()), errno))
}

/// Makes a hard link. linkat(2) without `AT_SYMLINK_FOLLOW`.
pub fn link(from_dir: impl AsFd, from: impl AsRef<Path>, to_dir: impl AsFd, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    rustix::fs::linkat(&from_dir, from, &to_dir, to, AtFlags::empty())
        .map_err(|errno| Error::new("linkat", format!("{}, {}", from.display(), to.display()), errno))
}

/// Gives a name to the open file `fd` (which may be an `O_TMPFILE`). linkat(2) through `/proc/self/fd`.
pub fn link_fd(fd: impl AsFd, to_dir: impl AsFd, to: impl AsRef<Path>) -> Result<()> {
    let to = to.as_ref();
    rustix::fs::linkat(CWD, proc_path(&fd), &to_dir, to, AtFlags::SYMLINK_FOLLOW)
        .map_err(|errno| Error::new("linkat", format!("fd, {}", to.display()), errno))
}

/// What a symbolic link says. readlinkat(2).
pub fn read_link(dir: impl AsFd, path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    rustix::fs::readlinkat(&dir, path, Vec::new())
        .map(|target| PathBuf::from(OsString::from_vec(target.into_bytes())))
        .map_err(|errno| Error::new("readlinkat", path.display().to_string(), errno))
}

/// Removes a name; a directory only with `AtFlags::REMOVEDIR`. unlinkat(2).
pub fn unlink(dir: impl AsFd, path: impl AsRef<Path>, flags: AtFlags) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::unlinkat(&dir, path, flags).map_err(|errno| Error::new("unlinkat", path.display().to_string(), errno))
}

/// Moves a name. renameat2(2).
pub fn rename(
    from_dir: impl AsFd,
    from: impl AsRef<Path>,
    to_dir: impl AsFd,
    to: impl AsRef<Path>,
    flags: RenameFlags,
) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    rustix::fs::renameat_with(&from_dir, from, &to_dir, to, flags)
        .map_err(|errno| Error::new("renameat2", format!("{}, {}", from.display(), to.display()), errno))
}

/// Sets the mode of an open file (not `O_PATH`). fchmod(2).
pub fn chmod(fd: impl AsFd, mode: Mode) -> Result<()> {
    rustix::fs::fchmod(&fd, mode)
        .map_err(|errno| Error::new("fchmod", format!("{}, {:o}", name_of(&fd).display(), mode.bits()), errno))
}

/// Sets the mode of `path`, which must not be a symbolic link. fchmodat(2).
pub fn chmod_at(dir: impl AsFd, path: impl AsRef<Path>, mode: Mode) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::chmodat(&dir, path, mode, AtFlags::empty())
        .map_err(|errno| Error::new("fchmodat", format!("{}, {:o}", path.display(), mode.bits()), errno))
}

/// Sets the owner of an open file. fchown(2).
pub fn chown(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|errno| Error::new("fchown", format!("{}, {uid}, {gid}", name_of(&fd).display()), errno))
}

/// Sets the user of an open file and leaves its group. fchown(2).
pub fn chown_user(fd: impl AsFd, uid: u32) -> Result<()> {
    rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), None)
        .map_err(|errno| Error::new("fchown", format!("{}, {uid}", name_of(&fd).display()), errno))
}

/// Sets the owner of `path`, of a link itself. fchownat(2) `AT_SYMLINK_NOFOLLOW`.
pub fn chown_at(dir: impl AsFd, path: impl AsRef<Path>, uid: u32, gid: u32) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::chownat(&dir, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::new("fchownat", format!("{}, {uid}, {gid}", path.display()), errno))
}

/// Sets the times of an open file. futimens(2).
pub fn set_times(fd: impl AsFd, times: &Timestamps) -> Result<()> {
    rustix::fs::futimens(&fd, times).map_err(|errno| Error::new("utimensat", name_of(&fd).display().to_string(), errno))
}

/// Sets the times of `path`, of a link itself. utimensat(2) `AT_SYMLINK_NOFOLLOW`.
pub fn set_times_at(dir: impl AsFd, path: impl AsRef<Path>, times: &Timestamps) -> Result<()> {
    let path = path.as_ref();
    rustix::fs::utimensat(&dir, path, times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::new("utimensat", path.display().to_string(), errno))
}

/// Sets an extended attribute of an open file. fsetxattr(2).
pub fn set_xattr(fd: impl AsFd, name: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
    let name = name.as_ref();
    rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty())
        .map_err(|errno| Error::new("fsetxattr", format!("{}, {}", name_of(&fd).display(), name.display()), errno))
}

/// Sets an extended attribute of `path` itself, be it a link. lsetxattr(2) through `/proc/self/fd/DIR/NAME`.
///
/// `path` must be one component: the directory is pinned by its descriptor, the last name is not followed.
pub fn set_xattr_at(dir: impl AsFd, path: impl AsRef<Path>, name: impl AsRef<OsStr>, value: &[u8]) -> Result<()> {
    let (full, name) = (proc_path(&dir).join(path.as_ref()), name.as_ref());
    rustix::fs::lsetxattr(&full, name, value, XattrFlags::empty())
        .map_err(|errno| Error::new("lsetxattr", format!("{}, {}", path.as_ref().display(), name.display()), errno))
}

/// The value of an extended attribute of `path` itself; `None` where there is none. lgetxattr(2).
///
/// `path` must be one component, or empty for the directory itself.
pub fn xattr_at(dir: impl AsFd, path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> Result<Option<Vec<u8>>> {
    let (full, name) = (proc_path(&dir).join(path.as_ref()), name.as_ref());
    let mut value = vec![0; 64 * 1024];
    match rustix::fs::lgetxattr(&full, name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(Error::new("lgetxattr", format!("{}, {}", path.as_ref().display(), name.display()), errno)),
    }
}

/// The names of the extended attributes of `path` itself. llistxattr(2).
///
/// `path` must be one component, or empty for the directory itself.
pub fn xattr_names_at(dir: impl AsFd, path: impl AsRef<Path>) -> Result<Vec<OsString>> {
    let full = proc_path(&dir).join(path.as_ref());
    let mut names = vec![0; 64 * 1024];
    match rustix::fs::llistxattr(&full, names.as_mut_slice()) {
        Ok(length) => Ok(names[..length]
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| OsStr::from_bytes(name).to_os_string())
            .collect()),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(Error::new("llistxattr", path.as_ref().display().to_string(), errno)),
    }
}

/// A name in a directory and what it is, as the directory says (`FileType::Unknown` on file systems that do not).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, one component.
    pub name: OsString,
    /// Its type.
    pub kind: FileType,
    /// Its inode number.
    pub inode: u64,
}

/// The names in the directory `dir`, without `.` and `..`, in the kernel's order. getdents64(2).
///
/// Reads through a fresh description, so the offset of `dir` (which may be `O_PATH`) is not moved.
pub fn entries(dir: impl AsFd) -> Result<Vec<Entry>> {
    let readable = open(&dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let failed = |errno| Error::new("getdents64", name_of(&dir).display().to_string(), errno);
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::new(readable).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            found.push(Entry {
                name: OsStr::from_bytes(name).to_os_string(),
                kind: entry.file_type(),
                inode: entry.ino(),
            });
        }
    }
    Ok(found)
}

/// Writes data and attributes of `fd` to the disk. fsync(2).
pub fn sync(fd: impl AsFd) -> Result<()> {
    retry_on_intr(|| rustix::fs::fsync(&fd))
        .map_err(|errno| Error::new("fsync", name_of(&fd).display().to_string(), errno))
}

/// Writes everything of the file system that holds `fd` to the disk. syncfs(2).
pub fn sync_all(fd: impl AsFd) -> Result<()> {
    rustix::fs::syncfs(&fd).map_err(|errno| Error::new("syncfs", name_of(&fd).display().to_string(), errno))
}

/// Takes or leaves an advisory lock on the open file. flock(2).
pub fn flock(fd: impl AsFd, operation: FlockOperation) -> Result<()> {
    retry_on_intr(|| rustix::fs::flock(&fd, operation))
        .map_err(|errno| Error::new("flock", name_of(&fd).display().to_string(), errno))
}

/// Sets the length of an open file. ftruncate(2).
pub fn truncate(fd: impl AsFd, length: u64) -> Result<()> {
    retry_on_intr(|| rustix::fs::ftruncate(&fd, length))
        .map_err(|errno| Error::new("ftruncate", format!("{}, {length}", name_of(&fd).display()), errno))
}

/// Writes all of `data` at the file's offset. write(2), repeated.
pub fn write_all(fd: impl AsFd, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(&fd, data))
            .map_err(|errno| Error::new("write", name_of(&fd).display().to_string(), errno))?;
        data = &data[written..];
    }
    Ok(())
}

/// Writes once and answers in bare error numbers: allocates nothing, for a child between clone and exec. write(2).
pub fn write_bare(fd: impl AsFd, data: &[u8]) -> std::result::Result<usize, Errno> {
    retry_on_intr(|| rustix::io::write(&fd, data))
}

/// Reads up to `buffer.len()` bytes; 0 at the end. read(2).
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    retry_on_intr(|| rustix::io::read(&fd, &mut *buffer))
        .map_err(|errno| Error::new("read", name_of(&fd).display().to_string(), errno))
}

/// Reads the rest of the file, which must not be longer than `limit` bytes: then `EFBIG`.
pub fn read_all(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match read(&fd, &mut buffer)? {
            0 => return Ok(data),
            count if data.len() + count > limit => {
                return Err(Error::new("read", name_of(&fd).display().to_string(), Errno::FBIG));
            }
            count => data.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Sets the offset of an open file to its beginning. lseek(2).
pub fn rewind(fd: impl AsFd) -> Result<()> {
    rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))
        .map(drop)
        .map_err(|errno| Error::new("lseek", name_of(&fd).display().to_string(), errno))
}

/// A path as the kernel takes it.
///
/// # Errors
/// `EINVAL` if it holds a NUL byte.
pub fn c_path(path: impl AsRef<Path>) -> Result<CString> {
    let path = path.as_ref();
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new("path", path.display().to_string(), Errno::INVAL))
}

/// Names `flags` as strace does, without the `O_`.
fn flag_names(flags: OFlags) -> String {
    let access = match flags & OFlags::RWMODE {
        OFlags::WRONLY => "WRONLY",
        OFlags::RDWR => "RDWR",
        _ if flags.contains(OFlags::PATH) => "PATH",
        _ => "RDONLY",
    };
    let mut names = access.to_owned();
    for (flag, name) in [
        (OFlags::CREATE, "CREAT"),
        (OFlags::EXCL, "EXCL"),
        (OFlags::TRUNC, "TRUNC"),
        (OFlags::APPEND, "APPEND"),
        (OFlags::DIRECTORY, "DIRECTORY"),
        (OFlags::NOFOLLOW, "NOFOLLOW"),
        (OFlags::TMPFILE, "TMPFILE"),
    ] {
        if flags.contains(flag) {
            names.push('|');
            names.push_str(name);
        }
    }
    names
}

/// Whether `fd` answers as `BorrowedFd` of an open file. fcntl(2) `F_GETFD`.
pub fn is_open(fd: BorrowedFd<'_>) -> bool {
    rustix::io::fcntl_getfd(fd).is_ok()
}
