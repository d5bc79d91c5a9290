//! Other tools' images through Debian's registry, and back.

use std::path::{Path, PathBuf};
use std::process::Command;

use onggi_diag::{Diagnose, Kind};
use onggi_image::{Phase, PullOptions, PushOptions};
use onggi_oci::{Reference, media_type};
use onggi_registry::{Client, Config, Credentials};
use onggi_testkit::{Registry, captured, needs};

use crate::{Scratch, Watch, client, quick, read_layer, told};

/// An OCI layout with an image of two layers, made by umoci.
fn layout(dir: &Path) -> PathBuf {
    let (layout, bundle) = (dir.join("layout"), dir.join("bundle"));
    let umoci = |args: &[&str]| captured(Command::new("umoci").args(args)).unwrap();
    let (path, image) = (layout.display().to_string(), format!("{}:app", layout.display()));
    let at = bundle.display().to_string();
    umoci(&["init", "--layout", &path]);
    umoci(&["new", "--image", &image]);
    umoci(&["unpack", "--image", &image, &at]);
    std::fs::create_dir_all(bundle.join("rootfs/etc")).unwrap();
    std::fs::write(bundle.join("rootfs/etc/issue"), "made here\n").unwrap();
    umoci(&["repack", "--refresh-bundle", "--image", &image, &at]);
    let noise: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(bundle.join("rootfs/noise"), noise).unwrap();
    umoci(&["repack", "--image", &image, &at]);
    layout
}

fn skopeo(args: &[&str]) -> String {
    captured(Command::new("skopeo").arg("--insecure-policy").args(args)).unwrap()
}

fn name(registry: &Registry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

#[test]
fn images_in_every_format_come_in_and_go_out_as_they_are() {
    needs!("root", "docker-registry", "skopeo", "umoci");
    let dir = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:app", layout(dir.path()).display());
    for (tag, format, kind) in [
        ("gzip", &["--format", "oci"][..], media_type::LAYER_GZIP),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"], media_type::LAYER_ZSTD),
        ("docker", &["--format", "v2s2"], media_type::DOCKER_LAYER_GZIP),
    ] {
        // In one registry skopeo would find the layers that are there, whatever they are packed with.
        let registry = Registry::start().unwrap().unwrap();
        let to = format!("docker://{}/peers/app:{tag}", registry.host());
        skopeo(&[&["copy", "--dest-tls-verify=false"], format, &[&from, &to]].concat());
        let scratch = Scratch::new();
        let watch = Watch::default();
        let name = name(&registry, &format!("peers/app:{tag}"));
        let pulled = scratch.images.pull(&client(), &name, &PullOptions::default(), &watch).unwrap();
        assert_eq!(watch.last(), [Phase::Pulled; 2], "{tag}");
        assert_eq!(read_layer(&scratch, &pulled.image.diff_ids()[0], "etc/issue"), "made here\n");
        assert!(pulled.image.manifest.layers.iter().all(|layer| layer.media_type == kind), "{tag}");
        assert!(scratch.pull(&name).unwrap().up_to_date);

        // The store is a layout that skopeo reads in place; in a layout it looks for OCI's own types alone.
        if tag != "docker" {
            let inspected = skopeo(&["inspect", "--raw", &format!("oci:{}:{name}", scratch.path("images").display())]);
            assert_eq!(onggi_oci::Digest::of(inspected.as_bytes()), pulled.target);
        }

        // Pushed under another name it is the same, byte for byte, and nothing had to be sent.
        let copy: Reference = format!("{}/other/copy:{tag}", registry.host()).parse().unwrap();
        scratch.images.tag(&name.to_string(), &copy).unwrap();
        let watch = Watch::default();
        let pushed = scratch.images.push(&client(), &copy, &PushOptions::default(), &watch).unwrap();
        assert_eq!((pushed.target.digest, pushed.sent.0), (pulled.target.clone(), 0), "{tag}");
        assert_eq!(watch.last(), [Phase::Mounted; 3], "{tag}");
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{copy}")]);
        assert_eq!(onggi_oci::Digest::of(raw.as_bytes()), pulled.target);
        let again = scratch.images.push(&client(), &copy, &PushOptions::default(), &()).unwrap();
        assert_eq!(again.sent, (0, 0));
    }
}

#[test]
fn to_an_empty_registry_everything_is_sent_and_skopeo_reads_it() {
    needs!("root", "docker-registry", "skopeo", "umoci");
    let dir = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:app", layout(dir.path()).display());
    let (first, second) = (Registry::start().unwrap().unwrap(), Registry::start().unwrap().unwrap());
    skopeo(&["copy", "--dest-tls-verify=false", &from, &format!("docker://{}/a/b:1", first.host())]);
    let scratch = Scratch::new();
    let pulled = scratch.pull(&name(&first, "a/b:1")).unwrap();
    let copy = name(&second, "c/d:2");
    scratch.images.tag(&name(&first, "a/b:1").to_string(), &copy).unwrap();
    let watch = Watch::default();
    let pushed = scratch.images.push(&client(), &copy, &PushOptions::default(), &watch).unwrap();
    assert_eq!(pushed.sent.0, 3);
    assert_eq!(watch.last(), [Phase::Pushed; 3]);
    let out = format!("oci:{}:app", dir.path().join("out").display());
    skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{copy}"), &out]);
    let raw = skopeo(&["inspect", "--raw", &out]);
    assert_eq!(onggi_oci::Digest::of(raw.as_bytes()), pulled.target);
}

#[test]
fn behind_a_password() {
    needs!("root", "docker-registry", "skopeo", "umoci");
    let dir = tempfile::tempdir().unwrap();
    let from = format!("oci:{}:app", layout(dir.path()).display());
    let registry = Registry::start_guarded().unwrap().unwrap();
    let name = name(&registry, "a/b:1");
    skopeo(&["copy", "--dest-tls-verify=false", "--dest-creds", "user:secret", &from, &format!("docker://{name}")]);
    let scratch = Scratch::new();
    let error = scratch.pull(&name).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(told(&error).contains("~/.docker/config.json"), "{}", told(&error));
    scratch.assert_nothing_half_made();

    let file = dir.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, registry.host())).unwrap();
    let config = Config { credentials: Credentials::in_files([file]), patience: quick(), ..Config::default() };
    let client = Client::new(config);
    scratch.images.pull(&client, &name, &PullOptions::default(), &()).unwrap();
    let copy: Reference = format!("{}/x/y:1", registry.host()).parse().unwrap();
    scratch.images.tag(&name.to_string(), &copy).unwrap();
    scratch.images.push(&client, &copy, &PushOptions::default(), &()).unwrap();
}

#[test]
fn what_cannot_be_pushed_is_told() {
    needs!("docker-registry");
    let registry = Registry::start().unwrap().unwrap();
    let scratch = Scratch::new();
    let missing = scratch.images.push(&client(), &name(&registry, "a/b:1"), &PushOptions::default(), &()).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound, "{}", told(&missing));
    let digest = onggi_oci::Digest::of(b"");
    let by_digest = name(&registry, "a/b:1").with_digest(digest);
    let error = scratch.images.push(&client(), &by_digest, &PushOptions::default(), &()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{}", told(&error));
}
