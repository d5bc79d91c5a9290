//! From a registry to this machine.
//!
//! ```text
//! name -> manifest or index -> (platform) -> manifest -> configuration -> layers
//!                                                                          │ several at a time, each:
//!   registry -> one thread that drives the connections -> stored and verified -> inflated -> written as files
//! ```
//!
//! All of it enters the store under a lease, and gets its name last. Whatever ends a pull before that, be it `kill -9`,
//! leaves partial downloads, which the next pull continues, and nothing that anybody could mistake for an image.

mod layers;
mod network;
mod tee;

use onggi_diag::{Diagnose as _, Kind};
use onggi_oci::{
    Descriptor, Digest, ImageConfiguration, ImageManifest, MANIFEST_LIMIT, Manifest, Platform, PlatformError,
    Reference, media_type,
};
use onggi_registry::Client;
use onggi_store::{CollectOptions, Lease};
use tokio::runtime::Runtime;

use crate::pull::layers::{Layer, Layers};
use crate::pull::network::Network;
use crate::{Event, Image, Images, Progress, TransferError};

/// A configuration may not be larger; the largest seen in the field have some hundred KiB.
const CONFIG_LIMIT: u64 = 8 << 20;

/// How deep indexes may lie in indexes.
const DEPTH_LIMIT: usize = 8;

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// For what; this machine if `None`.
    pub platform: Option<Platform>,
    /// So many layers at a time.
    pub layers_at_once: usize,
    /// Whether layers are unpacked too, or only stored.
    pub unpack: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { platform: None, layers_at_once: 4, unpack: true }
    }
}

/// What came of a pull.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// What the name leads to on the registry: the manifest or the index.
    pub target: Digest,
    /// Whether the name led to the same before, with all of it here.
    pub up_to_date: bool,
}

impl Images {
    /// Fetches `name` from its registry, for one platform.
    ///
    /// Blocks, and drives the network from the calling thread: not for threads that run asynchronous code.
    ///
    /// # Errors
    /// Nothing gets a name then. What had come of layers is continued by the next attempt, unless the image is one that
    /// cannot be had.
    pub fn pull(
        &self,
        client: &Client,
        name: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Pulled, TransferError> {
        let runtime = runtime()?;
        let lease = self.store().lease()?;
        let pull = Pull { images: self, client, name, options, progress, runtime: &runtime, lease: &lease };
        let pulled = pull.run();
        drop(lease);
        if pulled.as_ref().is_err_and(is_final) {
            // The first failure is the one to tell.
            drop(self.store().collect(&CollectOptions::default()));
        }
        pulled
    }
}

/// Whether another attempt would end in the same way, so that nothing is worth keeping for it.
fn is_final(error: &TransferError) -> bool {
    matches!(error.kind(), Kind::Invalid | Kind::Hostile | Kind::Unsupported)
}

/// An asynchronous runtime on this thread.
pub(crate) fn runtime() -> Result<Runtime, TransferError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| TransferError::Io { what: "set up the network".into(), source })
}

/// A pull under way.
struct Pull<'p> {
    images: &'p Images,
    client: &'p Client,
    name: &'p Reference,
    options: &'p PullOptions,
    progress: &'p dyn Progress,
    runtime: &'p Runtime,
    lease: &'p Lease<'p>,
}

