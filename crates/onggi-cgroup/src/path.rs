//! Where in the hierarchies a group is to be.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The place of a group in every hierarchy: `/a/b` counts from the hierarchy's root, `a/b` from the caller's own group.
///
/// Free of `..`, so it cannot leave the place it counts from. Implements `linux.cgroupsPath` (runtime-spec,
/// config-linux), with the caller's own group as the place that relative paths count from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath {
    absolute: bool,
    relative: PathBuf,
}

/// The longest path taken; the kernel's limit for what `/proc/PID/cgroup` can show.
const LONGEST: usize = 4096;

impl CgroupPath {
    /// Checks and takes a path.
    ///
    /// # Errors
    /// [`Error::Path`] if it names no group below its start, contains `..`, a line end or a NUL, or is too long.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why, hostile| Err(Error::Path { path: text.escape_debug().to_string(), why, hostile });
        if text.len() > LONGEST {
            return Err(Error::Path { path: format!("{text:.64}..."), why: "is too long", hostile: false });
        }
        if text.contains(['\0', '\n', '\r']) {
            return refuse("contains a control character", true);
        }
        let mut relative = PathBuf::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => return refuse("leaves its place by `..`", true),
                long if long.len() > 255 => return refuse("has a name longer than 255 bytes", false),
                name => relative.push(name),
            }
        }
        if relative.as_os_str().is_empty() {
            return refuse("names no group", false);
        }
        Ok(Self { absolute: text.starts_with('/'), relative })
    }

    /// The path within a hierarchy in which the caller's own group is `own`.
    pub(crate) fn within(&self, own: &Path) -> PathBuf {
        if self.absolute { self.relative.clone() } else { own.join(&self.relative) }
    }

    /// Whether it counts from the hierarchy's root.
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.absolute {
            f.write_str("/")?;
        }
        write!(f, "{}", self.relative.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: Option<&str>) {
        assert_eq!(CgroupPath::parse(input).ok().map(|path| path.to_string()).as_deref(), expected, "{input:?}");
    }

    #[test]
    fn takes_what_names_a_group_and_nothing_that_leaves() {
        check("/onggi/a", Some("/onggi/a"));
        check("onggi//a/.", Some("onggi/a"));
        check("/../x", None);
        check("a/../../x", None);
        check("..", None);
        check("/", None);
        check("", None);
        check("a\nb", None);
        check("a\0b", None);
        check("a..b/...", Some("a..b/..."));
        check(&"x".repeat(256), None);
        check(&"x/".repeat(4000), None);
    }

    #[test]
    fn a_relative_path_counts_from_the_own_group() {
        let own = Path::new("user/me");
        assert_eq!(CgroupPath::parse("a").unwrap().within(own), Path::new("user/me/a"));
        assert_eq!(CgroupPath::parse("/a").unwrap().within(own), Path::new("a"));
    }
}
