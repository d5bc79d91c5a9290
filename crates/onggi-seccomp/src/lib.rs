//! Seccomp profiles: [`compile`] turns the specification's `linux.seccomp` into a classic BPF [`Program`], and
//! [`default_profile`] is what a container gets that asks for nothing else.
//!
//! Pure: no file is read and no kernel asked, so the same profile gives the same program everywhere and tests run the
//! program instead of loading it.
//!
//! ```
//! use onggi_seccomp::{Architecture, Environment, compile, default_profile};
//!
//! let environment = Environment { architecture: Architecture::X86_64, capabilities: &[], kernel: (6, 1) };
//! let program = compile(&default_profile(&environment), Architecture::X86_64)?;
//! assert!(program.instructions.len() < 1000 && program.warnings.is_empty());
//! # Ok::<(), onggi_seccomp::Error>(())
//! ```

mod action;
mod architecture;
mod compile;
mod default_profile;
mod error;
mod policy;
mod program;
pub mod syscalls;

pub use action::Action;
pub use architecture::Architecture;
pub use compile::{Program, compile};
pub use default_profile::{Environment, default_profile};
pub use error::{Error, Result};
pub use program::Instruction;
