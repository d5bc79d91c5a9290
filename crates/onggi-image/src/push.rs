//! From this machine to a registry: blobs first, several at a time, then manifests, the name last.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use onggi_oci::{Descriptor, Digest, MANIFEST_LIMIT, Manifest, Platform, Reference};
use onggi_registry::{Client, Pushed, Source};
use onggi_store::{Lease, StoreError};
use onggi_sys::file::{self, OFlags};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::{Event, Images, Phase, Progress, TransferError};

/// How deep indexes may lie in indexes.
const DEPTH_LIMIT: usize = 8;

/// How to push.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Only the image for this platform; all that the name leads to if `None`, as far as it is here.
    pub platform: Option<Platform>,
    /// So many blobs at a time.
    pub blobs_at_once: usize,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { platform: None, blobs_at_once: 4 }
    }
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// What the name leads to on the registry now.
    pub target: Descriptor,
    /// Blobs that had to be sent, and their bytes.
    pub sent: (usize, u64),
}

impl Images {
    /// Puts the image that `name` names here under `name` on its registry, byte for byte.
    ///
    /// An index goes as a whole if all its images are here, else only the image for one platform goes.
    /// Blocks, and drives the network from the calling thread: not for threads that run asynchronous code.
    ///
    /// # Errors
    /// The registry's name for the image is changed last, so it is changed only if all went well.
    pub fn push(
        &self,
        client: &Client,
        name: &Reference,
        options: &PushOptions,
        progress: &dyn Progress,
    ) -> Result<PushedImage, TransferError> {
        if name.digest().is_some() {
            return Err(TransferError::PushToDigest { image: name.familiar() });
        }
        let lease = self.store().lease()?;
        let cargo = self.cargo(name, options, &lease)?;
        progress.event(Event::Planned { target: &cargo.target.digest, blobs: &cargo.blobs });
        let from = self.repositories_with(name, &cargo.blobs)?;
        let runtime = crate::pull::runtime()?;
        let sent = runtime.block_on(self.push_blobs(client, name, options, &cargo.blobs, &from, progress))?;
        for (descriptor, bytes) in &cargo.manifests {
            let under = if descriptor.digest == cargo.target.digest {
                name.clone()
            } else {
                name.with_digest(descriptor.digest.clone())
            };
            runtime.block_on(client.push_manifest(&under, &descriptor.media_type, bytes))?;
        }
        Ok(PushedImage { target: cargo.target, sent })
    }

    /// What has to be on the registry for `name` to lead there.
    fn cargo(&self, name: &Reference, options: &PushOptions, lease: &Lease<'_>) -> Result<Cargo, TransferError> {
        let names = self.store().names()?;
        let target = self.target_of(&names, &name.to_string())?;
        lease.keep(&target)?;
        if options.platform.is_none()
            && let Some(cargo) = self.everything(&target)?
        {
            return Ok(cargo);
        }
        let image = self.image_at(&names, &target, options.platform.as_ref(), &name.familiar())?;
        let only = image.manifest_descriptor;
        let cargo = self.everything(&only)?;
        cargo.ok_or_else(|| TransferError::Lacking { image: name.familiar(), digest: only.digest })
    }

    /// All below `target`; `None` if a manifest is not here.
    fn everything(&self, target: &Descriptor) -> Result<Option<Cargo>, TransferError> {
        let mut cargo = Cargo { target: target.clone(), manifests: Vec::new(), blobs: Vec::new() };
        let complete = self.gather(target, &mut cargo, DEPTH_LIMIT)?;
        Ok(complete.then_some(cargo))
    }

    /// Adds what is below `descriptor`, then itself: a registry takes a manifest only after what it names.
    fn gather(&self, descriptor: &Descriptor, cargo: &mut Cargo, depth: usize) -> Result<bool, TransferError> {
        if cargo.manifests.iter().any(|(known, _)| known.digest == descriptor.digest) {
            return Ok(true);
        }
        let bytes = match self.store().read_blob(&descriptor.digest, MANIFEST_LIMIT) {
            Err(StoreError::NoBlob { .. }) => return Ok(false),
            other => other?,
        };
        match self.store().manifest(descriptor)? {
            Manifest::Index(_) if depth == 0 => return Ok(false),
            Manifest::Index(index) => {
                for child in &index.manifests {
                    if !self.gather(child, cargo, depth - 1)? {
                        return Ok(false);
                    }
                }
            }
            Manifest::Image(image) => {
                for blob in image.blobs() {
                    if cargo.blobs.iter().all(|known| known.digest != blob.digest) {
                        cargo.blobs.push(blob.clone());
                    }
                }
            }
        }
        cargo.manifests.push((descriptor.clone(), bytes.into()));
        Ok(true)
    }

