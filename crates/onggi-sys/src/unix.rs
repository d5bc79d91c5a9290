//! Unix stream sockets, named relative to a directory: pairs, listeners, credentials of the peer.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    recv, send, socket_with, socketpair, sockopt,
};

use crate::file::{self, Mode};
use crate::{Error, Result};

/// Who is at the other end of a socket, as the kernel saw it when the connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process, in our pid namespace; 0 if it is not visible there.
    pub pid: u32,
    /// Its effective user, in our user namespace.
    pub uid: u32,
    /// Its effective group there.
    pub gid: u32,
}

/// Two connected stream sockets, closed on exec. socketpair(2).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::new("socketpair", "AF_UNIX, STREAM", errno))
}

/// A listening, non-blocking stream socket called `name` in `dir`, with `mode` from its first moment.
///
/// The address goes through `/proc/self/fd`, so it never meets the 108 bytes that a socket's path may have.
pub fn listen_at(dir: impl AsFd, name: impl AsRef<Path>, mode: Mode, backlog: i32) -> Result<OwnedFd> {
    let name = name.as_ref();
    let socket = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    // bind(2) gives the name the mode of the socket: set before, there is no moment with a wider one.
    file::chmod(&socket, mode)?;
    bind(&socket, &address(&dir, name)?).map_err(|errno| Error::new("bind", shown(&dir, name), errno))?;
    listen(&socket, backlog).map_err(|errno| Error::new("listen", shown(&dir, name), errno))?;
    Ok(socket)
}

/// Connects to the stream socket called `name` in `dir`. connect(2).
///
/// # Errors
/// `ECONNREFUSED` if nobody listens any more, `EAGAIN` if the queue of the listener is full.
pub fn connect_at(dir: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd> {
    let name = name.as_ref();
    let socket = stream(SocketFlags::CLOEXEC)?;
    retry_on_intr(|| connect(&socket, &address_raw(&dir, name)?))
        .map_err(|errno| Error::new("connect", shown(&dir, name), errno))?;
    Ok(socket)
}

/// The next connection of a non-blocking listener, non-blocking and closed on exec; `None` if nobody waits. accept4(2).
pub fn accept(listener: impl AsFd) -> Result<Option<OwnedFd>> {
    match retry_on_intr(|| accept_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(Error::new("accept4", "", errno)),
    }
}

/// Who is at the other end. getsockopt(2) `SO_PEERCRED`.
pub fn peer(socket: impl AsFd) -> Result<Peer> {
    let found = sockopt::socket_peercred(&socket).map_err(|errno| Error::new("getsockopt", "SO_PEERCRED", errno))?;
    Ok(Peer { pid: found.pid.as_raw_pid().unsigned_abs(), uid: found.uid.as_raw(), gid: found.gid.as_raw() })
}

/// Sends from `data` without SIGPIPE; returns how much was taken. send(2).
///
/// # Errors
/// `EAGAIN` if the socket is non-blocking and full, `EPIPE` if the other end is closed.
pub fn write(socket: impl AsFd, data: &[u8]) -> Result<usize> {
    retry_on_intr(|| send(&socket, data, SendFlags::NOSIGNAL))
        .map_err(|errno| Error::new("send", format!("{} bytes", data.len()), errno))
}

/// Receives into `buffer`; 0 when the other end is closed. recv(2).
pub fn read(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    retry_on_intr(|| recv(&socket, &mut *buffer, RecvFlags::empty()))
        .map(|(count, _)| count)
        .map_err(|errno| Error::new("recv", "", errno))
}

fn stream(flags: SocketFlags) -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|errno| Error::new("socket", "AF_UNIX, STREAM", errno))
}

fn address(dir: impl AsFd, name: &Path) -> Result<SocketAddrUnix> {
    address_raw(&dir, name).map_err(|errno| Error::new("bind", shown(&dir, name), errno))
}

fn address_raw(dir: impl AsFd, name: &Path) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(file::proc_path(&dir).join(name))
}

fn shown(dir: impl AsFd, name: &Path) -> String {
    file::name_of(&dir).join(name).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{CWD, OFlags};

    #[test]
    fn a_long_directory_is_no_obstacle() {
        let deep = std::env::temp_dir().join(format!("onggi-unix-{}", std::process::id())).join("x".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let dir = file::open(CWD, &deep, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let listener = listen_at(&dir, "sock", Mode::RUSR | Mode::WUSR, 4).unwrap();
        assert_eq!(file::stat_at(&dir, "sock").unwrap().st_mode & 0o777, 0o600);
        assert!(accept(&listener).unwrap().is_none());
        let client = connect_at(&dir, "sock").unwrap();
        let served = accept(&listener).unwrap().unwrap();
        assert_eq!(peer(&served).unwrap().pid, std::process::id());
        assert_eq!(write(&client, b"hello").unwrap(), 5);
        let mut buffer = [0; 16];
        assert_eq!(read(&served, &mut buffer).unwrap(), 5);
        drop(listener);
        drop(served);
        assert!(connect_at(&dir, "sock").unwrap_err().is(Errno::CONNREFUSED));
        std::fs::remove_file(deep.join("sock")).unwrap();
        std::fs::remove_dir(&deep).unwrap();
        std::fs::remove_dir(deep.parent().unwrap()).unwrap();
    }
}
