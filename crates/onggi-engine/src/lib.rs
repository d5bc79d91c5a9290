//! Containers, images and volumes as one system: an [`Engine`] opens the two trees in [`Paths`] and hands out handles,
//! [`Engine::containers`] for the one thing and [`Engine::images`] for the other. Nothing here prints, parses flags or
//! talks to a network; every face (the command line, the APIs) is a translation to these calls.

mod error;
mod id;
mod paths;
mod request;

pub use error::{Error, Result};
pub use id::{ContainerId, Name, NameError};
pub use paths::Paths;
pub use request::{
    CreateContainer, Created, ListContainers, LogLimits, NetworkMode, Propagation, RemoveContainer, RequestError,
    Resources, Security, Streams, Volume, VolumeSource,
};
