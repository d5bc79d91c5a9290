//! Work inside a container's network namespace.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::netlink::{Protocol, current_namespace, enter_namespace};

use crate::error::Error;
use crate::netlink::Connection;
use crate::route;

/// Runs `work` with the calling thread in the network namespace `namespace`; back in its own on return.
///
/// # Errors
/// [`Error::Lost`] if there was no way back, whatever `work` came to.
pub(crate) fn within<T>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let home = current_namespace().map_err(|source| Error::Namespace { source })?;
    enter_namespace(namespace).map_err(|source| Error::Namespace { source })?;
    let outcome = work();
    enter_namespace(std::os::fd::AsFd::as_fd(&home)).map_err(|source| Error::Lost { source })?;
    outcome
}

/// Brings `lo` up in `namespace`: all the network that a container without one has.
///
/// The calling thread is in `namespace` for a moment; other threads never are.
pub fn loopback_up(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let open = || Connection::open(Protocol::Route).map_err(|source| Error::Loopback { source });
    within(namespace, open)?.run(&[route::loopback_up()]).map_err(|source| Error::Loopback { source })
}

/// Writes a setting of the calling thread's network namespace: `ipv4/ip_forward`, below `/proc/sys/net`.
pub(crate) fn set_sysctl(name: &str, value: &str) -> Result<(), Error> {
    let path = sysctl_path(name);
    write(&path, value).map_err(|source| Error::Sysctl { path, source })
}

fn write(path: &Path, value: &str) -> onggi_sys::Result<()> {
    let opened = file::open(CWD, path, OFlags::WRONLY, Mode::empty())?;
    file::write_all(&opened, value.as_bytes())
}

/// Makes a setting what it should be; writes only if it is something else. Whether it wrote.
pub(crate) fn ensure_sysctl(name: &str, value: &str) -> Result<bool, Error> {
    let path = sysctl_path(name);
    let read =
        || -> onggi_sys::Result<Vec<u8>> { file::read_all(file::open(CWD, &path, OFlags::RDONLY, Mode::empty())?, 64) };
    match read() {
        Ok(found) if found.trim_ascii() == value.as_bytes() => Ok(false),
        Ok(_) => set_sysctl(name, value).map(|()| true),
        Err(source) => Err(Error::Sysctl { path, source }),
    }
}

fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(name)
}
