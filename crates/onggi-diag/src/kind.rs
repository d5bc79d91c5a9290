//! The nine kinds of failure and the trait that names them.

use serde::{Deserialize, Serialize};

/// What sort of failure an error is: the part of it that a caller may branch on.
///
/// Every face maps each kind once: to an exit code, an HTTP status, a gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// The name is taken.
    Exists,
    /// The input cannot mean anything: a bad flag, a malformed document.
    Invalid,
    /// The object is in a state in which the operation makes no sense.
    Conflict,
    /// The caller lacks a right.
    Denied,
    /// This kernel, machine or version cannot do it.
    Unsupported,
    /// It may work later: a peer does not answer, a resource is exhausted.
    Unavailable,
    /// The input looks made to do harm: a path out of its root, a digest that does not match.
    Hostile,
    /// A bug or a broken machine.
    Internal,
}

/// An error that can say what kind it is and how to mend it.
pub trait Diagnose: std::error::Error {
    /// The kind of this failure, of its cause where the cause knows better.
    fn kind(&self) -> Kind;

    /// One line that tells the user what to do about it, where that is known.
    fn hint(&self) -> Option<String> {
        None
    }
}
