//! What the monitor cannot undo by itself.

use onggi_diag::Diagnose;

use crate::launch::Launch;

/// What the engine does at the end of a container's life; handed to [`crate::main`] by the binary, so that this crate
/// knows nothing of names, images or volumes.
pub trait Cleanup {
    /// Takes the container away whole: its name, its snapshot, its anonymous volumes, its directory.
    ///
    /// Called when [`Launch::auto_remove`] is set, its processes are gone and its network is released; the
    /// container's lock is held by this process.
    ///
    /// # Errors
    /// What could not be removed; the state then keeps the error and a later prune tries again.
    fn remove(&self, launch: &Launch) -> Result<(), Box<dyn Diagnose>>;
}
