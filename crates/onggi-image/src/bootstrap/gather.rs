//! From the names of programs to everything that they need.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::elf::Machine;
use super::libraries::{Loaders, musl_path_file};
use super::tree::{Node, Tree};
use super::{BootstrapError, Reason, SEARCH, Taken, busybox, data, ldcache};

/// The small programs that make a system usable; those of them that this machine has.
const USUAL: [&str; 63] = [
    "[",
    "awk",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "gzip",
    "head",
    "hostname",
    "id",
    "install",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "nproc",
    "od",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "uname",
    "uniq",
    "wc",
    "whoami",
    "xargs",
];

/// As much of a script's first line as the kernel reads.
const FIRST_LINE: usize = 256;

/// What was gathered, still without the skeleton.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) tree: Tree,
    pub(super) taken: Vec<Taken>,
    pub(super) userland: Userland,
}

/// What kind of system it will be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Userland {
    /// What its programs run on.
    pub(super) machine: Option<Machine>,
    /// Whether a program of it is loaded by a loader of this machine.
    pub(super) dynamic: bool,
    /// The static program that it was made of.
    pub(super) only: Option<PathBuf>,
}

/// `sh` and the usual small programs.
pub(super) fn usual(search: &[PathBuf]) -> Result<Gathered, BootstrapError> {
    let mut gatherer = Gatherer::new(search);
    gatherer.program("sh")?;
    for name in USUAL {
        match gatherer.program(name) {
            Err(BootstrapError::NoProgram { .. }) => {}
            other => other?,
        }
    }
    gatherer.finish()
}

/// These programs, or other files and directories by their paths.
pub(super) fn programs(names: &[String], search: &[PathBuf]) -> Result<Gathered, BootstrapError> {
    let mut gatherer = Gatherer::new(search);
    names.iter().try_for_each(|name| gatherer.program(name))?;
    gatherer.finish()
}

/// The file that `name` means: a path as it is, a name as the search path has it.
pub(super) fn look_up(name: &str, search: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        return std::path::absolute(name).ok().filter(|path| path.exists());
    }
    search.iter().map(|directory| directory.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

pub(super) struct Gatherer<'s> {
    pub(super) tree: Tree,
    pub(super) loaders: Loaders,
    search: &'s [PathBuf],
    taken: Vec<Taken>,
    /// What is in `taken`, by path without links.
    seen: HashSet<PathBuf>,
    userland: Userland,
    /// The loaders that were taken, as programs name them.
    used: Vec<PathBuf>,
    /// A file that makes glibc load libgcc.
    unwinds: Option<PathBuf>,
    busybox: Option<PathBuf>,
}

impl<'s> Gatherer<'s> {
    fn new(search: &'s [PathBuf]) -> Self {
        Self {
            tree: Tree::default(),
            loaders: Loaders::new(),
            search,
            taken: Vec::new(),
            seen: HashSet::new(),
            userland: Userland::default(),
            used: Vec::new(),
            unwinds: None,
            busybox: None,
        }
    }

    fn program(&mut self, name: &str) -> Result<(), BootstrapError> {
        let path = look_up(name, self.search).ok_or_else(|| {
            let searched = if name.contains('/') { Vec::new() } else { self.search.to_vec() };
            BootstrapError::NoProgram { name: name.into(), searched }
        })?;
        if path.is_dir() {
            self.directory(&path, Reason::Asked, &|_| true)?;
            return Ok(());
        }
        if !is_executable(&path) {
            self.file(&path, Reason::Asked)?;
            return Ok(());
        }
        self.link_into_path(name, &path);
        if path.file_name().is_some_and(|name| name == "busybox") {
            self.busybox = Some(path.clone());
        }
        self.executable(&path, Reason::Asked)
    }

    /// Makes a program that was asked for by name run by name, wherever it was found.
    fn link_into_path(&mut self, name: &str, path: &Path) {
        let usual = path.parent().is_some_and(|parent| SEARCH.iter().any(|directory| parent == Path::new(directory)));
        if !name.contains('/') && !usual {
            self.tree.add(&Path::new("/usr/local/bin").join(name), Node::Symlink(path.to_owned()));
        }
    }

    /// A program with all that it needs before its first instruction.
    fn executable(&mut self, path: &Path, reason: Reason) -> Result<(), BootstrapError> {
        let Some(real) = self.file(path, reason)? else { return Ok(()) };
        match self.loaders.elf(&real)? {
            Some(elf) => {
                self.userland.machine.get_or_insert(elf.machine);
                match &elf.interpreter {
                    Some(loader) => self.loaded(&real, loader),
                    None => Ok(()),
                }
            }
            None => self.script(&real),
        }
    }

