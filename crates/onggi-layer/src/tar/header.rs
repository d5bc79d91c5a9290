//! One header block of 512 bytes: its fields, its checksum, its dialect.

use super::{Dialect, Error};

/// Everything in a tar file is a multiple of this.
pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum holds.
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
}

impl<'a> Header<'a> {
    /// Checks `block`; all zeros is not a header and must have been sorted out before.
    pub(crate) fn check(block: &'a [u8; BLOCK]) -> Result<Self, Error> {
        let stated = number(&block[148..156]).ok_or(Error::Checksum)?;
        let in_sum = |(index, &byte): (usize, &u8)| if (148..156).contains(&index) { b' ' } else { byte };
        let unsigned: i64 = block.iter().enumerate().map(in_sum).map(i64::from).sum();
        // Some old writers summed signed characters.
        let signed: i64 = block.iter().enumerate().map(in_sum).map(|byte| i64::from(byte.cast_signed())).sum();
        if stated == unsigned || stated == signed { Ok(Self { block }) } else { Err(Error::Checksum) }
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match (&self.block[257..265], &self.block[508..512]) {
            (b"ustar  \0", _) => Dialect::Gnu,
            (magic, b"tar\0") if magic.starts_with(b"ustar") => Dialect::Star,
            (magic, _) if magic.starts_with(b"ustar") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// The name, with the prefix that the dialect keeps apart.
    pub(crate) fn path(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::Gnu | Dialect::V7 => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(crate) fn link(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    pub(crate) fn mode(&self) -> Result<u32, Error> {
        let mode = number(&self.block[100..108]).ok_or(Error::Number { field: "mode" })?;
        Ok(u32::try_from(mode & 0o7777).unwrap_or(0))
    }

    pub(crate) fn uid(&self) -> Result<u32, Error> {
        self.unsigned(108..116, "uid")
    }

    pub(crate) fn gid(&self) -> Result<u32, Error> {
        self.unsigned(116..124, "gid")
    }

    pub(crate) fn size(&self) -> Result<u64, Error> {
        self.unsigned(124..136, "size")
    }

    pub(crate) fn mtime(&self) -> Result<i64, Error> {
        number(&self.block[136..148]).ok_or(Error::Number { field: "mtime" })
    }

    /// Major and minor number; meaningful for device nodes only, and often rubbish elsewhere.
    pub(crate) fn device(&self) -> Result<(u32, u32), Error> {
        Ok((self.unsigned(329..337, "devmajor")?, self.unsigned(337..345, "devminor")?))
    }

    fn unsigned<T: TryFrom<i64>>(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<T, Error> {
        number(&self.block[range]).and_then(|value| T::try_from(value).ok()).ok_or(Error::Number { field })
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number: octal digits between blanks, or base 256 in two's complement when the first bit is set.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(&first) if first & 0x80 != 0 => base256(field),
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let digits = text(field).trim_ascii();
    digits.iter().try_fold(0i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn base256(field: &[u8]) -> Option<i64> {
    // The first bit is the mark, the second the sign.
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let start = if negative { -1i64 } else { 0 };
    let mut bytes = vec![first];
    bytes.extend_from_slice(&field[1..]);
    bytes.iter().try_fold(start, |value, &byte| value.checked_mul(256).map(|value| value | i64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_all_their_spellings() {
        let check = |field: &[u8], expected: Option<i64>| assert_eq!(number(field), expected, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"644     ", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"77777777777\0", Some(0o77_777_777_777));
        check(b"9\0", None);
        check(b"-1\0", None);
        check(b"6 4\0", None);
        check(&[0x80, 0, 0, 0, 0, 0, 1, 0], Some(256));
        check(&[0xff; 8], Some(-1));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], Some(-2));
        check(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None);
        check(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(i64::MAX));
        check(&[0xbf; 12], None);
    }

    #[test]
    fn a_flipped_bit_breaks_the_checksum() {
        let mut block = [0u8; BLOCK];
        block[..4].copy_from_slice(b"name");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert!(Header::check(&block).is_ok());
        block[0] ^= 1;
        assert!(matches!(Header::check(&block), Err(Error::Checksum)));
    }
}
