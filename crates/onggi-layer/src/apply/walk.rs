//! From one directory to the next, by descriptors.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use onggi_fs::Root;
use onggi_sys::file::{self, AtFlags, FileType, Mode, Timespec, Timestamps};
use onggi_sys::{Errno, Error as SysError};

use super::Fault;
use crate::overlay::{self, Namespace};

/// How many directories stay open: archives go down and up again, and each step back is then free.
const DEPTH: usize = 64;

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// The tree being made: where we are in it, and what is known of its directories.
pub(super) struct Walk<'r> {
    root: &'r Root,
    namespace: Namespace,
    /// The directories from the root to where we are.
    open: Vec<(OsString, Root)>,
    /// Where we are if that is deeper than [`DEPTH`].
    deep: Option<(PathBuf, Root)>,
    dirs: BTreeMap<PathBuf, Dir>,
}

/// A directory that this layer has.
pub(super) struct Dir {
    /// The layer has no entry for it, so the one below decides what it is like.
    pub(super) implicit: bool,
    /// Set when all is in place: what is made in a directory changes its times.
    pub(super) times: Timestamps,
    /// A mode that would lock an ordinary user out of his own directory; set at the end.
    pub(super) mode: Option<Mode>,
}

enum Step {
    Arrived,
    /// A link in the way: its path, and what of the way is left behind it.
    Link(PathBuf, PathBuf),
}

impl<'r> Walk<'r> {
    pub(super) fn new(root: &'r Root, namespace: Namespace) -> Self {
        let dirs = BTreeMap::from([(PathBuf::new(), Dir::implied())]);
        Self { root, namespace, open: Vec::new(), deep: None, dirs }
    }

    /// The directory we are in.
    pub(super) fn here(&self) -> &Root {
        match (&self.deep, self.open.last()) {
            (Some((_, dir)), _) | (None, Some((_, dir))) => dir,
            (None, None) => self.root,
        }
    }

    pub(super) fn root(&self) -> &Root {
        self.root
    }

