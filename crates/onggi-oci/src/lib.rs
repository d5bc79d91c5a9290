//! References, digests, manifests and the runtime specification as types; no I/O.
