//! What can be done with images without a network.

pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod prune;
pub(crate) mod remove;
pub(crate) mod tag;
