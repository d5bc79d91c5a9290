//! The process beside each container: its parent, its terminal, its log, its exit code.
