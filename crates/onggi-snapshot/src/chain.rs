//! Layers on top of each other.
//!
//! A layer knows nothing of those below it, and most need not. Where one does, what the layers below decide goes
//! into an extra layer right above it, made once for each stack (by chain id): directories that it has files in but
//! no entry for, with the attributes from below; and files from below that it links to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use onggi_fs::{Durability, Root, write_atomic};
use onggi_layer::Finish;
use onggi_layer::overlay::{self, Namespace};
use onggi_oci::{ChainId, Digest};
use onggi_sys::file::{self, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps};
use onggi_sys::{Errno, Result as SysResult};

use crate::mount::Overlay;
use crate::pending::{FILES, FINISH, name_of};
use crate::snapshots::{CHAIN, layer_path};
use crate::temporary::Temporary;
use crate::{Error, Snapshots, copy};

const LAYERS: &str = "layers";

/// Lower layers of a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Bottom first, from the store's directory.
    pub(crate) layers: Vec<PathBuf>,
    /// The layer that says what the root directory is like, if one does.
    pub(crate) root: Option<PathBuf>,
}

impl Stack {
    pub(crate) fn to_text(&self) -> String {
        self.layers.iter().map(|layer| format!("{}\n", layer.display())).collect()
    }

    /// Reads what [`Stack::to_text`] wrote; the root is the mount's upper directory's by then.
    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let sound = |line: &str| line.starts_with("diff/") || line.starts_with("chain/");
        let layers = text.lines().all(sound).then(|| text.lines().map(PathBuf::from).collect())?;
        Some(Self { layers, root: None })
    }

    /// A layer that is in a stack twice counts where it is on top: whatever it has or hides lower down, it has or
    /// hides there as well. overlayfs refuses the same directory twice.
    fn push(&mut self, layer: PathBuf) {
        self.layers.retain(|below| *below != layer);
        self.layers.push(layer);
    }
}

impl Snapshots {
    /// The directories that `layers` (diff ids, bottom first) come to.
    pub(crate) fn stack(&self, layers: &[Digest]) -> Result<Stack, Error> {
        let mut stack = Stack::default();
        for (index, diff_id) in layers.iter().enumerate() {
            let finish = self.finish_of(diff_id)?;
            if finish.root_opaque {
                stack.layers.clear();
            }
            let below = stack.layers.clone();
            stack.push(layer_path(diff_id));
            if finish.root_stated {
                stack.root = Some(layer_path(diff_id));
            }
            if let Some(extra) = self.extra_layer(&layers[..=index], diff_id, &finish, &below)? {
                stack.push(extra);
            }
        }
        Ok(stack)
    }

    fn finish_of(&self, diff_id: &Digest) -> Result<Finish, Error> {
        let broken = |source| Error::Store { layer: diff_id.clone(), source };
        let dir = match self.layers_dir().child_dir(name_of(diff_id)) {
            Err(error) if error.is(Errno::NOENT) => return Err(Error::NoLayer { layer: diff_id.clone() }),
            other => other.map_err(broken)?,
        };
        match dir.read(FINISH, 1 << 30) {
            Err(error) if error.is(Errno::NOENT) => Ok(Finish::default()),
            Err(source) => Err(broken(source)),
            Ok(bytes) => Finish::from_bytes(&bytes)
                .ok_or_else(|| Error::Damaged { path: self.path().join("diff").join(name_of(diff_id)).join(FINISH) }),
        }
    }

    /// The extra layer above `diff_id` on this stack, made if it was never needed before.
    fn extra_layer(
        &self,
        stack: &[Digest],
        diff_id: &Digest,
        finish: &Finish,
        below: &[PathBuf],
    ) -> Result<Option<PathBuf>, Error> {
        if finish.implicit.is_empty() && finish.links.is_empty() || below.is_empty() && finish.links.is_empty() {
            return Ok(None);
        }
        let Some(chain) = ChainId::of(stack) else { return Ok(None) };
        let name = name_of(chain.digest());
        let broken = |source| Error::Finish { layer: diff_id.clone(), source };
        if let Some(made) = self.made_before(&name).map_err(broken)? {
            return Ok(made);
        }
        let work = Temporary::new(self.root()).map_err(broken)?;
        self.make_extra(work.dir(), diff_id, finish, below)?;
        self.keep_extra(work, &name, stack).map_err(broken)?;
        self.made_before(&name).map_err(broken).map(Option::flatten)
    }

