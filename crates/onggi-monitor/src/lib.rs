//! The process beside each container: its parent, its terminal, its log, its exit code.
//!
//! Three nouns. A [`Launch`] says what a monitor is to run and is turned into one by [`spawn`]; a
//! [`client::Client`] asks a running monitor, and gets a [`client::Session`] for the streams of a process, which
//! [`interactive`] joins with a command's own; the [`State`] is what the monitor writes down, for whoever comes later.
//! [`logs`] reads what the container wrote.
//!
//! ```no_run
//! use onggi_monitor::client::Client;
//! use onggi_monitor::Patience;
//!
//! let mut monitor = Client::connect("/run/onggi/containers/3f1c2d".as_ref())?;
//! let exit = monitor.stop(None, Patience::Seconds(10))?;
//! println!("exited with {}", exit.code);
//! # Ok::<(), onggi_monitor::client::ClientError>(())
//! ```
//!
//! On disk, in the container's directory (the engine's `lock` is held by the monitor as long as it lives):
//!
//! ```text
//! containers/ID/
//!   config.json       the OCI specification, the engine's
//!   monitor.json      the Launch, the engine's
//!   state.json        the State, the monitor's
//!   log log.1 ...     the output, the monitor's
//! RUN/containers/ID/
//!   monitor.sock      0600; Client connects here
//! ```
//!
//! The binary calls [`main`] when it is started under the name [`ARGV0`]. The monitor is single-threaded and never
//! waits for one thing alone. What happens when each of the processes dies: docs/adr/0003-monitor.md.

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

pub use cleanup::{Cleanup, Rest};
pub use interactive::{Ended, Interaction, hold_signals, interactive};
pub use keys::{DetachKeys, KeysError};
pub use launch::{CopyUp, Hosts, LAUNCH_FILE, Launch, LogLimits, Network, Rootfs, Stdin};
pub use message::{Answer, Exec, Exit, Patience, Request, Slow, Streams};
pub use onggi_net::Attachment as Attached;
pub use run::main;
pub use spawn::{ARGV0, Started, spawn};
pub use state::{STATE_FILE, State, Status, now};
