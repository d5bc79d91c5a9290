//! The process beside each container: its parent, its terminal, its log, its exit code.

pub mod client;
pub mod logs;

mod cleanup;
mod container;
mod copy_up;
mod frame;
mod interactive;
mod keys;
mod launch;
mod message;
mod run;
mod serve;
mod spawn;
mod state;
mod user;

pub use cleanup::Cleanup;
pub use interactive::{Ended, Interaction, interactive};
pub use keys::{DetachKeys, KeysError};
pub use launch::{CopyUp, Hosts, LAUNCH_FILE, Launch, LogLimits, Network, Rootfs, Stdin};
pub use message::{Answer, Exec, Exit, Patience, Request, Slow, Streams};
pub use onggi_net::Attachment as Attached;
pub use run::main;
pub use spawn::{ARGV0, Started, spawn};
pub use state::{STATE_FILE, State, Status, now};
