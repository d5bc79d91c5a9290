//! The OCI runtime: a specification and a root filesystem become a process.
