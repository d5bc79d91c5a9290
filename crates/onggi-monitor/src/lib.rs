//! The process beside each container: its parent, its terminal, its log, its exit code.

pub mod client;
pub mod logs;

mod cleanup;
mod copy_up;
mod frame;
mod keys;
mod launch;
mod message;
mod spawn;
mod state;
mod user;

pub use cleanup::Cleanup;
pub use keys::{DetachKeys, KeysError};
pub use launch::{CopyUp, Hosts, LAUNCH_FILE, Launch, LogLimits, Network, Rootfs, Stdin};
pub use message::{Answer, Exec, Exit, Patience, Request, Slow, Streams};
pub use onggi_net::Attachment as Attached;
pub use spawn::{ARGV0, Started, spawn};
pub use state::{STATE_FILE, State, Status, now};
