//! Which libraries a loader would load for a program: ld.so(8) of glibc, and musl's `ldso/dynlink.c`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::BootstrapError;
use super::elf::{Elf, Machine};
use super::ldcache::{self, Known};

/// A library of a program and who needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    /// As the loader opens it; there may be links in it.
    pub(super) path: PathBuf,
    pub(super) by: PathBuf,
    pub(super) unwinds: bool,
}

/// Which loader, for each has its own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavor {
    Glibc,
    Musl,
}

/// The loaders of this machine, with what they know and what was read already.
#[derive(Debug)]
pub(super) struct Loaders {
    cache: Vec<Known>,
    read: HashMap<PathBuf, Option<Rc<Elf>>>,
}

/// A program or library that is in memory, as it were.
struct Loaded {
    path: PathBuf,
    elf: Rc<Elf>,
    /// Who needed it first.
    parent: Option<usize>,
}

impl Loaders {
    pub(super) fn new() -> Self {
        // A machine without glibc has no cache, and one that cannot be read is as good as none.
        let cache = std::fs::read("/etc/ld.so.cache").map(|file| ldcache::parse(&file)).unwrap_or_default();
        Self { cache, read: HashMap::new() }
    }

    /// The libraries that glibc's loader knows by name.
    pub(super) fn cache(&self) -> &[Known] {
        &self.cache
    }

    /// What the ELF file at `path` says; `None` if it is none. Each file is read once.
    pub(super) fn elf(&mut self, path: &Path) -> Result<Option<Rc<Elf>>, BootstrapError> {
        if let Some(known) = self.read.get(path) {
            return Ok(known.clone());
        }
        let elf = Elf::read(path)?.map(Rc::new);
        self.read.insert(path.to_owned(), elf.clone());
        Ok(elf)
    }

    /// All libraries of the program or library at `path`, in the order in which they are loaded. `loader` is the
    /// program's own, or of a library that of the programs that open it.
    pub(super) fn of(&mut self, path: &Path, loader: &Path) -> Result<Vec<Needed>, BootstrapError> {
        let Some(elf) = self.elf(path)? else { return Ok(Vec::new()) };
        let flavor = flavor_of(loader);
        let mut loaded = vec![Loaded { path: path.to_owned(), elf, parent: None }];
        let mut names: Vec<String> = Vec::new();
        let mut found = Vec::new();
        let mut at = 0;
        while at < loaded.len() {
            for name in loaded[at].elf.needed.clone() {
                if names.contains(&name) || is_loader(&name, loader, flavor) {
                    continue;
                }
                let (library, elf) = self.find(&name, &loaded, at, loader, flavor)?;
                names.extend(elf.soname.clone());
                names.push(name);
                let unwinds = elf.unwinds && !provides_unwinders(&library);
                found.push(Needed { path: library.clone(), by: loaded[at].path.clone(), unwinds });
                loaded.push(Loaded { path: library, elf, parent: Some(at) });
            }
            at += 1;
        }
        Ok(found)
    }

    fn find(
        &mut self,
        name: &str,
        loaded: &[Loaded],
        at: usize,
        loader: &Path,
        flavor: Flavor,
    ) -> Result<(PathBuf, Rc<Elf>), BootstrapError> {
        let machine = loaded[at].elf.machine;
        let directories = directories(loaded, at, loader, flavor);
        let candidates =
            if name.contains('/') { vec![PathBuf::from(name)] } else { self.candidates(name, &directories, flavor) };
        for candidate in candidates {
            if let Some(elf) = self.library(&candidate, machine)? {
                return Ok((candidate, elf));
            }
        }
        let searched = directories.before.into_iter().chain(directories.after).collect();
        Err(BootstrapError::NoLibrary { name: name.into(), needed_by: loaded[at].path.clone(), searched })
    }

    fn candidates(&self, name: &str, directories: &Directories, flavor: Flavor) -> Vec<PathBuf> {
        let by_name = self.cache.iter().filter(|known| flavor == Flavor::Glibc && known.name == name);
        let (baseline, special): (Vec<_>, Vec<_>) = by_name.partition(|known| known.baseline);
        let cached = baseline.into_iter().chain(special).map(|known| known.path.clone());
        let before = directories.before.iter().map(|directory| directory.join(name));
        before.chain(cached).chain(directories.after.iter().map(|directory| directory.join(name))).collect()
    }

    /// The library at `path`, if there is one and it fits; loaders pass by those that do not.
    fn library(&mut self, path: &Path, machine: Machine) -> Result<Option<Rc<Elf>>, BootstrapError> {
        if !path.is_file() {
            return Ok(None);
        }
        Ok(self.elf(path)?.filter(|elf| elf.machine == machine))
    }
}

