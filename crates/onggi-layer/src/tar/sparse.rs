//! Files with holes: where their data lies, in GNU's four formats.

use std::io::BufRead;

use super::header::{BLOCK, number};
use super::pax::decimal;
use super::{Error, read_block};

/// A run of data in a sparse file; what lies between extents is holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where in the file it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// As many extents as a map may have: a file of 4 GiB that alternates blocks of data and hole.
const MAX_EXTENTS: usize = 1 << 19;

/// Checks that `extents` go forward inside a file of `size` bytes and sum to `stored`, and drops empty ones.
pub(super) fn check(extents: Vec<Extent>, size: u64, stored: u64) -> Result<Vec<Extent>, Error> {
    let (mut end, mut sum) = (0u64, 0u64);
    for extent in &extents {
        let next = extent.offset.checked_add(extent.length).ok_or(Error::Sparse)?;
        if extent.offset < end || next > size {
            return Err(Error::Sparse);
        }
        (end, sum) = (next, sum + extent.length);
    }
    if sum != stored {
        return Err(Error::Sparse);
    }
    Ok(extents.into_iter().filter(|extent| extent.length > 0).collect())
}

/// The old GNU format: four extents and the real size in the header, more in blocks that follow it.
pub(super) fn read_old(header: &[u8; BLOCK], input: &mut impl BufRead) -> Result<(u64, Vec<Extent>), Error> {
    let size = number(&header[483..495]).and_then(|size| u64::try_from(size).ok()).ok_or(Error::Sparse)?;
    let mut extents = Vec::new();
    push_all(&header[386..482], &mut extents)?;
    let mut more = header[482] != 0;
    while more {
        let mut block = [0; BLOCK];
        read_block(input, &mut block)?;
        push_all(&block[..504], &mut extents)?;
        more = block[504] != 0;
        if extents.len() > MAX_EXTENTS {
            return Err(Error::Sparse);
        }
    }
    Ok((size, extents))
}

fn push_all(field: &[u8], extents: &mut Vec<Extent>) -> Result<(), Error> {
    for pair in field.chunks_exact(24).take_while(|pair| pair[0] != 0) {
        let half = |field| number(field).and_then(|value| u64::try_from(value).ok()).ok_or(Error::Sparse);
        extents.push(Extent { offset: half(&pair[..12])?, length: half(&pair[12..])? });
    }
    Ok(())
}

/// Format 1.0: decimal lines at the head of the data, filled up to a block. Also returns the bytes they took.
pub(super) fn read_1_0(input: &mut impl BufRead, stored: u64) -> Result<(u64, Vec<Extent>), Error> {
    let mut numbers = Numbers { input, stored, block: [0; BLOCK], at: BLOCK, taken: 0 };
    let count = usize::try_from(numbers.next()?).ok().filter(|&count| count <= MAX_EXTENTS).ok_or(Error::Sparse)?;
    let mut extents = Vec::new();
    for _ in 0..count {
        extents.push(Extent { offset: numbers.next()?, length: numbers.next()? });
    }
    Ok((numbers.taken, extents))
}

/// Decimal lines across blocks.
struct Numbers<'i, R> {
    input: &'i mut R,
    stored: u64,
    block: [u8; BLOCK],
    at: usize,
    taken: u64,
}

impl<R: BufRead> Numbers<'_, R> {
    fn next(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return decimal(&digits).ok_or(Error::Sparse),
                _ if digits.len() >= 20 => return Err(Error::Sparse),
                digit => digits.push(digit),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        if self.at == BLOCK {
            self.taken += BLOCK as u64;
            if self.taken > self.stored {
                return Err(Error::Sparse);
            }
            read_block(self.input, &mut self.block)?;
            self.at = 0;
        }
        self.at += 1;
        Ok(self.block[self.at - 1])
    }
}
