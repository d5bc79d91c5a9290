//! Containers, images and volumes as one system: an [`Engine`] opens the two trees in [`Paths`] and hands out handles,
//! [`Engine::containers`] for the one thing and [`Engine::images`] for the other. Nothing here prints, parses flags or
//! talks to a network; every face (the command line, the APIs) is a translation to these calls.
//!
//! ```text
//! DATA/containers/
//!   .names/NAME -> ../ID     who has which name; stale if there is no such container
//!   .names/.lock             held while a name is taken away
//!   .making/ID/              a container that is being made; abandoned if its lock is free
//!   .removing/ID/            one that is being removed; interrupted if its lock is free
//!   ID/                      a container
//!     container.json         what it is; written once, everything below follows from it
//!     config.json            its OCI specification   }
//!     monitor.json           its monitor's orders    } made again at every start
//!     hosts hostname resolv.conf                     }
//!     state.json log         its monitor's, what is true of it and what it has written
//!     lock                   held by who makes, starts or removes it, and by its monitor while it runs
//!     maker                  held shared by who has made it and may be about to start it: prune leaves it alone
//! DATA/volumes/NAME/_data/   a volume
//! RUN/containers/ID/         where its monitor listens
//! ```
//!
//! A container is made in `.making` and moves to its place when it is whole; it moves to `.removing` before anything
//! of it goes. So whoever finds a container finds all of it, and what a crash leaves in the other two places is undone
//! or finished by the next command that makes or removes one. A container whose state says that it runs, and whose
//! lock is free, lost its monitor to SIGKILL: the next command that means it ends what is left and says so.
//!
//! Locks, in the order in which they are taken: `.making/.gate`, a container's `lock`, `.names/.lock`, then those of
//! the crates below. Only a monitor holds one for long, its own container's; nobody waits for that without a deadline,
//! and whoever only reads takes none.

mod config;
mod containers;
mod defaults;
mod engine;
mod error;
mod host;
mod id;
mod images;
mod info;
mod paths;
mod prune;
mod record;
mod request;
pub mod rootless;
mod signal;
mod snapshots;
mod spec;
mod usage;
mod volume;
mod volumes;

pub use containers::{Cleaner, ContainerSummary, Containers, Exec, StartContainer, Started};
pub use engine::Engine;
pub use error::{Error, Result};
pub use id::{ContainerId, Name, NameError};
pub use onggi_monitor::{Exit, LogLimits, Patience, Slow, State, Status};
pub use paths::Paths;
pub use prune::Pruned;
pub use request::{
    CreateContainer, Created, ListContainers, NetworkMode, Propagation, RemoveContainer, RequestError, Resources,
    Security, Streams, Volume, VolumeSource,
};
pub use signal::parse_signal;
pub use usage::Usage;
