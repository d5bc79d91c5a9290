//! Unix sockets that keep messages apart and carry descriptors: `SOCK_SEQPACKET`, `SCM_RIGHTS`. unix(7).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::{Error, Result};

/// Two connected sockets that keep messages apart, closed on exec. socketpair(2) `SOCK_SEQPACKET`.
pub fn message_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::new("socketpair", "AF_UNIX, SEQPACKET", errno))
}

/// A listening socket that keeps messages apart, named `name` in `dir`; waits in [`accept`]. bind(2), listen(2).
pub fn listen_messages(dir: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd> {
    let name = name.as_ref();
    let failed = |call, errno| Error::new(call, name.display().to_string(), errno);
    let socket = message_socket()?;
    let address = address(&dir, name).map_err(|errno| failed("bind", errno))?;
    rustix::net::bind(&socket, &address).map_err(|errno| failed("bind", errno))?;
    rustix::net::listen(&socket, 8).map_err(|errno| failed("listen", errno))?;
    Ok(socket)
}

/// Connects to the socket that [`listen_messages`] made. connect(2).
///
/// # Errors
/// `ECONNREFUSED` if nobody listens any more.
pub fn connect_messages(dir: impl AsFd, name: impl AsRef<Path>) -> Result<OwnedFd> {
    let name = name.as_ref();
    let socket = message_socket()?;
    retry_on_intr(|| rustix::net::connect(&socket, &address(&dir, name)?))
        .map_err(|errno| Error::new("connect", name.display().to_string(), errno))?;
    Ok(socket)
}

/// Connects to the stream socket at `path`, a file name of at most 107 bytes. connect(2).
pub fn connect_stream(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let failed = |call, errno| Error::new(call, path.display().to_string(), errno);
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| failed("socket", errno))?;
    retry_on_intr(|| rustix::net::connect(&socket, &SocketAddrUnix::new(path)?))
        .map_err(|errno| failed("connect", errno))?;
    Ok(socket)
}

/// The next connection of a listener, closed on exec; waits for it. accept4(2).
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::net::accept_with(&listener, SocketFlags::CLOEXEC))
        .map_err(|errno| Error::new("accept4", "", errno))
}

/// Sends one message with descriptors. sendmsg(2) `MSG_NOSIGNAL`; at most 8 of them.
pub fn send(socket: impl AsFd, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::new("sendmsg", format!("{} descriptors", fds.len()), Errno::INVAL));
    }
    retry_on_intr(|| rustix::net::sendmsg(&socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL))
        .map(drop)
        .map_err(|errno| Error::new("sendmsg", format!("{} bytes", data.len()), errno))
}

/// Receives one message into `buffer` with at most one descriptor: its length, 0 at the end. recvmsg(2).
///
/// # Errors
/// `EMSGSIZE` if it was longer than `buffer`.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let answer = retry_on_intr(|| {
        rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })
    .map_err(|errno| Error::new("recvmsg", "", errno))?;
    if answer.flags.contains(ReturnFlags::TRUNC) {
        return Err(Error::new("recvmsg", "", Errno::MSGSIZE));
    }
    let mut received = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            received = fds.last().or(received);
        }
    }
    Ok((answer.bytes, received))
}

fn message_socket() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Error::new("socket", "AF_UNIX, SEQPACKET", errno))
}

/// Through `/proc/self/fd`, so that a long directory does not meet the 108 bytes of a socket's address.
fn address(dir: impl AsFd, name: &Path) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(crate::file::proc_path(&dir).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_a_descriptor() {
        let (ours, theirs) = message_pair().unwrap();
        send(&ours, b"with", &[ours.as_fd()]).unwrap();
        send(&ours, b"without", &[]).unwrap();
        let mut buffer = [0; 16];
        let (length, fd) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"with");
        assert!(fd.is_some());
        let (length, fd) = receive(&theirs, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"without");
        assert!(fd.is_none());
        drop((ours, fd));
    }
}
