//! Seccomp profiles to BPF programs; no I/O.
