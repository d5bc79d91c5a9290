//! The image's file system while it is put together: paths, and what will be at each.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use onggi_layer::tar::{Entry, Kind, Time, Writer};
use onggi_sys::file::xattr_at;

use super::BootstrapError;

/// As many links as the kernel follows in one path.
const LINKS: usize = 40;
const CAPABILITY: &str = "security.capability";

/// What is at a path of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory { mode: u32 },
    Symlink(PathBuf),
    Host(HostFile),
    Made { content: Vec<u8>, mode: u32 },
}

/// A file of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostFile {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) size: u64,
    mtime: i64,
    /// The capabilities that the kernel gives to who runs it.
    capability: Option<Vec<u8>>,
}

impl HostFile {
    fn new(path: &Path, metadata: &Metadata) -> Result<Self, BootstrapError> {
        let failed = |source: onggi_sys::Error| BootstrapError::Read { path: path.to_owned(), source: source.into() };
        let dir = path.parent().unwrap_or(Path::new("/"));
        let opened = onggi_fs::Root::open(dir).map_err(failed)?;
        let capability = match path.file_name() {
            Some(name) => xattr_at(&opened, name, CAPABILITY).map_err(failed)?,
            None => None,
        };
        let (mode, size, mtime) = (metadata.mode() & 0o7777, metadata.len(), metadata.mtime());
        Ok(Self { path: path.to_owned(), mode, size, mtime, capability })
    }
}

