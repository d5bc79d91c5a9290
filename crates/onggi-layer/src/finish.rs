//! What a layer leaves open.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a layer leaves open until the layers below it are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finish {
    /// The archive says who owns the root directory.
    pub root_stated: bool,
    /// Nothing of any layer below shows.
    pub root_opaque: bool,
    /// Directories that the archive has files in but says nothing about, parents before children: the layer below
    /// decides their attributes.
    pub implicit: Vec<PathBuf>,
    /// Hard links (by their names) to files that the archive does not have.
    pub links: BTreeMap<PathBuf, PathBuf>,
}

impl Finish {
    /// Whether the layer is the same on whatever layers it lies.
    pub fn is_settled(&self) -> bool {
        *self == Self::default()
    }

    /// The form in which it is kept: records of a letter and a path, each ended by the one byte that no path has.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut record = |tag: u8, path: &Path| {
            bytes.push(tag);
            bytes.extend_from_slice(path.as_os_str().as_bytes());
            bytes.push(0);
        };
        if self.root_stated {
            record(b'R', Path::new(""));
        }
        if self.root_opaque {
            record(b'O', Path::new(""));
        }
        self.implicit.iter().for_each(|path| record(b'D', path));
        for (path, target) in &self.links {
            record(b'L', path);
            record(b'T', target);
        }
        bytes
    }

    /// Reads [`Finish::to_bytes`]; `None` if that did not write it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut finish = Self::default();
        let Some(bytes) = bytes.strip_suffix(b"\0") else { return bytes.is_empty().then_some(finish) };
        let mut records = bytes.split(|&byte| byte == 0).map(split);
        while let Some(record) = records.next() {
            match record? {
                (b'R', _) => finish.root_stated = true,
                (b'O', _) => finish.root_opaque = true,
                (b'D', path) => finish.implicit.push(path),
                (b'L', path) => match records.next()?? {
                    (b'T', target) => drop(finish.links.insert(path, target)),
                    _ => return None,
                },
                _ => return None,
            }
        }
        Some(finish)
    }
}

fn split(record: &[u8]) -> Option<(u8, PathBuf)> {
    let (tag, path) = record.split_first()?;
    Some((*tag, PathBuf::from(OsStr::from_bytes(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_whatever_the_names() {
        let odd = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let finish = Finish {
            root_stated: true,
            root_opaque: true,
            implicit: vec![odd(b"a"), odd(b"a/\xff\n\"")],
            links: BTreeMap::from([(odd(b"\xfe"), odd(b"t")), (odd(b"x"), odd(b"\xfe"))]),
        };
        assert_eq!(Finish::from_bytes(&finish.to_bytes()), Some(finish.clone()));
        assert_eq!(Finish::from_bytes(b""), Some(Finish::default()));
        let whole = finish.to_bytes();
        for damaged in [&whole[..whole.len() - 1], b"X\0", b"\0", b"La\0", b"La\0Db\0"] {
            assert_eq!(Finish::from_bytes(damaged), None, "{damaged:?}");
        }
    }
}
