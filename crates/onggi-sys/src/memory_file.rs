//! Files in memory, and the seals that close them for good. memfd_create(2), fcntl(2) `F_ADD_SEALS`.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use crate::{Error, Result, file};

const CLOSED: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// An empty file without a name, closed on exec.
pub fn create(name: &CStr) -> Result<OwnedFd> {
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|errno| Error::new("memfd_create", name.to_string_lossy(), errno))
}

/// A copy of `source`, from its offset on, that nobody can write, grow, shrink or unseal.
pub fn sealed_copy(name: &CStr, source: impl AsFd) -> Result<OwnedFd> {
    let copy = create(name)?;
    loop {
        let sent = rustix::fs::sendfile(&copy, &source, None, 1 << 30)
            .map_err(|errno| Error::new("sendfile", name.to_string_lossy(), errno))?;
        if sent == 0 {
            break;
        }
    }
    rustix::fs::fcntl_add_seals(&copy, CLOSED).map_err(|errno| Error::new("fcntl", "F_ADD_SEALS", errno))?;
    Ok(copy)
}

/// Whether the file at `path` is in memory and sealed so.
pub fn is_sealed(path: impl AsRef<Path>) -> bool {
    let opened = file::open(file::CWD, path, OFlags::RDONLY, 0.into());
    opened.is_ok_and(|fd| rustix::fs::fcntl_get_seals(&fd).is_ok_and(|seals| seals.contains(CLOSED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_stays_as_it_is() {
        let source = file::open(file::CWD, "/proc/self/exe", OFlags::RDONLY, 0.into()).unwrap();
        let copy = sealed_copy(c"copy", &source).unwrap();
        assert_eq!(file::stat(&copy).unwrap().st_size, file::stat(&source).unwrap().st_size);
        assert!(file::write_all(&copy, b"x").unwrap_err().is(crate::Errno::PERM));
        assert!(is_sealed(file::proc_path(&copy)));
        assert!(!is_sealed("/proc/self/exe"));
    }
}
