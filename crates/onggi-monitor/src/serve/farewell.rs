//! The last thing a monitor does: its clients hear how it ended.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use onggi_sys::Result;
use onggi_sys::event::{self, PollFd, PollFlags};

use super::FIRST;
use super::peer::Peer;
use crate::message::{Answer, Exit};

/// How long a client that may be dropped has to fetch what is queued for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The clients of a container that has ended.
pub(crate) struct Farewell {
    pub(super) peers: Vec<Peer>,
}

impl Farewell {
    /// Tells everybody who waits for it that the container has ended, as far as they listen.
    pub(crate) fn say(&mut self, exit: Exit) {
        for peer in &mut self.peers {
            let owed = peer.waits + u32::from(matches!(peer.streams, Some((FIRST, _))));
            (0..owed).for_each(|_| peer.answer(&Answer::Exited(exit)));
            peer.closing = true;
        }
        self.peers.retain(|peer| !peer.is_over());
    }

    /// Stays until all have heard it.
    ///
    /// A client that may lose nothing is waited for as long as it is there: it holds this process, and nothing of the
    /// container's.
    pub(crate) fn stay(mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Instant::now();
            self.peers.retain(|peer| !peer.is_over() && (peer.is_patient() || now < deadline));
            if self.peers.is_empty() {
                return Ok(());
            }
            let limited = self.peers.iter().any(|peer| !peer.is_patient());
            let ready = self.wait(limited.then(|| deadline.saturating_duration_since(now)))?;
            for (peer, flags) in self.peers.iter_mut().zip(ready) {
                match flags {
                    flags if flags.contains(PollFlags::OUT) => peer.flush(),
                    flags if !flags.is_empty() => peer.gone = true,
                    _ => {}
                }
            }
        }
    }

    /// What each client is ready for.
    fn wait(&self, timeout: Option<Duration>) -> Result<Vec<PollFlags>> {
        let mut fds: Vec<_> =
            self.peers.iter().map(|peer| PollFd::from_borrowed_fd(peer.as_fd(), PollFlags::OUT)).collect();
        event::poll(&mut fds, timeout)?;
        Ok(fds.iter().map(PollFd::revents).collect())
    }
}