impl Pull<'_> {
    fn run(&self) -> Result<Pulled, TransferError> {
        self.progress.event(Event::Resolving { image: self.name });
        if let Some(pulled) = self.present()? {
            return Ok(pulled);
        }
        let (target, bytes) = self.fetch_target()?;
        self.lease.put_as(&target, &bytes)?;
        let manifest = self.descend(&target, &bytes)?;
        let configuration = self.configuration(&manifest)?;
        let layers = self.plan(&manifest, &configuration)?;
        let blobs: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        self.progress.event(Event::Planned { target: &target.digest, blobs: &blobs });
        self.get_layers(&layers)?;
        // From here on layers stay. A prune may have taken some away before, as no name leads to them yet.
        let _layers = self.images.snapshots().lease()?;
        if self.options.unpack {
            self.images.unpack_missing(&manifest, &configuration.rootfs.diff_ids)?;
            self.images.snapshots().prepare(&configuration.rootfs.diff_ids)?;
        }
        let before = self.images.store().resolve(self.name)?;
        self.images.store().tag(&self.local_name(), &target)?;
        let image = self.pulled_image(&target)?;
        let up_to_date = before.is_some_and(|before| before.digest == target.digest);
        Ok(Pulled { image, target: target.digest, up_to_date })
    }

    /// The image at `target`: by what it is, as somebody may take its name away at once.
    fn pulled_image(&self, target: &Descriptor) -> Result<Image, TransferError> {
        let names = self.images.store().names()?;
        let plain = Descriptor::new(&target.media_type, target.digest.clone(), target.size);
        Ok(self.images.image_at(&names, &plain, self.options.platform.as_ref(), &self.name.familiar())?)
    }

    /// The name that the image gets here: a digest says all, a tag beside it would be one that was never looked up.
    fn local_name(&self) -> Reference {
        self.name.digest().map_or_else(|| self.name.clone(), |digest| self.name.with_digest(digest.clone()))
    }

    /// The image, if it is here whole and the registry says that it still is the one.
    fn present(&self) -> Result<Option<Pulled>, TransferError> {
        let Some(target) = self.images.store().resolve(self.name)? else { return Ok(None) };
        let same = match self.name.digest() {
            Some(_) => true,
            // Whatever is wrong with the registry, asking for the manifest tells it better.
            None => matches!(self.runtime.block_on(self.client.digest(self.name)), Ok(Some(d)) if d == target.digest),
        };
        if !same {
            return Ok(None);
        }
        let platform = self.options.platform.clone().unwrap_or_else(Platform::host);
        let Ok(image) = self.images.resolve_for(&self.name.to_string(), Some(&platform)) else { return Ok(None) };
        for blob in image.manifest.blobs() {
            if !self.lease.keep(blob)? {
                return Ok(None);
            }
        }
        let _layers = self.images.snapshots().lease()?;
        if self.options.unpack {
            self.images.ensure_unpacked(&image)?;
        }
        Ok(Some(Pulled { image, target: target.digest, up_to_date: true }))
    }

    /// What the name leads to on the registry.
    fn fetch_target(&self) -> Result<(Descriptor, Vec<u8>), TransferError> {
        let found = self.runtime.block_on(self.client.manifest(self.name))?;
        let manifest = self.parse(&found.descriptor, &found.bytes)?;
        // The type that it came with may be a generic one; the store and other tools want to know.
        let target = Descriptor { media_type: manifest.media_type().to_owned(), ..found.descriptor };
        Ok((target, found.bytes.to_vec()))
    }

    fn parse(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<Manifest, TransferError> {
        let media_type = Some(descriptor.media_type.as_str()).filter(|name| !name.is_empty());
        Manifest::parse(media_type, bytes).map_err(|source| TransferError::Manifest {
            image: self.name.familiar(),
            digest: descriptor.digest.clone(),
            source,
        })
    }

    /// Goes down through indexes to the manifest for the platform, storing what is on the way.
    fn descend(&self, target: &Descriptor, bytes: &[u8]) -> Result<ImageManifest, TransferError> {
        let wanted = self.options.platform.clone().unwrap_or_else(Platform::host);
        let mut manifest = self.parse(target, bytes)?;
        for _ in 0..DEPTH_LIMIT {
            let index = match manifest {
                Manifest::Image(image) => return Ok(image),
                Manifest::Index(index) => index,
            };
            let missing = |source| TransferError::Platform { image: self.name.familiar(), source };
            let chosen = index.select(&wanted).map_err(missing)?;
            let bytes = self.document(chosen)?;
            manifest = self.parse(chosen, &bytes)?;
        }
        Err(TransferError::TooDeep { image: self.name.familiar() })
    }

    /// A manifest by its descriptor, from the store or the registry.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, TransferError> {
        if self.lease.keep(descriptor)? {
            return Ok(self.images.store().read_blob(&descriptor.digest, MANIFEST_LIMIT)?);
        }
        let by_digest = self.name.with_digest(descriptor.digest.clone());
        let found = self.runtime.block_on(self.client.manifest(&by_digest))?;
        self.lease.put_as(descriptor, &found.bytes)?;
        Ok(found.bytes.to_vec())
    }

    fn configuration(&self, manifest: &ImageManifest) -> Result<ImageConfiguration, TransferError> {
        let image = self.name.familiar();
        let Descriptor { digest, media_type, size, .. } = manifest.config.clone();
        if !media_type::is_config(&media_type) {
            let media_type = manifest.artifact_type.clone().unwrap_or(media_type);
            return Err(TransferError::NotAnImage { image, media_type });
        }
        if size > CONFIG_LIMIT {
            return Err(TransferError::LargeConfig { image, digest, size, limit: CONFIG_LIMIT });
        }
        if !self.lease.keep(&manifest.config)? {
            self.fetch_small(&manifest.config)?;
        }
        let bytes = self.images.store().read_blob(&digest, usize::try_from(CONFIG_LIMIT).unwrap_or(usize::MAX))?;
        let wrong = |source| TransferError::Config { image: image.clone(), digest: digest.clone(), source };
        let configuration = ImageConfiguration::parse(&bytes).map_err(wrong)?;
        configuration.check_layers(manifest).map_err(wrong)?;
        self.check_platform(&configuration)?;
        Ok(configuration)
    }

    /// Fetches a blob that fits into memory, from whichever server sends the right one.
    fn fetch_small(&self, descriptor: &Descriptor) -> Result<(), TransferError> {
        let servers = self.client.server_count(self.name);
        let mut skip = 0;
        loop {
            let (server, bytes) = self.runtime.block_on(async {
                let mut blob = self.client.blob(self.name, descriptor, 0, skip).await?;
                let mut whole = Vec::new();
                while let Some(bytes) = blob.next().await? {
                    whole.extend_from_slice(&bytes);
                }
                Ok::<_, onggi_registry::Error>((blob.server(), whole))
            })?;
            match self.lease.put_as(descriptor, &bytes).map_err(TransferError::from) {
                Err(error) if error.is_wrong_content() && server + 1 < servers => skip = server + 1,
                other => return other,
            }
        }
    }

    /// An image without an index says only in its configuration what it is for.
    fn check_platform(&self, configuration: &ImageConfiguration) -> Result<(), TransferError> {
        let offered = configuration.platform();
        match &self.options.platform {
            Some(wanted) if !wanted.matches(&offered) => {
                let source = PlatformError::Missing { wanted: Box::new(wanted.clone()), available: vec![offered] };
                Err(TransferError::Platform { image: self.name.familiar(), source })
            }
            _ => Ok(()),
        }
    }

    /// What is to be had, each blob once.
    fn plan(&self, manifest: &ImageManifest, configuration: &ImageConfiguration) -> Result<Vec<Layer>, TransferError> {
        let mut planned: Vec<Layer> = Vec::new();
        for (at, descriptor) in manifest.layers.iter().enumerate() {
            if !media_type::is_layer(&descriptor.media_type) {
                return Err(TransferError::LayerType {
                    image: self.name.familiar(),
                    digest: descriptor.digest.clone(),
                    media_type: descriptor.media_type.clone(),
                });
            }
            if planned.iter().all(|layer| layer.descriptor.digest != descriptor.digest) {
                let diff_id = configuration.rootfs.diff_ids.get(at).filter(|_| self.options.unpack).cloned();
                planned.push(Layer { descriptor: descriptor.clone(), diff_id });
            }
        }
        Ok(planned)
    }

    fn get_layers(&self, layers: &[Layer]) -> Result<(), TransferError> {
        let (network, work) = Network::new(self.client, self.name);
        let layers_work = Layers {
            images: self.images,
            lease: self.lease,
            network,
            servers: self.client.server_count(self.name),
            progress: self.progress,
            at_once: self.options.layers_at_once,
        };
        std::thread::scope(|scope| {
            // The last clone of the network goes with the work on layers, and that ends the loop below.
            let unpacking = scope.spawn(move || layers_work.get_all(layers));
            self.runtime.block_on(work);
            unpacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
