//! Tar streams to directories and back: whiteouts, compression, diff ids.
