//! `index.json`: what is kept, and under which names.

use onggi_fs::{Durability, write_atomic};
use onggi_oci::{Descriptor, Digest, ImageIndex, Reference};
use onggi_sys::Errno;

use crate::error::Doing;
use crate::store::INDEX;
use crate::wrapper::{self, TARGET};
use crate::{Store, StoreError};

/// Enough for a hundred thousand images.
const INDEX_LIMIT: usize = 64 << 20;

/// What skopeo, umoci and podman look for after the colon of `oci:PATH:NAME`.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd and Docker put the whole name; `ref.name` is often just a tag in what they write.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// A root of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; `None` for an image that lost it (a "dangling" one) or one that another tool named in its own way.
    pub name: Option<Reference>,
    /// The manifest or index; the annotations that hold its name are not among its own.
    pub descriptor: Descriptor,
}

/// The names as they are at one moment, to be looked at or, in [`Store::edit_names`], changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    index: ImageIndex,
}

impl Names {
    /// All entries, in the order in which they came.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.index.manifests.iter().map(|found| Entry { name: name_of(found), descriptor: target_of(found) })
    }

    /// What a name leads to. A name with a digest leads to that digest only.
    pub fn resolve(&self, name: &Reference) -> Option<Descriptor> {
        // As we write it; with a thousand images, reading each name as a user's would be felt.
        let written = name.to_string();
        let ours = |found: &&Descriptor| found.annotations.get(IMAGE_NAME) == Some(&written);
        if let Some(found) = self.index.manifests.iter().find(ours) {
            return Some(target_of(found));
        }
        let exact = self.entries().find(|entry| entry.name.as_ref() == Some(name));
        let found = exact.or_else(|| self.entries().find(|entry| is_pinned(entry, name)));
        found.map(|entry| entry.descriptor)
    }

    /// Gives a name to `descriptor`. What had it keeps its place without a name, unless it has another.
    pub fn tag(&mut self, name: &Reference, descriptor: &Descriptor) {
        let replaced = self.take(|found| name_of(found).as_ref() == Some(name));
        // The image is no longer a nameless one.
        drop(self.take(|found| target_of(found).digest == descriptor.digest && is_nameless(found)));
        self.index.manifests.push(named(descriptor, name));
        for old in replaced {
            self.hold(&old);
        }
    }

    /// Takes a name away and answers what had it; that is kept only by its other names then.
    pub fn untag(&mut self, name: &Reference) -> Option<Descriptor> {
        self.take(|found| name_of(found).as_ref() == Some(name)).pop()
    }

    /// Keeps `descriptor` without a name, unless it is there under any.
    pub fn hold(&mut self, descriptor: &Descriptor) {
        if !self.entries().any(|entry| entry.descriptor.digest == descriptor.digest) {
            self.index.manifests.push(plain(descriptor));
        }
    }

    /// Takes all entries of a manifest or index away, and answers the names they had.
    pub fn forget(&mut self, digest: &Digest) -> Vec<Reference> {
        let all = self.index.manifests.iter().filter(|found| target_of(found).digest == *digest);
        let names = all.filter_map(name_of).collect();
        drop(self.take(|found| target_of(found).digest == *digest));
        names
    }

    /// Removes entries and answers what they led to.
    fn take(&mut self, which: impl Fn(&Descriptor) -> bool) -> Vec<Descriptor> {
        let (taken, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.index.manifests).into_iter().partition(|found| which(found));
        self.index.manifests = left;
        taken.iter().map(target_of).collect()
    }

    /// All that `index.json` leads to as it stands there.
    pub(crate) fn roots(&self) -> Vec<Descriptor> {
        let listed = self.index.manifests.iter().chain(&self.index.subject);
        listed.flat_map(|found| [plain(found), target_of(found)]).collect()
    }
}

impl Store {
    /// The names as they are now.
    ///
    /// # Errors
    /// If `index.json` cannot be read.
    pub fn names(&self) -> Result<Names, StoreError> {
        let bytes = match self.root().read(INDEX, INDEX_LIMIT) {
            Err(error) if error.is(Errno::NOENT) => return Ok(Names { index: ImageIndex::new(Vec::new()) }),
            other => other.doing(|| "read the image store's index.json".into())?,
        };
        let index = serde_json::from_slice(&bytes).map_err(|source| StoreError::Layout { file: INDEX, source })?;
        Ok(Names { index })
    }

