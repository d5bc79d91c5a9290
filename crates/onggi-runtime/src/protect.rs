//! Our own binary, on a mount that nothing inside a container can write through (CVE-2019-5736).
//!
//! What a container executes can be us (`#!/proc/self/exe`), and what it finds in `/proc/PID/exe` can be us too, while
//! we enter. A descriptor reached that way is of the mount that the binary was executed from: here an overlay without an
//! upper directory, in no mount namespace. It has nothing to write to even for somebody who clears its read-only flag,
//! which whoever may mount can do to a detached mount of another's (and so to a mere read-only copy of the host's
//! mount). docs/adr/0005 has the measurements.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::mount::{FsContext, MountAttrFlags};
use onggi_sys::{Errno, Result as SysResult, memory_file, process};

use crate::{Error, Result};

const OWN: &str = "/proc/self/exe";
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// Opens our own binary where nothing can write to it: on a read-only overlay that no namespace contains, or, without
/// the right to mount, in a sealed copy in memory.
///
/// Executed by this descriptor, `/proc/self/exe` of the new process leads there.
pub fn exe() -> Result<OwnedFd> {
    let step = || Error::step("protect our own binary from the container");
    let own = file::open(CWD, OWN, OFlags::PATH, Mode::empty()).map_err(step())?;
    if is_read_only_overlay(&own).map_err(step())? {
        return Ok(own);
    }
    overlay(&own).or_else(|_| sealed_copy()).map_err(step())
}

/// Whether this process was executed by such a descriptor.
pub fn is_protected() -> Result<bool> {
    let step = || Error::step("look at our own binary");
    let own = file::open(CWD, OWN, OFlags::PATH, Mode::empty()).map_err(step())?;
    Ok(is_read_only_overlay(&own).map_err(step())? || memory_file::is_sealed(OWN))
}

/// Executes ourselves again by such a descriptor, unless that has happened.
///
/// Whether it has is asked of the kernel: an environment or argument that says so could be anybody's.
pub(crate) fn ensure(args: &[OsString]) -> Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let exe = exe()?;
    let c_string = |text: &std::ffi::OsStr| {
        CString::new(text.as_bytes()).map_err(|_| Error::invalid("arguments", "hold a NUL byte"))
    };
    // The zeroth argument is what the process is known by, and what tells the binary which program it is.
    let name = std::env::args_os().next().unwrap_or_else(|| "onggi-runtime".into());
    let before = std::env::args_os().count().saturating_sub(args.len());
    let skipped: Vec<OsString> = std::env::args_os().skip(1).take(before.saturating_sub(1)).collect();
    let words = std::iter::once(&name).chain(&skipped).chain(args);
    let args = words.map(|word| c_string(word)).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os().map(|(key, value)| {
        let mut entry = key;
        entry.push("=");
        entry.push(value);
        c_string(&entry)
    });
    let env = env.collect::<Result<Vec<_>>>()?;
    Err(process::execute_fd(&exe, &args, &env)).map_err(Error::step("execute our own protected binary"))
}

fn is_read_only_overlay(fd: impl AsFd) -> SysResult<bool> {
    let kind = u64::try_from(file::statfs(&fd)?.f_type);
    Ok(kind == Ok(OVERLAY_MAGIC) && file::is_read_only_mount(fd)?)
}

/// A detached overlay of the binary's directory and an empty one: no upper directory, so nothing to write to.
fn overlay(own: &OwnedFd) -> SysResult<OwnedFd> {
    let path = file::read_link(CWD, OWN)?;
    let unusable = || onggi_sys::Error::new("readlink", format!("{}, not our binary", path.display()), Errno::STALE);
    let (parent, name) = path.parent().zip(path.file_name()).ok_or_else(unusable)?;
    let dir = file::open(CWD, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let empty = FsContext::open("tmpfs")?.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let context = FsContext::open("overlay")?;
    // By descriptor: a directory's name may hold the characters that separate lower directories.
    let lower = format!("{}:{}", file::proc_path(&dir).display(), file::proc_path(&empty).display());
    context.set("lowerdir", &lower)?;
    let mounted = context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    let found = file::open(&mounted, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    // The binary may have been replaced under its name since it was executed.
    let (ours, there) = (file::stat(own)?, file::stat(&found)?);
    let same = ours.st_ino == there.st_ino && ours.st_size == there.st_size && ours.st_mtime == there.st_mtime;
    if same { Ok(found) } else { Err(unusable()) }
}

/// A copy in memory that can never be changed again: slow, and 14 MB of it, but asks for no right.
fn sealed_copy() -> SysResult<OwnedFd> {
    let own = file::open(CWD, OWN, OFlags::RDONLY, Mode::empty())?;
    memory_file::sealed_copy(c"onggi", &own)
}
