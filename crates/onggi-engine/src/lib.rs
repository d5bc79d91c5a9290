//! Containers and images as one system: records, state, recovery.
