//! What the monitor cannot undo by itself.

use onggi_diag::Diagnose;

use crate::launch::Launch;

/// What is left to do when a container is gone for everybody.
pub type Rest = Box<dyn FnOnce() -> Result<(), Box<dyn Diagnose>>>;

/// What the engine does at the end of a container's life; handed to [`crate::main`] by the binary, so that this crate
/// knows nothing of names, images or volumes.
pub trait Cleanup {
    /// Takes the container away: from its return on nobody finds it, its name or its volumes, and nothing keeps what it
    /// used. What this returns takes the rest off the disk, while those who wait for the end know of it already.
    ///
    /// Called when [`Launch::auto_remove`] is set, its processes are gone and its network is released; the
    /// container's lock is held by this process until the rest is done.
    ///
    /// # Errors
    /// What could not be removed; the state then keeps the error and a later prune tries again.
    fn remove(&self, launch: &Launch) -> Result<Rest, Box<dyn Diagnose>>;
}
