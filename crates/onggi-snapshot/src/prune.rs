//! Layers that nobody needs go away.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_fs::size_of_tree;
use onggi_oci::Digest;
use onggi_sys::file;

use crate::pending::{digest_of, name_of};
use crate::snapshots::{CHAIN, DIFF};
use crate::temporary::Temporary;
use crate::{Error, Snapshots};

/// What a prune took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Diff ids of the layers removed.
    pub layers: Vec<Digest>,
    /// Bytes on disk that they took.
    pub bytes: u64,
}

impl Snapshots {
    /// Removes every layer that is not in `keep` and not below a writable snapshot.
    ///
    /// `keep` is asked when nobody else can add a need: all leases are waited for, at most `patience`, and new ones wait
    /// until this has moved the layers aside. A layer that is still being unpacked is not touched.
    pub fn prune<E: From<Error>>(
        &self,
        patience: Duration,
        keep: impl FnOnce() -> Result<HashSet<Digest>, E>,
    ) -> Result<Pruned, E> {
        let lock = self.lock_exclusively(patience)?;
        let keep = keep()?;
        let (grave, pruned) = self.bury(&keep)?;
        drop(lock);
        grave.remove().map_err(|source| Error::Tidy { source })?;
        Ok(pruned)
    }

    fn bury(&self, keep: &HashSet<Digest>) -> Result<(Temporary, Pruned), Error> {
        let used = self.used()?;
        let tidy = |source| Error::Tidy { source };
        let grave = Temporary::new(self.root()).map_err(tidy)?;
        let mut pruned = Pruned::default();
        for diff_id in self.layers()? {
            let name = name_of(&diff_id);
            if keep.contains(&diff_id) || used.contains(&Path::new(DIFF).join(&name)) {
                continue;
            }
            pruned.bytes += size_of_tree(self.layers_dir(), &name).map_err(tidy)?;
            grave.take(self.layers_dir(), &name).map_err(tidy)?;
            pruned.layers.push(diff_id);
        }
        for entry in file::entries(self.chains_dir()).map_err(tidy)? {
            let name = Path::new(&entry.name);
            let layers = self.layers_of_chain(&entry.name).unwrap_or_default();
            let needed = !layers.is_empty() && layers.iter().all(|layer| keep.contains(layer));
            if needed || used.contains(&Path::new(CHAIN).join(name)) || digest_of(&entry.name).is_none() {
                continue;
            }
            pruned.bytes += size_of_tree(self.chains_dir(), name).map_err(tidy)?;
            grave.take(self.chains_dir(), name).map_err(tidy)?;
        }
        Ok((grave, pruned))
    }

    /// The layers below writable snapshots, as `diff/NAME` and `chain/NAME`.
    fn used(&self) -> Result<HashSet<PathBuf>, Error> {
        let mut used = HashSet::new();
        for id in self.writables()? {
            match self.writable(&id) {
                Ok((_, stack)) => {
                    used.extend(stack.layers.iter().filter_map(|layer| Some(layer.parent()?.to_path_buf())));
                }
                // Removed while we look.
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(used)
    }
}
