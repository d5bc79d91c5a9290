//! Paths that are hidden and paths that are read-only.

use std::os::fd::OwnedFd;

use onggi_sys::file::{self, FileType};
use onggi_sys::mount::{self, Attributes, Depth, FsContext, MountAttrFlags, Propagation};
use onggi_sys::{Errno, Result};

use super::{Builder, devices};
use crate::failure::{During, Outcome};
use crate::plan::mount::READ_ONLY;

impl Builder<'_> {
    /// Each path becomes a read-only mount of itself; one that is not there needs none.
    pub(super) fn make_paths_read_only(&self) -> Outcome<()> {
        for path in self.plan.read_only_paths {
            let stage = || format!("make {path} read-only");
            let Some(target) = present(self.root.resolve(path)).during(stage)? else { continue };
            let copy = mount::clone_tree(&target, "", Depth::Recursive).during(stage)?;
            let change =
                Attributes { set: READ_ONLY, propagation: Some(Propagation::Private), ..Attributes::default() };
            mount::set_attributes(&copy, &change, Depth::Recursive).during(stage)?;
            mount::attach(&copy, &target).during(stage)?;
        }
        Ok(())
    }

    /// A file is covered by the null device, a directory by an empty read-only tmpfs that all of them share.
    ///
    /// The null device is the host's, opened in the host's tree and checked by its number: the container's own may be
    /// whatever the image made of it (CVE-2025-31133).
    pub(super) fn mask_paths(&self) -> Outcome<()> {
        let mut null: Option<OwnedFd> = None;
        let mut empty: Option<OwnedFd> = None;
        for path in self.plan.masked {
            let stage = || format!("mask {path}");
            let Some(target) = present(self.root.resolve(path)).during(stage)? else { continue };
            let is_dir = file::type_of(&file::stat(&target).during(stage)?) == FileType::Directory;
            let (cover, make): (_, fn() -> Result<OwnedFd>) =
                if is_dir { (&mut empty, empty_dir) } else { (&mut null, devices::host_null) };
            // Only what is attached can be copied, so the first is attached itself and the rest are copies of it.
            match cover {
                Some(first) => {
                    let copy = mount::clone_tree(&*first, "", Depth::Single).during(stage)?;
                    mount::attach(&copy, &target).during(stage)?;
                }
                None => {
                    let first = make().during(stage)?;
                    let change = Attributes { propagation: Some(Propagation::Private), ..Attributes::default() };
                    mount::set_attributes(&first, &change, Depth::Single).during(stage)?;
                    mount::attach(&first, &target).during(stage)?;
                    *cover = Some(first);
                }
            }
        }
        Ok(())
    }
}

fn empty_dir() -> Result<OwnedFd> {
    let context = FsContext::open("tmpfs")?;
    context.set("nr_blocks", "1")?;
    context.set("nr_inodes", "1")?;
    context.set("mode", "0555")?;
    context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn present(found: Result<OwnedFd>) -> Result<Option<OwnedFd>> {
    match found {
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => Ok(None),
        other => other.map(Some),
    }
}
