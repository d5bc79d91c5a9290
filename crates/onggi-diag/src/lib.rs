//! What an error is to the one who reads it: a [`Kind`] that callers branch on, a hint that says how to mend it,
//! and a [`Record`] that carries the whole across a process boundary.
//!
//! Libraries implement [`Diagnose`] beside `std::error::Error` and offer hints; only the faces print.
//!
//! ```
//! use onggi_diag::{Diagnose, Kind, Record};
//!
//! #[derive(Debug)]
//! struct NoSuchImage(String);
//! impl std::fmt::Display for NoSuchImage {
//!     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
//!         write!(f, "no image `{}` in the store", self.0)
//!     }
//! }
//! impl std::error::Error for NoSuchImage {}
//! impl Diagnose for NoSuchImage {
//!     fn kind(&self) -> Kind {
//!         Kind::NotFound
//!     }
//!     fn hint(&self) -> Option<String> {
//!         Some(format!("`onggi pull {}` fetches it", self.0))
//!     }
//! }
//!
//! let record = Record::new("resolve", &NoSuchImage("alpine".into()));
//! assert_eq!(record.kind, Kind::NotFound);
//! assert_eq!(record.chain, ["no image `alpine` in the store"]);
//! ```

mod kind;
mod record;

pub use kind::{Diagnose, Kind};
pub use record::{Record, chain};
