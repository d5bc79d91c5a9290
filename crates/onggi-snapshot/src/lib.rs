//! Chains of unpacked layers and writable upper directories, as mounts.
