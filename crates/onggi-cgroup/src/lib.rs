//! Control groups, v1, v2 and hybrid, as one value: [`Cgroup`] is a group's directory in every hierarchy that this
//! machine mounts ([`Layout`]), with the limits of `linux.resources` put on, and knows how to take a process in, to
//! freeze, count and kill who is in it, and to go away.
//!
//! ```no_run
//! use onggi_cgroup::{Cgroup, CgroupPath};
//!
//! let group = Cgroup::create(&CgroupPath::parse("/onggi/web")?, None)?;
//! group.add(4711)?;
//! println!("{:?}", group.stats()?.memory);
//! group.kill_all(std::time::Duration::from_secs(10))?;
//! group.remove()?;
//! # Ok::<(), onggi_cgroup::Error>(())
//! ```
//!
//! A process that is cloned for a container enters cheapest by itself: into v2 with `CLONE_INTO_CGROUP`
//! ([`Cgroup::dir_fd`]), into v1 by an [`Entry`].
//!
//! The directories below a mount of type `cgroup` or `cgroup2` are the kernel's: there are no symbolic links in them,
//! so paths are followed here without [`onggi_sys::file::open2`]'s care. What the specification puts into a path or a
//! file's name is checked where it comes in.

mod attribute;
mod controller;
mod error;
mod freezer;
mod group;
mod layout;
mod limits;
mod path;
mod stats;
mod subtree;
mod teardown;

pub use controller::Controller;
pub use error::{Error, Result};
pub use freezer::Frozen;
pub use group::{Cgroup, Entry};
pub use layout::{Layout, Version};
pub use onggi_sys::pidfd::Signal;
pub use path::CgroupPath;
pub use stats::{CpuStats, MemoryStats, PidsStats, Stats};
