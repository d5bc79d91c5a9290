//! Memory that a process holds and does not need while it waits.

use std::ops::Range;

use crate::Result;
use crate::file::{self, CWD, Mode, OFlags};

/// Stack kept below our own frame: more than the one call that is made while the rest goes.
const STACK_MARGIN: usize = 8 * 1024;

/// What is left when this takes effect comes back page by page as it is touched, from the page cache or as zeros.
///
/// Gives the kernel what the allocator holds free (malloc_trim(3)), the stack that deeper calls have used, and this
/// process' own mappings of its program's code and constants. For a process that has been busy and now waits.
pub fn give_back() -> Result<()> {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches only memory that the allocator knows to be free.
    unsafe {
        libc::malloc_trim(0);
    }
    let maps = file::open(CWD, "/proc/self/maps", OFlags::RDONLY, Mode::empty())?;
    let maps = file::read_all(maps, 1 << 20)?;
    let here = (&raw const maps).addr();
    for line in String::from_utf8_lossy(&maps).lines() {
        if let Some(range) = Mapping::parse(line).and_then(|mapping| mapping.spare(here)) {
            forget(&range);
        }
    }
    Ok(())
}

/// A line of `/proc/self/maps`.
struct Mapping<'l> {
    range: Range<usize>,
    mode: &'l str,
    offset: usize,
    name: &'l str,
}

impl<'l> Mapping<'l> {
    fn parse(line: &'l str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (mode, offset) = (fields.next()?, number(fields.next()?)?);
        Some(Self { range: number(from)?..number(to)?, mode, offset, name: fields.nth(2).unwrap_or_default() })
    }

    /// The part of it that can be had again.
    fn spare(&self, here: usize) -> Option<Range<usize>> {
        let of_a_file = self.name.starts_with('/');
        match self.mode {
            "r-xp" if of_a_file => Some(self.range.clone()),
            // Constants stand at the beginning of the file; what is read-only further on has been relocated first, and
            // that work cannot be had again.
            "r--p" if of_a_file && self.offset == 0 => Some(self.range.clone()),
            "rw-p" if self.name == "[stack]" && self.range.contains(&here) => {
                let end = here.saturating_sub(STACK_MARGIN) & !0xfff;
                (end > self.range.start).then_some(self.range.start..end)
            }
            _ => None,
        }
    }
}

fn forget(range: &Range<usize>) {
    // SAFETY: the range is either a private mapping of a file that nothing has written to, whose pages come back with
    // the same content, or stack that lies far below this frame and so belongs to no call. A refusal changes nothing.
    unsafe {
        libc::madvise(std::ptr::with_exposed_provenance_mut(range.start), range.len(), libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(line: &str, here: usize) -> Option<Range<usize>> {
        Mapping::parse(line)?.spare(here)
    }

    #[test]
    fn only_what_comes_back_is_spare() {
        assert_eq!(spare("00200000-00210000 r--p 00000000 00:1c 77    /usr/bin/onggi", 0), Some(0x20_0000..0x21_0000));
        assert_eq!(spare("00400000-00410000 r-xp 001c0000 00:1c 77    /usr/bin/onggi", 0), Some(0x40_0000..0x41_0000));
        for kept in [
            "00500000-00510000 r--p 002c0000 00:1c 77    /usr/bin/onggi",
            "00600000-00610000 rw-p 002d0000 00:1c 77    /usr/bin/onggi",
            "00700000-00710000 rw-p 00000000 00:00 0     [heap]",
            "7f1924ea8000-7f1924eaa000 r-xp 00000000 00:00 0  [vdso]",
            "7f1924ea8000-7f1924eaa000 r-xp 00000000 00:00 0",
        ] {
            assert_eq!(spare(kept, 0), None, "{kept}");
        }
        let stack = "00800000-00900000 rw-p 00000000 00:00 0     [stack]";
        assert_eq!(spare(stack, 0x8f_f123), Some(0x80_0000..0x8f_d000));
        assert_eq!(spare(stack, 0x80_1000), None);
        assert_eq!(spare(stack, 0x10_0000), None);
    }

    #[test]
    fn life_goes_on() {
        fn deep(depth: usize) -> usize {
            let frame = std::hint::black_box([depth; 512]);
            if depth == 0 { frame.len() } else { deep(depth - 1) + frame[0] }
        }
        let before = deep(100);
        give_back().unwrap();
        assert_eq!(deep(100), before);
    }
}