    /// Goes to the directory `path`, making what is missing; tells its path without links.
    pub(super) fn enter(&mut self, path: &Path) -> Result<PathBuf, Fault> {
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            match self.descend(&path)? {
                Step::Arrived => return Ok(path),
                Step::Link(link, rest) => path = self.follow(&link)?.join(rest),
            }
        }
        Err(Fault::Entry("too many links lead to it"))
    }

    fn descend(&mut self, path: &Path) -> Result<Step, Fault> {
        if self.deep.as_ref().is_some_and(|(deep, _)| deep == path) {
            return Ok(Step::Arrived);
        }
        self.deep = None;
        let shared = path.iter().zip(&self.open).take_while(|(name, (open, _))| name == open).count();
        self.open.truncate(shared);
        let mut walked: PathBuf = path.iter().take(shared).collect();
        for name in path.iter().skip(shared) {
            walked.push(name);
            let Some(dir) = self.child(name, &walked)? else {
                let rest = path.strip_prefix(&walked).unwrap_or(Path::new(""));
                return Ok(Step::Link(walked.clone(), rest.to_path_buf()));
            };
            if self.open.len() < DEPTH {
                self.open.push((name.to_owned(), dir));
            } else {
                self.deep = Some((walked.clone(), dir));
            }
        }
        Ok(Step::Arrived)
    }

    /// The directory `name` right here, made if it is not there; `None` if it is a link.
    fn child(&mut self, name: &OsStr, path: &Path) -> Result<Option<Root>, Fault> {
        match self.here().child_dir(name) {
            Ok(dir) => return Ok(Some(dir)),
            Err(error) if error.is(Errno::NOENT) => self.make_implicit(name, path)?,
            Err(error) if error.is(Errno::NOTDIR) || error.is(Errno::LOOP) => {
                let found = file::stat_at(self.here(), name)?;
                match file::type_of(&found) {
                    FileType::Symlink => return Ok(None),
                    _ if overlay::is_whiteout(&found) => self.replace_whiteout(name, path)?,
                    _ => return Err(Fault::Entry("what it is in is not a directory")),
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Some(self.here().child_dir(name)?))
    }

    fn make_implicit(&mut self, name: &OsStr, path: &Path) -> Result<(), Fault> {
        let mode = Mode::from_raw_mode(0o755);
        file::mkdir(self.here(), name, mode)?;
        // The umask is the caller's.
        file::chmod_at(self.here(), name, mode)?;
        self.dirs.insert(path.to_path_buf(), Dir::implied());
        Ok(())
    }

    /// What the layer removed it now has anew: nothing of the layer below is left in it.
    fn replace_whiteout(&mut self, name: &OsStr, path: &Path) -> Result<(), Fault> {
        file::unlink(self.here(), name, AtFlags::empty())?;
        self.make_implicit(name, path)?;
        self.set_explicit(path);
        Ok(overlay::make_opaque(self.here(), name, self.namespace)?)
    }

    /// Where the link `link` leads, inside the root, to a directory of this layer.
    fn follow(&self, link: &Path) -> Result<PathBuf, Fault> {
        let dir =
            self.root.dir(link).map_err(|_| Fault::Entry("the link before it leads to no directory of this layer"))?;
        let (root, there) = (file::name_of(self.root), file::name_of(&dir));
        let inside = there.strip_prefix(&root).map_err(|_| Fault::Entry("the link before it leads out of the root"))?;
        Ok(inside.to_path_buf())
    }

    /// Takes down what is known of the directory `path`.
    pub(super) fn state(&mut self, path: &Path, dir: Dir) {
        self.dirs.insert(path.to_path_buf(), dir);
    }

    /// Says that `path` owes nothing to the layer below.
    pub(super) fn set_explicit(&mut self, path: &Path) {
        if let Some(dir) = self.dirs.get_mut(path) {
            dir.implicit = false;
        }
    }

    /// Removes whatever is called `name` right here (`path` is its path) with all that is known of it.
    pub(super) fn clear(&mut self, name: &OsStr, path: &Path) -> Result<(), SysError> {
        let found = file::stat_at(self.here(), name)?;
        if file::type_of(&found) != FileType::Directory {
            return file::unlink(self.here(), name, AtFlags::empty());
        }
        onggi_fs::remove_tree(self.here(), name)?;
        remove_below(&mut self.dirs, path);
        Ok(())
    }

    /// Gives directories their times and last modes, children before parents.
    pub(super) fn settle(&mut self) -> Result<(), (PathBuf, Fault)> {
        for (path, dir) in std::mem::take(&mut self.dirs).into_iter().rev() {
            self.settle_one(&path, &dir).map_err(|fault| (path.clone(), fault))?;
            self.dirs.insert(path, dir);
        }
        Ok(())
    }

    fn settle_one(&mut self, path: &Path, dir: &Dir) -> Result<(), Fault> {
        let name = path.file_name().unwrap_or(OsStr::new("."));
        // Every path in `dirs` is one without links, so nothing is made or followed here.
        self.enter(path.parent().unwrap_or(Path::new("")))?;
        if let Some(mode) = dir.mode {
            file::chmod_at(self.here(), name, mode)?;
        }
        file::set_times_at(self.here().as_fd(), name, &dir.times)?;
        Ok(())
    }

    /// The directories that the layer below decides about; the root is not among them.
    pub(super) fn implicit(&self) -> Vec<PathBuf> {
        let implied = self.dirs.iter().filter(|(path, dir)| dir.implicit && !path.as_os_str().is_empty());
        implied.map(|(path, _)| path.clone()).collect()
    }
}

impl Dir {
    /// What a directory is like that nothing is said about. The same archive makes the same tree, so its time is
    /// not today's.
    fn implied() -> Self {
        let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
        Self { implicit: true, times: Timestamps { last_access: epoch, last_modification: epoch }, mode: None }
    }
}

/// Forgets `path` and everything below it.
pub(super) fn remove_below<T>(map: &mut BTreeMap<PathBuf, T>, path: &Path) {
    let after = map.range(path.to_path_buf()..).map(|(below, _)| below);
    let below: Vec<PathBuf> = after.take_while(|below| below.starts_with(path)).cloned().collect();
    below.iter().for_each(|below| drop(map.remove(below)));
}
