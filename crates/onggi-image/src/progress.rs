//! What a pull or a push tells while it is under way.

use onggi_oci::{Descriptor, Digest, Reference};

/// Listens to a pull or a push; called from several threads.
///
/// A closure over an [`Event`] is one; `&()` does not listen.
pub trait Progress: Sync {
    /// Something has happened.
    fn event(&self, event: Event<'_>);
}

impl Progress for () {
    fn event(&self, _event: Event<'_>) {}
}

impl<F: Fn(Event<'_>) + Sync> Progress for F {
    fn event(&self, event: Event<'_>) {
        self(event);
    }
}

/// Something that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'e> {
    /// The registry is asked what `image` is.
    Resolving {
        /// The image.
        image: &'e Reference,
    },
    /// Now it is known which blobs it takes, in the order in which they shall be shown.
    Planned {
        /// The manifest or index that the name leads to.
        target: &'e Digest,
        /// The layers; in a push, the configurations among them.
        blobs: &'e [Descriptor],
    },
    /// A blob has got on.
    Blob {
        /// Which one.
        digest: &'e Digest,
        /// How far.
        phase: Phase,
    },
}

/// How far a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Others go first, or another process is at it.
    Waiting,
    /// Bytes come in.
    Downloading {
        /// So many are here, those of an earlier attempt included.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// All bytes are here; files are being written still.
    Unpacking,
    /// It is here, whole.
    Pulled,
    /// It was here before.
    Present,
    /// What came was wrong or broke off; it is tried again.
    Retrying,
    /// Bytes go out.
    Uploading {
        /// So many have left.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// It is there, whole.
    Pushed,
    /// It was there before.
    Known,
    /// The registry had it in another repository.
    Mounted,
}
