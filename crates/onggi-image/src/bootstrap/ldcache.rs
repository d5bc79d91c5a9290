//! `/etc/ld.so.cache`: where glibc's loader finds a library by its name.
//!
//! The format is glibc's own, `sysdeps/generic/dl-cache.h`: a header, entries sorted by name, names. A file may begin
//! with the format before it, which says less.

use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Marks a file in which numbers begin with their lowest byte.
const LITTLE: u8 = 2;
const BIG: u8 = 3;

/// A library by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    flags: u32,
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Whether every processor of the architecture can run it.
    pub(super) baseline: bool,
}

/// The libraries that a cache knows, in its order; none if it is none.
pub(super) fn parse(file: &[u8]) -> Vec<Known> {
    let Some(start) = file.windows(MAGIC.len()).position(|window| window == MAGIC) else { return Vec::new() };
    let cache = &file[start..];
    let count = u32_at(cache, MAGIC.len()).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    (0..count).map_while(|index| entry(cache, HEADER + index * ENTRY)).collect()
}

fn entry(cache: &[u8], at: usize) -> Option<Known> {
    let text = |at: usize| {
        let rest = cache.get(usize::try_from(u32_at(cache, at)?).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    };
    let hwcap = cache.get(at + 16..at + 24)?;
    Some(Known {
        flags: u32_at(cache, at)?,
        name: text(at + 4)?,
        path: PathBuf::from(text(at + 8)?),
        baseline: hwcap.iter().all(|byte| *byte == 0),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A cache of those of `known` that `is_taken`, in their order, which is the one that the loader searches by.
/// `None` if there is none.
pub(super) fn subset(known: &[Known], is_taken: impl Fn(&Path) -> bool) -> Option<Vec<u8>> {
    let kept: Vec<_> = known.iter().filter(|one| one.baseline && is_taken(&one.path)).collect();
    if kept.is_empty() {
        return None;
    }
    let mut strings = Vec::new();
    let mut entries = Vec::new();
    let base = HEADER + kept.len() * ENTRY;
    let mut place = |text: &[u8]| {
        let offset = u32::try_from(base + strings.len()).unwrap_or(u32::MAX);
        strings.extend_from_slice(text);
        strings.push(0);
        offset
    };
    for one in &kept {
        let path = one.path.to_string_lossy();
        for number in [one.flags, place(one.name.as_bytes()), place(path.as_bytes()), 0, 0, 0] {
            entries.extend_from_slice(&number.to_ne_bytes());
        }
    }
    let mut cache = MAGIC.to_vec();
    for number in [kept.len(), strings.len()] {
        cache.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_ne_bytes());
    }
    cache.push(if cfg!(target_endian = "little") { LITTLE } else { BIG });
    cache.resize(HEADER, 0);
    cache.extend(entries);
    cache.extend(strings);
    Some(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, path: &str) -> Known {
        Known { flags: 0x0303, name: name.into(), path: path.into(), baseline: true }
    }

    #[test]
    fn what_is_written_is_read() {
        let all = [known("libz.so.1", "/lib/libz.so.1"), known("libc.so.6", "/lib/libc.so.6"), known("a", "/b")];
        let cache = subset(&all, |path| path.starts_with("/lib")).unwrap();
        assert_eq!(parse(&cache), all[..2]);
        // Behind the older format, as ldconfig wrote both for years.
        assert_eq!(parse(&[b"ld.so-1.7.0\0\0\0\0\0".as_slice(), &cache].concat()), all[..2]);
        assert_eq!(subset(&all, |_| false), None);
    }

    #[test]
    fn damage_ends_the_list() {
        let cache = subset(&[known("libz.so.1", "/lib/libz.so.1"), known("x", "/y")], |_| true).unwrap();
        for cut in 0..cache.len() {
            assert!(parse(&cache[..cut]).len() < 2, "{cut}");
        }
    }
}
