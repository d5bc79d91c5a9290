//! Archives in the making, and trees as text.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests make their own trees")]
#![allow(dead_code, unreachable_pub, reason = "every test program uses a part of it")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use onggi_fs::Root;
use onggi_layer::overlay::Namespace;
use onggi_layer::tar::{Entry, Kind, Time, Writer};
use onggi_layer::{Applied, Error, Options, Owner, apply};

pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// As whoever runs the tests can.
pub fn options() -> Options {
    let namespace = if is_root() { Namespace::Trusted } else { Namespace::User };
    let mut options = Options::new("sha256:test", namespace);
    if !is_root() {
        options.owner = Owner::Caller;
    }
    options
}

pub fn entry(path: impl AsRef<[u8]>, kind: Kind) -> Entry {
    Entry {
        path: path.as_ref().to_vec(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: 1_234_567, nanoseconds: 890 },
        atime: None,
        size: 0,
        extents: None,
        xattrs: Vec::new(),
    }
}

pub struct Archive(Writer<Vec<u8>>);

impl Archive {
    pub fn new() -> Self {
        Self(Writer::new(Vec::new()))
    }

    pub fn add(mut self, entry: &Entry, data: &[u8]) -> Self {
        let entry = Entry { size: data.len() as u64, ..entry.clone() };
        self.0.append(&entry, data).unwrap();
        self
    }

    pub fn dir(self, path: &str) -> Self {
        self.add(&Entry { mode: 0o755, ..entry(path, Kind::Directory) }, b"")
    }

    pub fn file(self, path: &str, data: &str) -> Self {
        self.add(&entry(path, Kind::File), data.as_bytes())
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.add(&entry(path, Kind::Symlink(target.into())), b"")
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        self.add(&entry(path, Kind::HardLink(target.into())), b"")
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}

/// An archive unpacked into `root` of a scratch directory, beside a victim that nobody may touch.
pub struct Unpacked {
    pub dir: tempfile::TempDir,
    pub result: Result<Applied, Error>,
}

impl Unpacked {
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("root").join(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| error.to_string())
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }
}

/// The path of the victim from inside the root, as an attacker would write it.
pub const VICTIM: &str = "../victim";

pub fn unpack(archive: &[u8]) -> Unpacked {
    unpack_with(archive, &options())
}

pub fn unpack_with(archive: &[u8], options: &Options) -> Unpacked {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::create_dir(dir.path().join("victim")).unwrap();
    fs::write(dir.path().join("victim/passwd"), "untouched").unwrap();
    let before = tree(&dir.path().join("victim"));
    let root = Root::open(dir.path().join("root")).unwrap();
    let result = apply(archive, &root, options);
    assert_eq!(tree(&dir.path().join("victim")), before);
    let names = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(names, 2, "something was made beside the root");
    Unpacked { dir, result }
}

/// Every node below `root` with all that an archive says about it.
pub fn tree(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, Path::new(""), &mut lines);
    lines
}

fn walk(root: &Path, below: &Path, lines: &mut Vec<String>) {
    let mut names: Vec<_> = fs::read_dir(root.join(below)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(&name);
        let full = root.join(&path);
        let found = fs::symlink_metadata(&full).unwrap();
        let data = match () {
            () if found.is_file() => format!("{:?}", fs::read(&full).unwrap()),
            () if found.is_symlink() => format!("-> {}", fs::read_link(&full).unwrap().display()),
            () => String::new(),
        };
        // How many blocks a directory takes and how many names it had are its own business.
        let links = if found.is_dir() { 0 } else { found.nlink() };
        lines.push(format!(
            "{} {:o} {}:{} links {links} rdev {} mtime {}.{:09} {data}",
            path.display(),
            found.mode(),
            found.uid(),
            found.gid(),
            found.rdev(),
            found.mtime(),
            found.mtime_nsec(),
        ));
        if found.is_dir() {
            walk(root, &path, lines);
        }
    }
}
