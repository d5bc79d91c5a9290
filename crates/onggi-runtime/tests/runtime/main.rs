//! The low-level command line as its callers see it, asserted on what the kernel says.
//!
//! `ONGGI_UNDER_TEST=runc` runs what is common to all runtimes against another one.
#![expect(clippy::disallowed_methods, reason = "tests run programs and write scratch files")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod adversarial;
mod errors;
mod exec;
mod hooks;
mod lifecycle;
mod privileges;
mod support;
mod terminal;
mod world;
