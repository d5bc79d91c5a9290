//! A layer becomes an image: configuration and manifest.

use onggi_oci::image::{Config, History, RootFs};
use onggi_oci::{Descriptor, Digest, ImageConfiguration, ImageManifest, Platform, media_type};
use onggi_store::{Lease, StoreError};

use super::archive::Layer;
use super::elf::Machine;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is known of the image beside its layer.
pub(super) struct Facts {
    /// No time is later; the image is as old as this.
    pub(super) latest: i64,
    pub(super) shell: bool,
    pub(super) machine: Option<Machine>,
    pub(super) made_by: String,
}

/// An image that has no name yet.
pub(super) struct Sealed {
    pub(super) id: Digest,
    pub(super) target: Descriptor,
}

/// Stores configuration and manifest of an image with that one layer.
pub(super) fn seal(lease: &Lease<'_>, layer: &Layer, facts: &Facts) -> Result<Sealed, StoreError> {
    let configuration = configuration(layer, facts);
    let config = lease.put(media_type::IMAGE_CONFIG, &configuration.to_bytes())?;
    let id = config.digest.clone();
    let manifest = ImageManifest::new(config, vec![layer.blob.clone()]);
    let manifest = serde_json::to_vec(&manifest).expect("a manifest is plain values and always JSON");
    let target = lease.put(media_type::IMAGE_MANIFEST, &manifest)?;
    Ok(Sealed { id, target })
}

fn configuration(layer: &Layer, facts: &Facts) -> ImageConfiguration {
    let created = jiff::Timestamp::from_second(facts.latest).ok().map(|time| time.to_string());
    let host = Platform::host();
    let architecture = facts.machine.and_then(Machine::architecture).unwrap_or(&host.architecture).to_owned();
    let variant = (architecture == host.architecture).then(|| host.variant.clone()).flatten();
    let history = History { created: created.clone(), created_by: Some(facts.made_by.clone()), ..History::default() };
    ImageConfiguration {
        created,
        architecture,
        variant,
        os: "linux".into(),
        config: Config {
            env: vec![PATH.into()],
            cmd: facts.shell.then(|| vec!["/bin/sh".into()]),
            ..Config::default()
        },
        rootfs: RootFs { diff_ids: vec![layer.diff_id.clone()], ..RootFs::default() },
        history: vec![history],
        ..ImageConfiguration::default()
    }
}
