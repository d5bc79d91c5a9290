//! Where the disk has gone.

use std::collections::{HashMap, HashSet};

use onggi_fs::{Root, size_of_tree};
use onggi_snapshot::Snapshots;
use onggi_sys::Errno;

use crate::error::Context;
use crate::{ContainerSummary, Engine, ListContainers, Result};

/// The space that things of one kind take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// What they are: `Images`, `Containers`, `Local Volumes`.
    pub kind: &'static str,
    /// How many there are.
    pub count: usize,
    /// How many of them are in use.
    pub active: usize,
    /// What they take, in bytes.
    pub bytes: u64,
    /// What removing those that are not in use would free.
    pub reclaimable: u64,
}

impl Engine {
    /// Where the disk has gone, kind by kind.
    pub fn disk_usage(&self) -> Result<Vec<Usage>> {
        let containers = self.containers().list(&ListContainers { all: true, ..ListContainers::default() })?;
        Ok(vec![self.image_usage(&containers)?, self.container_usage(&containers)?, self.volume_usage(&containers)?])
    }

    fn image_usage(&self, containers: &[ContainerSummary]) -> Result<Usage> {
        let used: HashSet<&str> = containers.iter().map(|container| container.image_id.as_str()).collect();
        let mut images = self.images()?.list()?;
        images.sort_by(|one, other| one.id.cmp(&other.id));
        images.dedup_by(|one, other| one.id == other.id);
        let (active, idle): (Vec<_>, Vec<_>) =
            images.iter().partition(|image| used.contains(image.id.to_string().as_str()));
        let bytes = self.size_of(&self.paths().images())? + self.layer_bytes()?;
        let reclaimable = if idle.is_empty() { 0 } else { bytes.saturating_sub(self.bytes_of(&active)?) };
        Ok(Usage { kind: "Images", count: images.len(), active: active.len(), bytes, reclaimable })
    }

    /// What `images` need, with what several of them need counted once: nothing else stays when the others go.
    fn bytes_of(&self, images: &[&onggi_image::Summary]) -> Result<u64> {
        let all = self.images()?;
        let (mut blobs, mut layers) = (HashMap::new(), HashMap::new());
        for summary in images {
            // Gone meanwhile, or of another platform: then it keeps nothing that a container needs.
            let Ok(image) = all.resolve(summary.id.as_str()) else { continue };
            blobs.insert(image.manifest_descriptor.digest.clone(), image.manifest_descriptor.size);
            blobs.extend(image.manifest.blobs().map(|blob| (blob.digest.clone(), blob.size)));
            for diff_id in image.diff_ids() {
                layers.insert(diff_id.clone(), all.snapshots().layer_size(diff_id).unwrap_or(0));
            }
        }
        Ok(blobs.values().chain(layers.values()).sum())
    }

    fn layer_bytes(&self) -> Result<u64> {
        let all = self.size_of(&self.paths().layers())?;
        Ok(all.saturating_sub(self.size_of(&self.paths().layers().join("writable"))?))
    }

    fn container_usage(&self, containers: &[ContainerSummary]) -> Result<Usage> {
        let mut usage = Usage {
            kind: "Containers",
            count: containers.len(),
            active: containers.iter().filter(|container| container.status.is_active()).count(),
            bytes: 0,
            reclaimable: 0,
        };
        let Ok(snapshots) = Snapshots::open(self.paths().layers()) else { return Ok(usage) };
        for container in containers {
            // Gone meanwhile: then it takes nothing.
            let written = snapshots.writable_size(container.id.as_str()).unwrap_or(0);
            let own = self.size_of(&self.paths().container(&container.id)).unwrap_or(0);
            usage.bytes += written + own;
            if !container.status.is_active() {
                usage.reclaimable += written + own;
            }
        }
        Ok(usage)
    }

    fn volume_usage(&self, containers: &[ContainerSummary]) -> Result<Usage> {
        let used: HashSet<&str> = containers.iter().flat_map(|one| &one.mounts).map(String::as_str).collect();
        let mut usage = Usage { kind: "Local Volumes", count: 0, active: 0, bytes: 0, reclaimable: 0 };
        for name in self.volume_names()? {
            let bytes = self.size_of(&self.paths().volumes().join(&name))?;
            usage.count += 1;
            usage.bytes += bytes;
            if used.contains(name.as_str()) {
                usage.active += 1;
            } else {
                usage.reclaimable += bytes;
            }
        }
        Ok(usage)
    }

    fn size_of(&self, path: &std::path::Path) -> Result<u64> {
        match Root::open(path) {
            Err(error) if error.is(Errno::NOENT) => Ok(0),
            other => other.and_then(|dir| size_of_tree(dir, ".")).to(format!("measure {}", path.display())),
        }
    }
}
