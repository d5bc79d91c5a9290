//! The kernel's random source.

use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use crate::{Error, Result};

/// `N` random bytes. getrandom(2), which answers up to 256 bytes whole once the source is seeded.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    const { assert!(N <= 256) };
    let mut buffer = [0; N];
    loop {
        match rustix::rand::getrandom(&mut buffer, GetRandomFlags::empty()) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("getrandom", N.to_string(), errno)),
            Ok(_) => return Ok(buffer),
        }
    }
}
