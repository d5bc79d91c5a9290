//! A root file system becomes an image.

use std::io::{BufRead, BufReader, Read};

use jiff::Timestamp;
use onggi_layer::{Compression, Decoder, compression};
use onggi_oci::image::{Config, History, RootFs};
use onggi_oci::{
    Algorithm, Descriptor, Digest, Hasher, ImageConfiguration, ImageManifest, Platform, Reference, media_type,
};
use onggi_store::{CollectOptions, Lease};

use super::{ArchiveError, change};
use crate::{ImageError, Images};

/// What to make of a root file system.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// What to call the image.
    pub name: Option<Reference>,
    /// Lines of a Dockerfile that say how it runs.
    pub changes: Vec<String>,
    /// A note on how it came to be; where it came from if `None`.
    pub message: Option<String>,
    /// What its programs are for, if not this machine.
    pub platform: Option<Platform>,
    /// Where the archive came from, for the note.
    pub source: String,
}

impl Images {
    /// Makes an image of one layer out of the archive `input`, which may be compressed with gzip or zstd, and answers
    /// its ID.
    ///
    /// # Errors
    /// [`ImageError::Archive`] if a change makes no sense, before `input` is read; [`ImageError::Layers`] if `input` is no
    /// archive of files. There is no image then.
    pub fn import(&self, input: impl Read, options: &ImportOptions) -> Result<Digest, ImageError> {
        let mut config = Config::default();
        for line in &options.changes {
            change::apply(&mut config, line)?;
        }
        let lease = self.store().lease()?;
        let imported = self.import_under(&lease, config, input, options);
        drop(lease);
        if imported.is_err() {
            // The first failure is the one to tell.
            drop(self.store().collect(&CollectOptions::default()));
        }
        imported
    }

    fn import_under(
        &self,
        lease: &Lease<'_>,
        config: Config,
        input: impl Read,
        options: &ImportOptions,
    ) -> Result<Digest, ImageError> {
        let (layer, diff_id) = self.import_layer(lease, input)?;
        let _layers = self.snapshots().lease()?;
        self.unpack_layer(&diff_id, self.store().open_blob(&layer.digest)?)?;
        let configuration = configuration(config, diff_id, options);
        let config = lease.put(media_type::IMAGE_CONFIG, &configuration.to_bytes())?;
        let id = config.digest.clone();
        let manifest = ImageManifest::new(config, vec![layer]);
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
        let target = lease.put(media_type::IMAGE_MANIFEST, &bytes)?;
        match &options.name {
            Some(name) => self.store().tag(name, &target)?,
            None => self.store().hold(&target)?,
        }
        Ok(id)
    }

    fn import_layer(&self, lease: &Lease<'_>, input: impl Read) -> Result<(Descriptor, Digest), ImageError> {
        let mut input = BufReader::with_capacity(128 << 10, input);
        let head = input.fill_buf().map_err(ArchiveError::Read)?;
        let compression = Compression::detect(head).map_err(|error| ArchiveError::Read(error.into()))?;
        let media_type = match compression {
            Compression::None => media_type::LAYER,
            Compression::Gzip => media_type::LAYER_GZIP,
            Compression::Zstd => media_type::LAYER_ZSTD,
        };
        let layer = lease.put_stream(media_type, input).map_err(ArchiveError::Read)?;
        let diff_id = match compression {
            Compression::None => layer.digest.clone(),
            _ => self.diff_id(&layer)?,
        };
        Ok((layer, diff_id))
    }

    fn diff_id(&self, layer: &Descriptor) -> Result<Digest, ImageError> {
        let blob = BufReader::with_capacity(128 << 10, self.store().open_blob(&layer.digest)?);
        let mut decoder = Decoder::new(blob, compression::Limits::default()).map_err(ArchiveError::Read)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; 128 << 10];
        loop {
            match decoder.read(&mut buffer).map_err(ArchiveError::Read)? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(&buffer[..count]),
            }
        }
    }
}

fn configuration(config: Config, diff_id: Digest, options: &ImportOptions) -> ImageConfiguration {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let created = Timestamp::now().to_string();
    let comment = options.message.clone().unwrap_or_else(|| format!("Imported from {}", options.source));
    ImageConfiguration {
        created: Some(created.clone()),
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        config,
        rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
        history: vec![History { created: Some(created), comment: Some(comment), ..History::default() }],
        ..ImageConfiguration::default()
    }
}
