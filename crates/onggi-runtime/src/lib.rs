//! The OCI runtime: a specification and a root filesystem become a process.
//!
//! Three nouns. [`create`] turns a [`CreateRequest`] into a [`Container`] whose first process has its whole world
//! around it and waits at the gate; [`Container::start`] opens the gate. [`exec`] puts another process, a [`Child`],
//! beside the first one of a [`Target`]. [`cli`] is the command line of runc over the same two calls, with its state
//! on disk.
//!
//! Call from a single-threaded process: what is cloned here goes on in Rust before it executes the user's program.
//!
//! ```no_run
//! use onggi_runtime::{CreateRequest, Rootfs, Stdio, create};
//! # fn spec() -> onggi_runtime::Spec { unimplemented!() }
//! let spec = spec();
//! let request = CreateRequest::new("keen-plum", "/bundle".as_ref(), &spec, Rootfs::Bundle, Stdio::Inherit);
//! let mut container = create(request, &mut |_pid| Ok(()))?;
//! container.start()?;
//! # Ok::<(), onggi_runtime::Error>(())
//! ```

pub mod cli;
pub mod protect;

mod channel;
mod console;
mod container;
mod error;
mod failure;
mod filter;
mod hook;
mod init;
mod join;
mod lifecycle;
mod maps;
mod plan;
mod privilege;
mod request;
mod rootfs;
mod spec_file;
mod state_json;
mod store;
mod trusted_proc;

pub use container::{Container, create};
pub use error::{Error, Result};
pub use join::{Child, exec};
pub use onggi_oci::runtime::{Process, Spec};
pub use request::{CreateRequest, ExecRequest, Rootfs, Stdio, Target};
