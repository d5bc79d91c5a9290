//! Archives and the store between onggi and the tools that people have: skopeo, umoci, podman, docker.
#![expect(clippy::disallowed_methods, reason = "runs those tools")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod peers;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use onggi_image::{Image, Images, ImportOptions};
use onggi_oci::{Descriptor, ImageManifest, Reference, media_type};
use onggi_testkit::{Rootfs, captured};

/// A store with an image of busybox in it, called `base:1`.
struct Scratch {
    dir: tempfile::TempDir,
    images: Images,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path().join("images"), dir.path().join("layers")).unwrap();
        Self { dir, images }
    }

    fn with_base() -> Self {
        let scratch = Self::new();
        let rootfs = Rootfs::busybox().unwrap().unwrap();
        let options = ImportOptions {
            name: Some(Reference::parse("base:1").unwrap()),
            changes: vec!["CMD /bin/sh".into(), "LABEL made=here".into()],
            source: "test".into(),
            ..ImportOptions::default()
        };
        scratch.images.import(File::open(rootfs.tar().unwrap()).unwrap(), &options).unwrap();
        scratch
    }

    /// `base:1` once more as Docker's schema 2 has it, called `docker:1`.
    fn with_schema2(self) -> Self {
        let base = self.images.resolve("base:1").unwrap();
        let lease = self.images.store().lease().unwrap();
        let kind = |descriptor: &Descriptor, media_type: &str| {
            Descriptor::new(media_type, descriptor.digest.clone(), descriptor.size)
        };
        let config = kind(&base.manifest.config, media_type::DOCKER_CONFIG);
        let layers = base.manifest.layers.iter().map(|layer| kind(layer, media_type::DOCKER_LAYER)).collect();
        let mut manifest = ImageManifest::new(config, layers);
        manifest.media_type = Some(media_type::DOCKER_MANIFEST.into());
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let target = lease.put(media_type::DOCKER_MANIFEST, &bytes).unwrap();
        self.images.store().tag(&Reference::parse("docker:1").unwrap(), &target).unwrap();
        drop(lease);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `oci:PATH:NAME`, as skopeo writes it.
    fn oci(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.path("images").display())
    }

    fn load(&self, archive: &Path) -> Image {
        let loaded = self.images.load(File::open(archive).unwrap()).unwrap();
        self.images.resolve(loaded[0].id.as_str()).unwrap()
    }

    fn busybox_runs_in(&self, image: &Image) -> bool {
        let diff_id = image.diff_ids().last().unwrap();
        let layer = format!("layers/diff/sha256-{}/fs/bin/busybox", diff_id.hex());
        captured(Command::new(self.path(&layer)).args(["echo", "hi"])).unwrap() == "hi\n"
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    captured(Command::new(program).args(arguments)).unwrap()
}

fn skopeo_copy(from: &str, to: &str) {
    run("skopeo", &["--insecure-policy", "copy", "--quiet", from, to]);
}