    fn loaded(&mut self, program: &Path, loader: &Path) -> Result<(), BootstrapError> {
        self.userland.dynamic = true;
        if !loader.is_file() {
            return Err(BootstrapError::NoInterpreter { name: loader.into(), needed_by: program.into() });
        }
        self.file(loader, Reason::Loader(program.into()))?;
        if !self.used.iter().any(|used| used == loader) {
            self.used.push(loader.to_owned());
        }
        self.libraries(program, loader)
    }

    /// The libraries of a program or of a library that it opens by itself.
    pub(super) fn libraries(&mut self, file: &Path, loader: &Path) -> Result<(), BootstrapError> {
        let unwinds = self.loaders.elf(file)?.is_some_and(|elf| elf.unwinds);
        let needed = self.loaders.of(file, loader)?;
        if unwinds {
            self.unwinds.get_or_insert(file.to_owned());
        }
        for library in needed {
            if library.unwinds {
                self.unwinds.get_or_insert(library.path.clone());
            }
            self.file(&library.path, Reason::Library(library.by))?;
        }
        Ok(())
    }

    /// The interpreter in a script's first line; if that is `env`, also the program that it is asked for.
    fn script(&mut self, script: &Path) -> Result<(), BootstrapError> {
        let line = first_line(script)?;
        let line = line.strip_prefix("#!").ok_or_else(|| BootstrapError::NotAProgram { path: script.into() })?;
        let mut words = line.split_whitespace();
        let interpreter = words.next().ok_or_else(|| BootstrapError::NotAProgram { path: script.into() })?;
        let missing = |name: &str| BootstrapError::NoInterpreter { name: name.into(), needed_by: script.into() };
        let path = look_up(interpreter, &[]).ok_or_else(|| missing(interpreter))?;
        self.executable(&path, Reason::Interpreter(script.into()))?;
        if path.file_name().is_some_and(|name| name == "env") {
            let asked = words.find(|word| !word.starts_with('-') && !word.contains('='));
            if let Some(asked) = asked {
                let path = look_up(asked, self.search).ok_or_else(|| missing(asked))?;
                self.link_into_path(asked, &path);
                self.executable(&path, Reason::Interpreter(script.into()))?;
            }
        }
        Ok(())
    }

    /// A file with the links that lead to it; its path without links if it is new.
    pub(super) fn file(&mut self, path: &Path, reason: Reason) -> Result<Option<PathBuf>, BootstrapError> {
        let real = self.tree.take(path)?;
        if !self.seen.insert(real.clone()) {
            return Ok(None);
        }
        let size = match self.tree.find(&real) {
            Some(Node::Host(file)) => file.size,
            _ => 0,
        };
        self.taken.push(Taken { path: real.clone(), size, reason });
        Ok(Some(real))
    }

    /// A directory with everything in it that `wanted` lets through; the files in it.
    pub(super) fn directory(
        &mut self,
        path: &Path,
        reason: Reason,
        wanted: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<PathBuf>, BootstrapError> {
        let files = self.tree.take_all(path, wanted)?;
        let size = |file: &PathBuf| file.metadata().map_or(0, |metadata| metadata.len());
        if self.seen.insert(path.to_owned()) {
            self.taken.push(Taken { path: path.into(), size: files.iter().map(size).sum(), reason });
        }
        Ok(files)
    }

    /// Everything taken so far, by path.
    pub(super) fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// The loaders that are in use.
    pub(super) fn used(&self) -> &[PathBuf] {
        &self.used
    }

    /// A file that makes glibc load libgcc when it runs.
    pub(super) fn unwinds(&self) -> Option<&Path> {
        self.unwinds.as_deref()
    }

    fn finish(mut self) -> Result<Gathered, BootstrapError> {
        data::apply(&mut self)?;
        for loader in self.used.clone() {
            if let Some(path) = musl_path_file(&loader).filter(|path| path.is_file()) {
                self.file(&path, Reason::Data(loader.display().to_string()))?;
            }
        }
        let tree = &self.tree;
        if let Some(cache) = ldcache::subset(self.loaders.cache(), |path| tree.find(path).is_some()) {
            self.tree.add(Path::new("/etc/ld.so.cache"), Node::Made { content: cache, mode: 0o644 });
        }
        if let Some(path) = &self.busybox {
            busybox::link_applets(&mut self.tree, path, path)?;
        }
        Ok(Gathered { tree: self.tree, taken: self.taken, userland: self.userland })
    }
}

fn first_line(path: &Path) -> Result<String, BootstrapError> {
    let failed = |source| BootstrapError::Read { path: path.to_owned(), source };
    let mut head = Vec::new();
    let limit = u64::try_from(FIRST_LINE).unwrap_or(u64::MAX);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut head)).map_err(failed)?;
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    Ok(String::from_utf8_lossy(&head[..end]).into_owned())
}
