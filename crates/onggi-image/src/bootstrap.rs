//! A base image out of what this machine has: no registry, no download.
//!
//! From named programs it takes exactly what they need to run, and says of each file why it is there:
//!
//! - the program, found by its path or by its name on the search path, with every symbolic link on the way, so that
//!   `/bin` is a link to `usr/bin` in the image if it is one here; found by name where no container looks for it, it
//!   is linked to from `/usr/local/bin`;
//! - of a script the interpreter in its first line, and what `env` is asked for;
//! - of an ELF program its loader (`PT_INTERP`) and the libraries that this loader would find, and theirs: by
//!   `DT_RPATH`, `DT_RUNPATH`, `/etc/ld.so.cache` (or `/etc/ld-musl-*.path`) and the loader's own directories;
//! - what libraries and programs read at run time, as far as the rules in [`data`] know it;
//! - a skeleton: `/etc/passwd`, `/etc/os-release` and their kin, `/tmp`, mount points.
//!
//! What a program opens by itself (`dlopen`, `exec`, files of its own) is not seen. A path that is not a program, be
//! it a file or a directory, is taken as it stands, so it can be added by naming it.
//!
//! Without programs it is a static busybox with a link for each of its applets, where there is one, else `sh` and the
//! usual small programs. From a directory or an archive, it is the whole of that.
//!
//! The same files make the same image, digest for digest: everything is sorted and owned by root, times are whole
//! seconds and none is later than `SOURCE_DATE_EPOCH` (or the newest file's), and nothing tells when or where it ran.

mod archive;
mod busybox;
mod data;
mod elf;
mod error;
mod gather;
mod ldcache;
mod libraries;
mod rootfs;
mod seal;
mod skeleton;
mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use onggi_oci::{Descriptor, Digest, Reference};

pub use error::BootstrapError;
use gather::Gathered;

use crate::{ImageError, Images};

/// What to make an image of, and what to call it.
#[derive(Debug, Clone)]
pub struct BootstrapRequest {
    /// The image's name.
    pub name: Reference,
    /// Where its files come from.
    pub source: BootstrapSource,
    /// Where programs are looked for by name after the usual directories: the caller's `PATH`.
    pub search: Vec<PathBuf>,
    /// No time in the image is later than this, in seconds since 1970: the caller's `SOURCE_DATE_EPOCH`.
    pub latest: Option<i64>,
}

/// Where an image's files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootstrapSource {
    /// A static busybox, or `sh` and the usual small programs.
    Default,
    /// These programs, by name or by path, and what they need.
    Programs(Vec<String>),
    /// A directory, as `debootstrap` makes one; other file systems mounted in it are left out.
    Rootfs(PathBuf),
    /// A tar archive, plain or compressed.
    Tar(PathBuf),
}

/// An image that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrapped {
    /// The image's ID: the digest of its configuration.
    pub id: Digest,
    /// What its name leads to now.
    pub target: Descriptor,
    /// What was taken and why; empty for a directory or an archive, which are taken whole.
    pub taken: Vec<Taken>,
    /// How many files, links and directories it has.
    pub entries: u64,
    /// Bytes in its files.
    pub size: u64,
}

/// Something of this machine that is in the image now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its path in the image.
    pub path: PathBuf,
    /// Bytes in it, or in all below it.
    pub size: u64,
    /// Why it was taken.
    pub reason: Reason,
}

/// Why something is in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It was asked for.
    Asked,
    /// It runs a script: this one.
    Interpreter(PathBuf),
    /// It loads a program: this one.
    Loader(PathBuf),
    /// It is linked to: by this file.
    Library(PathBuf),
    /// This program or library reads it at run time.
    Data(String),
}

/// Where programs are looked for first: there a container looks for them too, by its own `PATH`.
const SEARCH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

