//! The distribution protocol, client side: manifests and blobs from registries and to them.
//!
//! - [`Client`] does what the distribution specification lets a client do; [`Blob`] is a download that survives broken
//!   connections, [`Source`] an upload that can be sent again.
//! - [`Config`] is all it knows of the world: mirrors and trust ([`Registries`], `registries.toml`), where
//!   [`Credentials`] are kept, [`Proxies`], [`Patience`]. [`Config::discover`] makes one of an environment that the
//!   caller reads.
//! - [`Error`] names the operation, [`Cause`] what happened: the request without its secrets, the answer, the registry's
//!   own words.
//!
//! What holds: a secret goes to the origin it was configured for and to that one's token realm, whoever redirects where;
//! nothing falls back from HTTPS to plain HTTP unless configured so; whatever is read has a limit, whatever is waited
//! for a deadline; names are resolved without the C library.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use onggi_registry::{Client, Config};
//!
//! let config = Config::discover(|name| std::env::var(name).ok(), &["/etc/onggi/registries.toml"])?;
//! let client = Client::new(config);
//! let found = client.manifest(&"alpine:3.20".parse()?).await?;
//! println!("{}", found.descriptor.digest);
//! # Ok(())
//! # }
//! ```

mod auth;
mod blob;
mod challenge;
mod client;
mod config;
mod connect;
mod credentials;
mod document;
mod endpoint;
mod error;
mod helper;
mod host;
mod payload;
mod percent;
mod proxy;
mod resolve;
mod server;
mod tls;
mod transport;
mod upload;

pub use blob::Blob;
pub use client::{Client, Fetched};
pub use config::{Config, ConfigError, Patience, Registries, Registry};
pub use connect::ConnectError;
pub use credentials::Credentials;
pub use document::Document;
pub use error::{Cause, Error, Login, Refusal, Result};
pub use payload::Source;
pub use proxy::Proxies;
pub use upload::Pushed;
