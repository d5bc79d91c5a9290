//! Names in a layer: where an entry goes, and which names are instructions rather than files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Before the name of what a layer takes away (image-spec, layer.md, "Whiteouts").
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// Says that nothing of the layers below shows in this directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// Bookkeeping of aufs, which old images carry along: not files, not instructions.
const AUFS: [&[u8]; 3] = [b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh.plnk"];

/// Why a name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    #[error("it climbs out of the root")]
    Escape,
    #[error("it has a component longer than 255 bytes")]
    TooLong,
    #[error("it has a NUL byte")]
    Nul,
    #[error("it is empty")]
    Empty,
    #[error("it is a whiteout of no file")]
    Whiteout,
    #[error("it is below a whiteout")]
    BelowWhiteout,
}

/// What an entry's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The root directory itself.
    Root,
    /// A path below the root, of normal components only.
    Path(PathBuf),
    /// The layers below shall not show this path.
    Whiteout(PathBuf),
    /// The layers below shall not show in this directory.
    Opaque(PathBuf),
    /// Nothing.
    Ignored,
}

/// A path without `.`, `..` and slashes too many: relative to the root, empty for the root itself.
///
/// An absolute name is taken as relative to the root. `..` is taken as a string: no file is asked what it means.
///
/// # Errors
/// [`BadName::Escape`] if it climbs above the root.
pub(crate) fn normalise(raw: &[u8]) -> Result<PathBuf, BadName> {
    if raw.contains(&0) {
        return Err(BadName::Nul);
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in raw.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop().ok_or(BadName::Escape)?),
            part if part.len() > 255 => return Err(BadName::TooLong),
            part => parts.push(part),
        }
    }
    Ok(PathBuf::from(OsString::from_vec(parts.join(&b'/'))))
}

/// What the entry named `raw` is about.
pub(crate) fn target(raw: &[u8]) -> Result<Target, BadName> {
    if raw.is_empty() {
        return Err(BadName::Empty);
    }
    let path = normalise(raw)?;
    let Some(name) = path.file_name().map(OsStr::as_bytes) else { return Ok(Target::Root) };
    let parent = path.parent().unwrap_or(Path::new(""));
    if AUFS.contains(&first_component(&path)) {
        return Ok(Target::Ignored);
    }
    if parent.iter().any(|part| part.as_bytes().starts_with(WHITEOUT)) {
        return Err(BadName::BelowWhiteout);
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Target::Path(path)),
        Some(_) if name == OPAQUE => Ok(Target::Opaque(parent.to_path_buf())),
        Some(b"" | b"." | b"..") => Err(BadName::Whiteout),
        Some(hidden) if hidden.starts_with(WHITEOUT) => Err(BadName::Whiteout),
        Some(hidden) => Ok(Target::Whiteout(parent.join(OsStr::from_bytes(hidden)))),
    }
}

fn first_component(path: &Path) -> &[u8] {
    path.iter().next().map(OsStr::as_bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_a_place_below_the_root_or_an_error() {
        let check =
            |raw: &str, expected: Result<Target, BadName>| assert_eq!(target(raw.as_bytes()), expected, "{raw}");
        let path = |path: &str| Ok(Target::Path(path.into()));
        check("a/b", path("a/b"));
        check("./a//b/", path("a/b"));
        check("/etc/passwd", path("etc/passwd"));
        check("a/../b", path("b"));
        check("./", Ok(Target::Root));
        check("/", Ok(Target::Root));
        check("a/..", Ok(Target::Root));
        check("..", Err(BadName::Escape));
        check("a/../../b", Err(BadName::Escape));
        check("", Err(BadName::Empty));
        check(&"x".repeat(256), Err(BadName::TooLong));
        check(&"x".repeat(255), path(&"x".repeat(255)));
        check(".wh.gone", Ok(Target::Whiteout("gone".into())));
        check("d/.wh.gone", Ok(Target::Whiteout("d/gone".into())));
        check("d/.wh..wh..opq", Ok(Target::Opaque("d".into())));
        check(".wh..wh..opq", Ok(Target::Opaque("".into())));
        check("a.wh.b", path("a.wh.b"));
        check(".wh.", Err(BadName::Whiteout));
        check("d/.wh.", Err(BadName::Whiteout));
        check(".wh..", Err(BadName::Whiteout));
        check(".wh...", Err(BadName::Whiteout));
        check(".wh....", Ok(Target::Whiteout("...".into())));
        check(".wh..wh.x", Err(BadName::Whiteout));
        check("d/.wh..wh.plnk", Err(BadName::Whiteout));
        check(".wh..wh.plnk/1.2", Ok(Target::Ignored));
        check(".wh.d/x", Err(BadName::BelowWhiteout));
        check("d/.wh..wh..opq/x", Err(BadName::BelowWhiteout));
        assert_eq!(target(b"a\0b"), Err(BadName::Nul));
    }
}