    /// Changes the names in one step: readers see them as before or as after, other writers wait.
    ///
    /// # Errors
    /// Nothing is changed if `change` or the writing fails.
    pub fn edit_names<T, E>(&self, change: impl FnOnce(&mut Names) -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        let writing = || "write the image store's index.json".to_owned();
        let _lock = self.lock_names().doing(writing)?;
        let before = self.names()?;
        let mut names = before.clone();
        let answer = change(&mut names)?;
        if names != before {
            let lease = self.lease()?;
            for entry in &mut names.index.manifests {
                wrapper::wrap(&lease, entry)?;
            }
            let bytes = serde_json::to_vec(&names.index).expect("an index is always JSON");
            write_atomic(self, INDEX, &bytes, 0o644, Durability::Durable).doing(writing)?;
        }
        Ok(answer)
    }

    /// Gives a name to what `descriptor` describes, which must be in the store; see [`Names::tag`].
    ///
    /// # Errors
    /// [`StoreError::NoBlob`].
    pub fn tag(&self, name: &Reference, descriptor: &Descriptor) -> Result<(), StoreError> {
        self.edit_names(|names| {
            self.must_have(descriptor)?;
            names.tag(name, descriptor);
            Ok(())
        })
    }

    /// Keeps what `descriptor` describes without a name; see [`Names::hold`].
    ///
    /// # Errors
    /// [`StoreError::NoBlob`].
    pub fn hold(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        self.edit_names(|names| {
            self.must_have(descriptor)?;
            names.hold(descriptor);
            Ok(())
        })
    }

    /// Takes a name away and answers what had it; see [`Names::untag`].
    ///
    /// # Errors
    /// If the names cannot be read or written.
    pub fn untag(&self, name: &Reference) -> Result<Option<Descriptor>, StoreError> {
        self.edit_names(|names| Ok(names.untag(name)))
    }

    /// What a name leads to now; see [`Names::resolve`].
    ///
    /// # Errors
    /// If the names cannot be read.
    pub fn resolve(&self, name: &Reference) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.names()?.resolve(name))
    }

    /// All that is kept, with and without names.
    ///
    /// # Errors
    /// If the names cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.names()?.entries().collect())
    }

    fn must_have(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        if self.has(&descriptor.digest)? {
            Ok(())
        } else {
            Err(StoreError::NoBlob { digest: descriptor.digest.clone() })
        }
    }
}

/// The name in an entry's annotations, completed as any other: another tool may have written `alpine`.
pub(crate) fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    [IMAGE_NAME, REF_NAME]
        .iter()
        .filter_map(|key| descriptor.annotations.get(*key))
        .find_map(|name| Reference::parse(name).ok())
}

/// Whether `name` is the repository and the digest of the entry.
fn is_pinned(entry: &Entry, name: &Reference) -> bool {
    let same = |other: &Reference| (other.registry(), other.repository()) == (name.registry(), name.repository());
    name.digest() == Some(&entry.descriptor.digest) && entry.name.as_ref().is_some_and(same)
}

/// Whether it has no name, and not even one that another tool gave it.
fn is_nameless(descriptor: &Descriptor) -> bool {
    name_of(descriptor).is_none() && !descriptor.annotations.contains_key(REF_NAME)
}

/// What an entry stands for.
fn target_of(descriptor: &Descriptor) -> Descriptor {
    wrapper::target_of(descriptor).unwrap_or_else(|| plain(descriptor))
}

fn named(descriptor: &Descriptor, name: &Reference) -> Descriptor {
    let mut entry = plain(descriptor);
    for key in [REF_NAME, IMAGE_NAME] {
        entry.annotations.insert(key.to_owned(), name.to_string());
    }
    entry
}

fn plain(descriptor: &Descriptor) -> Descriptor {
    let mut entry = descriptor.clone();
    for key in [REF_NAME, IMAGE_NAME, TARGET] {
        entry.annotations.remove(key);
    }
    entry
}