/// Where a library is looked for, before and after the loader's cache.
struct Directories {
    before: Vec<PathBuf>,
    after: Vec<PathBuf>,
}

fn directories(loaded: &[Loaded], at: usize, loader: &Path, flavor: Flavor) -> Directories {
    let object = &loaded[at];
    let mut before = Vec::new();
    match flavor {
        // An object with RUNPATH says no to the RPATH of all.
        Flavor::Glibc if object.elf.runpath.is_empty() => {
            for above in line(loaded, at).filter(|above| above.elf.runpath.is_empty()) {
                before.extend(above.elf.rpath.iter().flat_map(|part| expand(part, &above.path)));
            }
        }
        Flavor::Glibc => before.extend(object.elf.runpath.iter().flat_map(|part| expand(part, &object.path))),
        Flavor::Musl => {
            for above in line(loaded, at) {
                let parts = if above.elf.runpath.is_empty() { &above.elf.rpath } else { &above.elf.runpath };
                before.extend(parts.iter().flat_map(|part| expand(part, &above.path)));
            }
        }
    }
    let after = match flavor {
        Flavor::Glibc => glibc_directories(loader),
        Flavor::Musl => musl_directories(loader),
    };
    Directories { before, after }
}

/// The object and those that brought it in, up to the program.
fn line(loaded: &[Loaded], at: usize) -> impl Iterator<Item = &Loaded> {
    std::iter::successors(loaded.get(at), |object| loaded.get(object.parent?))
}

/// `$ORIGIN`, `$LIB` and `$PLATFORM` in a directory of RPATH or RUNPATH; `$LIB` is another one on each distribution.
fn expand(part: &str, object: &Path) -> Vec<PathBuf> {
    let real = object.canonicalize().unwrap_or_else(|_| object.to_owned());
    let origin = real.parent().unwrap_or(Path::new("/")).display().to_string();
    let part = replace(&replace(part, "ORIGIN", &origin), "PLATFORM", std::env::consts::ARCH);
    if !part.contains("$LIB") && !part.contains("${LIB}") {
        return vec![PathBuf::from(part)];
    }
    let multiarch = format!("lib/{}-linux-gnu", std::env::consts::ARCH);
    [multiarch.as_str(), "lib64", "lib"].iter().map(|lib| PathBuf::from(replace(&part, "LIB", lib))).collect()
}

fn replace(text: &str, variable: &str, value: &str) -> String {
    text.replace(&format!("${{{variable}}}"), value).replace(&format!("${variable}"), value)
}

/// The directories built into glibc's loader: its own, where distributions with multiarch have the libraries too, and
/// the four of old.
fn glibc_directories(loader: &Path) -> Vec<PathBuf> {
    let real = loader.canonicalize().ok();
    let own = real.iter().filter_map(|real| real.parent()).map(Path::to_owned);
    own.chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from)).collect()
}

/// Where musl's loader looks: the file beside its name in `/etc`, or what is built in.
fn musl_directories(loader: &Path) -> Vec<PathBuf> {
    let listed = musl_path_file(loader).and_then(|file| std::fs::read_to_string(file).ok());
    let listed = listed.as_deref().unwrap_or("/lib:/usr/local/lib:/usr/lib");
    listed.split([':', '\n']).filter(|part| !part.is_empty()).map(PathBuf::from).collect()
}

/// `/etc/ld-musl-x86_64.path` for `/lib/ld-musl-x86_64.so.1`; `None` for another loader than musl's.
pub(super) fn musl_path_file(loader: &Path) -> Option<PathBuf> {
    let name = loader.file_name()?.to_str()?.split(".so").next()?;
    name.starts_with("ld-musl-").then(|| Path::new("/etc").join(format!("{name}.path")))
}

fn flavor_of(loader: &Path) -> Flavor {
    if musl_path_file(loader).is_some() { Flavor::Musl } else { Flavor::Glibc }
}

/// Whether the loader is that library itself. musl's is all of the C library, under any name of a part of it.
fn is_loader(name: &str, loader: &Path, flavor: Flavor) -> bool {
    const PARTS: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
    let part = name.strip_prefix("lib").and_then(|rest| rest.split('.').next());
    loader.file_name().is_some_and(|own| own == name)
        || (flavor == Flavor::Musl && part.is_some_and(|part| PARTS.contains(&part) && name.contains(".so")))
}

/// The C library names those functions because they are its own.
fn provides_unwinders(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ["libc.so", "libpthread.so", "libgcc_s.so"].iter().any(|own| name.starts_with(own))
}