/// The image's file system. Keys are relative to its root; a directory comes before what is in it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    /// Takes the file or directory of this machine that `path` leads to, without what is in a directory, and every
    /// link on the way. Its path without links, here and in the image.
    pub(super) fn take(&mut self, path: &Path) -> Result<PathBuf, BootstrapError> {
        let mut pending: VecDeque<OsString> = steps(path).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = pending.pop_front() {
            if step == ".." {
                at.pop();
                continue;
            }
            at.push(&step);
            let failed = |source| BootstrapError::Read { path: at.clone(), source };
            let metadata = at.symlink_metadata().map_err(failed)?;
            if metadata.is_symlink() {
                links += 1;
                let target = at.read_link().map_err(failed)?;
                self.put(&at, Node::Symlink(target.clone()));
                at = if target.is_absolute() { PathBuf::from("/") } else { parent(&at) };
                steps(&target).rev().for_each(|step| pending.push_front(step));
            } else if metadata.is_dir() {
                self.put(&at, Node::Directory { mode: metadata.mode() & 0o7777 });
            } else if metadata.is_file() && pending.is_empty() {
                let file = HostFile::new(&at, &metadata)?;
                self.put(&at, Node::Host(file));
            } else {
                links = LINKS;
            }
            if links >= LINKS {
                return Err(BootstrapError::Path { path: path.to_owned() });
            }
        }
        Ok(at)
    }

    /// Takes the directory `path` of this machine with everything below it that `wanted` lets through, and the files
    /// that links in it lead to; devices and sockets are left out. The files below it.
    pub(super) fn take_all(
        &mut self,
        path: &Path,
        wanted: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<PathBuf>, BootstrapError> {
        let real = self.take(path)?;
        let mut files = Vec::new();
        let mut below = vec![real];
        while let Some(directory) = below.pop() {
            let failed = |source| BootstrapError::Read { path: directory.clone(), source };
            for entry in directory.read_dir().map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                if !wanted(&path) {
                    continue;
                }
                let metadata = path.symlink_metadata().map_err(failed)?;
                if metadata.is_dir() {
                    self.put(&path, Node::Directory { mode: metadata.mode() & 0o7777 });
                    below.push(path);
                } else if metadata.is_symlink() {
                    self.put(&path, Node::Symlink(path.read_link().map_err(failed)?));
                    if path.is_file() {
                        self.take(&path)?;
                    }
                } else if metadata.is_file() {
                    self.put(&path, Node::Host(HostFile::new(&path, &metadata)?));
                    files.push(path);
                }
            }
        }
        Ok(files)
    }

    /// Puts a file of this machine at another path of the image.
    pub(super) fn place(&mut self, host: &Path, at: &str) -> Result<(), BootstrapError> {
        let failed = |source| BootstrapError::Read { path: host.to_owned(), source };
        let file = HostFile::new(host, &host.metadata().map_err(failed)?)?;
        self.add(Path::new(at), Node::Host(HostFile { path: host.to_owned(), ..file }));
        Ok(())
    }

    /// Puts `node` at `path`, through the links that the tree has and with the directories that it lacks, unless there
    /// is something already. Whether it was put.
    pub(super) fn add(&mut self, path: &Path, node: Node) -> bool {
        let path = self.settle(path);
        let free = !self.nodes.contains_key(key(&path));
        if free {
            self.put(&path, node);
        }
        free
    }

    /// What is at `path`, through the tree's own links.
    pub(super) fn find(&self, path: &Path) -> Option<&Node> {
        let mut at = self.settled(path);
        for _ in 0..LINKS {
            match self.nodes.get(key(&at))? {
                Node::Symlink(target) => at = self.settled(&parent(&at).join(target)),
                other => return Some(other),
            }
        }
        None
    }

    pub(super) fn has_shell(&self) -> bool {
        matches!(self.find(Path::new("/bin/sh")), Some(Node::Host(_)))
    }

    pub(super) fn entries(&self) -> u64 {
        u64::try_from(self.nodes.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn size(&self) -> u64 {
        self.nodes.values().map(size_of).sum()
    }

    /// The time of the newest file of this machine in it.
    pub(super) fn newest(&self) -> i64 {
        let time = |node: &Node| if let Node::Host(file) = node { file.mtime } else { 0 };
        self.nodes.values().map(time).max().unwrap_or(0)
    }

    /// Writes the whole, in order, with no time later than `latest`.
    pub(super) fn write(&self, tar: &mut Writer<impl Write>, latest: i64) -> Result<(), BootstrapError> {
        self.nodes.iter().try_for_each(|(path, node)| write_node(tar, path, node, latest))
    }

    fn put(&mut self, path: &Path, node: Node) {
        self.nodes.insert(key(path).to_owned(), node);
    }

    /// `path` with the tree's links in all but its last component followed, and directories made where there are none.
    fn settle(&mut self, path: &Path) -> PathBuf {
        let settled = self.settled(path);
        let ancestors: Vec<_> = settled.ancestors().skip(1).map(|ancestor| key(ancestor).to_owned()).collect();
        for ancestor in ancestors.into_iter().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
            self.nodes.entry(ancestor).or_insert(Node::Directory { mode: 0o755 });
        }
        settled
    }

    fn settled(&self, path: &Path) -> PathBuf {
        let mut pending: VecDeque<OsString> = steps(path).collect();
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = pending.pop_front() {
            if step == ".." {
                at.pop();
                continue;
            }
            at.push(&step);
            if let Some(Node::Symlink(target)) = self.nodes.get(key(&at)).filter(|_| !pending.is_empty())
                && links < LINKS
            {
                links += 1;
                at = if target.is_absolute() { PathBuf::from("/") } else { parent(&at) };
                steps(target).rev().for_each(|step| pending.push_front(step));
            }
        }
        at
    }
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn key(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn size_of(node: &Node) -> u64 {
    match node {
        Node::Host(file) => file.size,
        Node::Made { content, .. } => u64::try_from(content.len()).unwrap_or(u64::MAX),
        Node::Directory { .. } | Node::Symlink(_) => 0,
    }
}

fn write_node(tar: &mut Writer<impl Write>, path: &Path, node: &Node, latest: i64) -> Result<(), BootstrapError> {
    let (kind, mode, mtime) = match node {
        Node::Directory { mode } => (Kind::Directory, *mode, latest),
        Node::Symlink(target) => (Kind::Symlink(target.as_os_str().as_bytes().to_vec()), 0o777, latest),
        Node::Host(file) => (Kind::File, file.mode, file.mtime.min(latest)),
        Node::Made { mode, .. } => (Kind::File, *mode, latest),
    };
    let mut name = path.as_os_str().as_bytes().to_vec();
    if kind == Kind::Directory {
        name.push(b'/');
    }
    let mut entry = Entry {
        path: name,
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: mtime, nanoseconds: 0 },
        atime: None,
        size: size_of(node),
        extents: None,
        xattrs: Vec::new(),
    };
    let failed = |source| BootstrapError::Write { source };
    match node {
        Node::Host(file) => {
            entry.xattrs.extend(file.capability.iter().map(|value| (CAPABILITY.into(), value.clone())));
            let read = |source| BootstrapError::Read { path: file.path.clone(), source };
            let opened = File::open(&file.path).map_err(read)?;
            tar.append(&entry, opened).map_err(|source| match source.kind() {
                // It changed while we read it.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => read(source),
                _ => failed(source),
            })
        }
        Node::Made { content, .. } => tar.append(&entry, content.as_slice()).map_err(failed),
        Node::Directory { .. } | Node::Symlink(_) => tar.append(&entry, io::empty()).map_err(failed),
    }
}