impl Images {
    /// Makes an image of this machine's own files and gives it its name.
    ///
    /// # Errors
    /// Nothing has the name then; what was stored for it goes with the next prune.
    pub fn bootstrap(&self, request: &BootstrapRequest) -> Result<Bootstrapped, BootstrapError> {
        if request.name.digest().is_some() {
            return Err(ImageError::TagWithDigest { name: request.name.to_string() }.into());
        }
        let search = search_path(&request.search);
        match &request.source {
            BootstrapSource::Default => match busybox::find_static(&search)? {
                Some(path) => self.seal_tree(request, busybox::alone(&path)?),
                None => self.seal_tree(request, gather::usual(&search)?),
            },
            BootstrapSource::Programs(programs) => self.seal_tree(request, gather::programs(programs, &search)?),
            BootstrapSource::Rootfs(path) => self.seal_rootfs(request, path),
            BootstrapSource::Tar(path) => self.seal_tar(request, path),
        }
    }

    fn seal_tree(&self, request: &BootstrapRequest, gathered: Gathered) -> Result<Bootstrapped, BootstrapError> {
        let Gathered { mut tree, taken, userland } = gathered;
        skeleton::complete(&mut tree, &userland)?;
        let latest = request.latest.unwrap_or_else(|| tree.newest());
        let made_by = match &request.source {
            BootstrapSource::Programs(programs) => format!("onggi image bootstrap: {}", programs.join(" ")),
            _ => "onggi image bootstrap".to_owned(),
        };
        let lease = self.store().lease()?;
        let (layer, ()) = archive::store(&lease, |tar| tree.write(tar, latest))?;
        let shell = tree.has_shell();
        let sealed = seal::seal(&lease, &layer, &seal::Facts { latest, shell, machine: userland.machine, made_by })?;
        let (entries, size) = (tree.entries(), tree.size());
        self.note_size(&layer.diff_id, size);
        self.store().tag(&request.name, &sealed.target)?;
        Ok(Bootstrapped { id: sealed.id, target: sealed.target, taken, entries, size })
    }

    fn seal_rootfs(&self, request: &BootstrapRequest, path: &Path) -> Result<Bootstrapped, BootstrapError> {
        let root = rootfs::open(path)?;
        let lease = self.store().lease()?;
        let latest = request.latest;
        let (layer, seen) = archive::store(&lease, |tar| rootfs::write(&root, tar, latest))?;
        self.finish_whole(request, &lease, &layer, &seen, "from a directory")
    }

    fn seal_tar(&self, request: &BootstrapRequest, path: &Path) -> Result<Bootstrapped, BootstrapError> {
        let lease = self.store().lease()?;
        let latest = request.latest;
        let (layer, seen) = archive::store(&lease, |tar| archive::copy(path, tar, latest))?;
        self.finish_whole(request, &lease, &layer, &seen, "from an archive")
    }

    fn finish_whole(
        &self,
        request: &BootstrapRequest,
        lease: &onggi_store::Lease<'_>,
        layer: &archive::Layer,
        seen: &archive::Seen,
        how: &str,
    ) -> Result<Bootstrapped, BootstrapError> {
        let latest = request.latest.unwrap_or(seen.newest);
        let made_by = format!("onggi image bootstrap, {how}");
        let facts = seal::Facts { latest, shell: seen.has_shell(), machine: seen.machine, made_by };
        let sealed = seal::seal(lease, layer, &facts)?;
        let (entries, size) = (seen.entries, seen.size);
        self.note_size(&layer.diff_id, size);
        self.store().tag(&request.name, &sealed.target)?;
        Ok(Bootstrapped { id: sealed.id, target: sealed.target, taken: Vec::new(), entries, size })
    }
}

fn search_path(given: &[PathBuf]) -> Vec<PathBuf> {
    let mut search: Vec<PathBuf> = SEARCH.iter().map(PathBuf::from).collect();
    search.extend(given.iter().filter(|directory| !SEARCH.iter().any(|usual| directory.as_path() == *usual)).cloned());
    search
}
