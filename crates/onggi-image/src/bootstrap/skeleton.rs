//! What every system has beside its programs.

use std::path::Path;

use super::BootstrapError;
use super::gather::Userland;
use super::tree::{Node, Tree};

const DIRECTORIES: [(&str, u32); 12] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
    ("bin", 0o755),
];

/// Files that programs expect; the empty ones are places to mount a container's own on.
const FILES: [(&str, &str); 6] = [
    ("etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hostname", ""),
    ("etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         daemon:x:1:1:daemon:/:/bin/false\n\
         nobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/resolv.conf", ""),
];

/// Adds it to `tree`; what is there already stays.
pub(super) fn complete(tree: &mut Tree, userland: &Userland) -> Result<(), BootstrapError> {
    merge_as_here(tree);
    for (path, mode) in DIRECTORIES {
        tree.add(Path::new(path), Node::Directory { mode });
    }
    for (path, content) in FILES {
        tree.add(Path::new(path), Node::Made { content: content.into(), mode: 0o644 });
    }
    let content = os_release(userland)?;
    tree.add(Path::new("etc/os-release"), Node::Made { content, mode: 0o644 });
    Ok(())
}

/// Where programs are in `/usr/bin` and `/bin` is a link to it on this machine, it is one in the image too, or nobody
/// would find `/bin/sh`.
fn merge_as_here(tree: &mut Tree) {
    for name in ["bin", "sbin", "lib", "lib64"] {
        let inside = Path::new("/usr").join(name);
        let here = Path::new("/").join(name);
        if tree.find(&here).is_none() && tree.find(&inside).is_some() && here.is_symlink() {
            tree.add(&here, Node::Symlink(format!("usr/{name}").into()));
        }
    }
}

/// This machine's, if the C library in the image is this machine's; else one that says what there is.
fn os_release(userland: &Userland) -> Result<Vec<u8>, BootstrapError> {
    let here = std::fs::read("/etc/os-release").or_else(|_| std::fs::read("/usr/lib/os-release")).unwrap_or_default();
    if userland.dynamic && !here.is_empty() {
        return Ok(here);
    }
    let what = match &userland.only {
        Some(program) => describe(program)?,
        None => "static programs".to_owned(),
    };
    let text = format!("NAME=\"onggi bootstrap\"\nID=onggi-bootstrap\nPRETTY_NAME=\"onggi bootstrap ({what})\"\n");
    Ok(text.into_bytes())
}

/// `BusyBox v1.35.0, static glibc`: from the texts that every one of them has inside.
fn describe(program: &Path) -> Result<String, BootstrapError> {
    let failed = |source| BootstrapError::Read { path: program.to_owned(), source };
    let content = std::fs::read(program).map_err(failed)?;
    let version = after(&content, b"BusyBox v").map_or("BusyBox".to_owned(), |version| format!("BusyBox v{version}"));
    let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
    let libc = if has(b"glibc") {
        "static glibc"
    } else if has(b"uClibc") {
        "static uClibc"
    } else if has(b"/etc/ld-musl-") || has(b"MUSL_LOCPATH") {
        "static musl"
    } else {
        "static"
    };
    Ok(format!("{version}, {libc}"))
}

/// The word behind the first place where `text` is.
fn after(content: &[u8], text: &[u8]) -> Option<String> {
    let start = content.windows(text.len()).position(|window| window == text)? + text.len();
    let version: String = content[start..].iter().take(24).map(|byte| char::from(*byte)).collect();
    let end = version.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.').unwrap_or(version.len());
    (end > 0).then(|| version[..end].to_owned())
}