    /// For each blob another repository on the same registry that should have it, by the names that are known here.
    fn repositories_with(
        &self,
        name: &Reference,
        blobs: &[Descriptor],
    ) -> Result<HashMap<Digest, String>, TransferError> {
        let mut from = HashMap::new();
        for entry in self.store().list()? {
            let Some(other) = entry.name else { continue };
            if other.registry() != name.registry() || other.repository() == name.repository() {
                continue;
            }
            // A broken neighbour is no reason not to push; it only helps nobody.
            for (_, manifest) in self.manifests_under(&entry.descriptor).unwrap_or_default() {
                for blob in manifest.blobs().filter(|blob| blobs.iter().any(|own| own.digest == blob.digest)) {
                    from.entry(blob.digest.clone()).or_insert_with(|| other.repository().to_owned());
                }
            }
        }
        Ok(from)
    }

    async fn push_blobs(
        &self,
        client: &Client,
        name: &Reference,
        options: &PushOptions,
        blobs: &[Descriptor],
        from: &HashMap<Digest, String>,
        progress: &dyn Progress,
    ) -> Result<(usize, u64), TransferError> {
        let (reports, mut reported) = mpsc::unbounded_channel();
        let turns = Arc::new(Semaphore::new(options.blobs_at_once.max(1)));
        let mut pushes = JoinSet::new();
        for blob in blobs {
            progress.event(Event::Blob { digest: &blob.digest, phase: Phase::Waiting });
            let push = Push {
                client: client.clone(),
                name: name.clone(),
                blob: blob.clone(),
                file: self.blob_file(blob)?,
                from: from.get(&blob.digest).cloned(),
                reports: reports.clone(),
            };
            let turns = Arc::clone(&turns);
            pushes.spawn(async move {
                // The semaphore is never closed.
                let _turn = turns.acquire_owned().await;
                push.run().await
            });
        }
        drop(reports);
        let mut sent = (0, 0);
        loop {
            tokio::select! {
                Some((digest, phase)) = reported.recv() => progress.event(Event::Blob { digest: &digest, phase }),
                done = pushes.join_next() => match done {
                    None => break,
                    Some(Ok(pushed)) => {
                        let bytes = pushed?;
                        sent = (sent.0 + usize::from(bytes.is_some()), sent.1 + bytes.unwrap_or(0));
                    }
                    Some(Err(failed)) => std::panic::resume_unwind(failed.into_panic()),
                },
            }
        }
        // All senders are gone: what is still in the channel is the last.
        while let Some((digest, phase)) = reported.recv().await {
            progress.event(Event::Blob { digest: &digest, phase });
        }
        Ok(sent)
    }

    /// The blob's file; `None` if it is not here, which is no harm if the registry has it.
    fn blob_file(&self, blob: &Descriptor) -> Result<Option<Arc<File>>, TransferError> {
        match self.store().open_described(blob) {
            Ok(open) => Ok(Some(Arc::new(open.into_file()))),
            Err(StoreError::NoBlob { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What goes to the registry.
struct Cargo {
    target: Descriptor,
    /// Those that others name first.
    manifests: Vec<(Descriptor, Bytes)>,
    blobs: Vec<Descriptor>,
}

/// One blob's push.
struct Push {
    client: Client,
    name: Reference,
    blob: Descriptor,
    file: Option<Arc<File>>,
    from: Option<String>,
    reports: mpsc::UnboundedSender<(Digest, Phase)>,
}

impl Push {
    /// Answers how many bytes were sent, if any were.
    async fn run(self) -> Result<Option<u64>, TransferError> {
        let digest = self.blob.digest.clone();
        let Some(file) = self.file.clone() else {
            return match self.client.has_blob(&self.name, &digest).await? {
                true => Ok(self.tell(Phase::Known, None)),
                false => Err(TransferError::Lacking { image: self.name.familiar(), digest }),
            };
        };
        let (reports, total) = (self.reports.clone(), self.blob.size);
        let name = digest.clone();
        // Nobody listens any more once another blob has failed.
        let watch = move |done| drop(reports.send((name.clone(), Phase::Uploading { done, total })));
        let open = move || {
            let again = file::reopen(&*file, OFlags::RDONLY)?;
            Ok(Box::new(File::from(again)) as Box<dyn std::io::Read + Send>)
        };
        let source = Source::new(format!("blob {digest}"), open).watched(watch);
        let pushed = self.client.push_blob(&self.name, &self.blob, &source, self.from.as_deref()).await?;
        Ok(match pushed {
            Pushed::Sent => self.tell(Phase::Pushed, Some(total)),
            Pushed::Existed => self.tell(Phase::Known, None),
            Pushed::Mounted => self.tell(Phase::Mounted, None),
        })
    }

    fn tell(&self, phase: Phase, sent: Option<u64>) -> Option<u64> {
        drop(self.reports.send((self.blob.digest.clone(), phase)));
        sent
    }
}