    /// The extra layer `name`, if it was looked for before; `Some(None)` if there was nothing to put in.
    fn made_before(&self, name: &str) -> SysResult<Option<Option<PathBuf>>> {
        let dir = match self.chains_dir().child_dir(name) {
            Err(error) if error.is(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        match file::stat_at(&dir, FILES) {
            Ok(_) => Ok(Some(Some([CHAIN, name, FILES].iter().collect()))),
            Err(error) if error.is(Errno::NOENT) => Ok(Some(None)),
            Err(error) => Err(error),
        }
    }

    fn make_extra(&self, work: &Root, diff_id: &Digest, finish: &Finish, below: &[PathBuf]) -> Result<(), Error> {
        let overlay = Overlay { store: self, layers: below, writable: None, durability: Durability::Durable };
        let lower = overlay.mount("the layers below")?;
        let broken = |source| Error::Finish { layer: diff_id.clone(), source };
        let prepare = || {
            file::mkdir(work, FILES, Mode::RWXU)?;
            file::chmod_at(work, FILES, Mode::from_raw_mode(0o755))?;
            let layer = self.root().dir(layer_path(diff_id))?;
            Ok((work.child_dir(FILES)?, layer))
        };
        let (files, layer) = prepare().map_err(broken)?;
        let mut extra = Extra {
            lower: Root::from(lower),
            layer,
            files,
            finish,
            namespace: self.namespace(),
            copied: BTreeMap::new(),
            made: BTreeMap::new(),
            empty: true,
        };
        for path in &finish.implicit {
            extra.implicit(path).map_err(broken)?;
        }
        for path in finish.links.keys() {
            if !extra.link(path).map_err(broken)? {
                let target = finish.links[path].clone();
                return Err(Error::DanglingLink { layer: diff_id.clone(), path: path.clone(), target });
            }
        }
        let tidy = || {
            if extra.empty {
                return onggi_fs::remove_tree(work, FILES);
            }
            extra.settle()?;
            // The root's attributes are the mount's business, not this layer's.
            copy::directory_attributes(&extra.layer, ".", &extra.files, ".")
        };
        tidy().map_err(broken)
    }

    fn keep_extra(&self, work: Temporary, name: &str, stack: &[Digest]) -> SysResult<()> {
        let layers: String = stack.iter().map(|diff_id| format!("{diff_id}\n")).collect();
        write_atomic(work.dir(), LAYERS, layers.as_bytes(), 0o600, Durability::Volatile)?;
        let readable = file::open(work.dir(), ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        file::sync_all(&readable)?;
        // If another process made the same meanwhile, one of the two is as good as the other.
        work.keep(self.chains_dir(), name).map(drop)
    }

    /// The diff ids of the stack that the chain `name` was made for.
    pub(crate) fn layers_of_chain(&self, name: &OsStr) -> SysResult<Vec<Digest>> {
        let text = self.chains_dir().child_dir(name)?.read(LAYERS, 1 << 20)?;
        Ok(String::from_utf8_lossy(&text).lines().filter_map(|line| Digest::parse(line).ok()).collect())
    }
}

/// An extra layer in the making.
struct Extra<'e> {
    /// The layers below, merged.
    lower: Root,
    /// The layer that it goes above.
    layer: Root,
    files: Root,
    finish: &'e Finish,
    namespace: Namespace,
    /// Where each file from below that is linked to has got its first name here.
    copied: BTreeMap<PathBuf, PathBuf>,
    /// Directories here, with the times that they get when all is in them.
    made: BTreeMap<PathBuf, Option<Timestamps>>,
    empty: bool,
}

impl Extra<'_> {
    /// A directory that the layer says nothing about: as below, if it is there.
    fn implicit(&mut self, path: &Path) -> SysResult<()> {
        if find(&self.lower, path)?.is_some_and(|(_, found)| is_directory(&found)) {
            self.directory(path)?;
        }
        Ok(())
    }

    /// The directory `path` here, with those above it; each as the layer has it if it says so, else as below.
    fn directory(&mut self, path: &Path) -> SysResult<Root> {
        let Some(name) = path.file_name() else { return self.files.try_clone() };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        match file::mkdir(&parent, name, Mode::RWXU) {
            Err(error) if error.is(Errno::EXIST) => return parent.child_dir(name),
            result => result?,
        }
        self.empty = false;
        let own = find(&self.layer, path)?.filter(|(_, found)| is_directory(found));
        let below = find(&self.lower, path)?.filter(|(_, found)| is_directory(found));
        let implicit = self.finish.implicit.binary_search_by(|probe| probe.as_path().cmp(path)).is_ok();
        let model = match (own, below) {
            (Some(own), Some(below)) => Some(if implicit { below } else { own }),
            (own, below) => own.or(below),
        };
        let mut times = None;
        if let Some((dir, found)) = model {
            copy::directory_attributes(&dir, name, &parent, name)?;
            times = Some(copy::times(&found));
        }
        self.made.insert(path.to_path_buf(), times);
        parent.child_dir(name)
    }

    /// Puts back the times that making things in directories changed.
    fn settle(&self) -> SysResult<()> {
        for (path, times) in self.made.iter().rev() {
            if let (Some(times), Some((dir, _))) = (times, find(&self.files, path)?) {
                file::set_times_at(&dir, name_in(path), times)?;
            }
        }
        Ok(())
    }

    /// Makes the link `path`; false if there is nothing below that it could link to.
    fn link(&mut self, path: &Path) -> SysResult<bool> {
        let Some(target) = self.target_of(path) else { return Ok(false) };
        let Some((dir, found)) = find(&self.lower, &target)? else { return Ok(false) };
        if is_directory(&found) {
            return Ok(false);
        }
        let first = match self.copied.get(&target) {
            Some(first) => first.clone(),
            None => {
                // The file takes part under its own name too, unless the layer has something else there.
                let shown = self.shows_below(&target)?;
                let first = if shown { target.clone() } else { path.to_path_buf() };
                let to = self.directory(first.parent().unwrap_or(Path::new("")))?;
                copy::node(&dir, name_in(&target), &to, name_in(&first))?;
                self.copied.insert(target, first.clone());
                self.empty = false;
                first
            }
        };
        if first != path {
            let from = self.directory(first.parent().unwrap_or(Path::new("")))?;
            let to = self.directory(path.parent().unwrap_or(Path::new("")))?;
            file::link(&from, name_in(&first), &to, name_in(path))?;
        }
        Ok(true)
    }

    /// Whether what is below shows at `path` through the layer.
    fn shows_below(&self, path: &Path) -> SysResult<bool> {
        let mut ancestors: Vec<&Path> = path.ancestors().filter(|ancestor| ancestor.file_name().is_some()).collect();
        ancestors.reverse();
        for ancestor in ancestors {
            let Some((dir, found)) = find(&self.layer, ancestor)? else { return Ok(true) };
            if !is_directory(&found) || overlay::is_opaque(&dir, name_in(ancestor), self.namespace)? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// What the link comes to, through links to links; `None` if it comes back to itself.
    fn target_of(&self, path: &Path) -> Option<PathBuf> {
        let mut target = self.finish.links.get(path)?;
        for _ in 0..=self.finish.links.len() {
            match self.finish.links.get(target) {
                Some(next) => target = next,
                None => return Some(target.clone()),
            }
        }
        None
    }
}

/// The directory that holds `path` and what `path` is, if it is there; no link is followed on the way.
fn find(root: &Root, path: &Path) -> SysResult<Option<(Root, Stat)>> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let found = file::open2(root, parent, flags, Mode::empty(), resolve)
        .map(Root::from)
        .and_then(|dir| file::stat_at(&dir, name_in(path)).map(|found| (dir, found)));
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|&errno| error.is(errno)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn name_in(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(OsStr::from_bytes(b"."))
}

fn is_directory(stat: &Stat) -> bool {
    file::type_of(stat) == FileType::Directory
}
