//! Three things every directory of onggi's needs: [`Root`] turns an untrusted path into a descriptor, inside a root
//! and nowhere else; [`write_atomic`] replaces a file so that a reader or a crash sees the old or the new one; and
//! [`Lock`] is the `flock` that one object's writers take.
//!
//! [`remove_tree`] takes a tree away by descriptors, never by names, so a link planted inside it leads nowhere.
//!
//! ```no_run
//! use onggi_fs::{Durability, Root, write_atomic};
//!
//! let root = Root::open("/var/lib/onggi/layers/x/diff")?;
//! let passwd = root.open_file("/etc/passwd")?; // follows links, but as if the root were `/`
//! # let dir = root;
//! write_atomic(&dir, "state.json", b"{}", 0o600, Durability::Durable)?;
//! # Ok::<(), onggi_sys::Error>(())
//! ```

mod atomic;
mod lock;
mod root;
mod tree;

pub use atomic::{Durability, create_new, sweep_temporaries, write_atomic};
pub use lock::{Lock, LockMode};
pub use root::Root;
pub use tree::{ensure_dir, remove_tree, size_of_tree};
