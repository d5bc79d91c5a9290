//! Raw netlink sockets and the network namespace of the calling thread: netlink(7), setns(2).
//!
//! What the messages say is their sender's business; see `onggi_net`.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::file::{self, CWD, Mode, OFlags};
use crate::{Error, Result};

/// A netlink family that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses and routes. rtnetlink(7).
    Route,
    /// Netfilter, nf_tables among it.
    Netfilter,
}

/// A netlink socket in the network namespace in which it was opened, wherever its owner goes afterwards.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace. socket(2) `AF_NETLINK`.
    pub fn open(protocol: Protocol) -> Result<Self> {
        let number = match protocol {
            // NETLINK_ROUTE is 0, which rustix calls no protocol.
            Protocol::Route => None,
            Protocol::Netfilter => Some(rustix::net::netlink::NETFILTER),
        };
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, number)
            .map(|fd| Self { fd })
            .map_err(|errno| Error::new("socket", format!("AF_NETLINK, {protocol:?}"), errno))
    }

    /// Asks the kernel to say in words why it refuses (`NETLINK_EXT_ACK`), and not to send the refused request back
    /// (`NETLINK_CAP_ACK`). setsockopt(2).
    pub fn explain_errors(&self) -> Result<()> {
        self.set(libc::NETLINK_EXT_ACK, "NETLINK_EXT_ACK")?;
        self.set(libc::NETLINK_CAP_ACK, "NETLINK_CAP_ACK")
    }

    /// Lets [`Socket::receive`] fail with `EAGAIN` when nothing has come for `patience`. setsockopt(2) `SO_RCVTIMEO`.
    pub fn set_patience(&self, patience: Duration) -> Result<()> {
        sockopt::set_socket_timeout(&self.fd, sockopt::Timeout::Recv, Some(patience))
            .map_err(|errno| Error::new("setsockopt", "SO_RCVTIMEO", errno))
    }

    /// Sends one datagram, of one message or of many, to the kernel. send(2).
    pub fn send(&self, messages: &[u8]) -> Result<()> {
        retry_on_intr(|| rustix::net::send(&self.fd, messages, SendFlags::empty()))
            .map(|_| ())
            .map_err(|errno| Error::new("send", format!("AF_NETLINK, {} bytes", messages.len()), errno))
    }

    /// Receives one datagram into `buffer`; the part of it that was filled. recv(2).
    ///
    /// # Errors
    /// `EMSGSIZE` if the datagram is longer than `buffer`.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
        let failed = |errno| Error::new("recv", "AF_NETLINK", errno);
        let (_, length) =
            retry_on_intr(|| rustix::net::recv(&self.fd, &mut *buffer, RecvFlags::TRUNC)).map_err(failed)?;
        buffer.get(..length).ok_or_else(|| failed(Errno::MSGSIZE))
    }

    fn set(&self, option: c_int, name: &'static str) -> Result<()> {
        let on: c_int = 1;
        let length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(4);
        // SAFETY: the descriptor is open for as long as `self`, and the value is a live c_int of the length given.
        let answer =
            unsafe { libc::setsockopt(self.fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length) };
        if answer == 0 { Ok(()) } else { Err(Error::last_os("setsockopt", name)) }
    }
}

/// The network namespace that the calling thread is in.
pub fn current_namespace() -> Result<OwnedFd> {
    file::open(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY, Mode::empty())
}

/// Moves the calling thread into the network namespace `namespace`. setns(2) `CLONE_NEWNET`.
pub fn enter_namespace(namespace: BorrowedFd<'_>) -> Result<()> {
    rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
        .map_err(|errno| Error::new("setns", "CLONE_NEWNET", errno))
}

/// Moves the calling thread into a network namespace of its own, with nothing in it but `lo`, down.
/// unshare(2) `CLONE_NEWNET`.
pub fn unshare_namespace() -> Result<()> {
    // SAFETY: CLONE_NEWNET changes what sockets the thread opens later and nothing that memory safety rests on.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|errno| Error::new("unshare", "CLONE_NEWNET", errno))
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
