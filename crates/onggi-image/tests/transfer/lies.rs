//! What a bad registry, or a bad image, comes to: an error that names the object, and nothing half-made.

use onggi_diag::{Diagnose, Kind};
use onggi_image::PullOptions;
use onggi_layer::Compression;
use onggi_oci::{Digest, Platform, media_type};
use onggi_testkit::{FakeServer, Reply, Seen};

use crate::made::{Content, header, name, packed, tar};
use crate::{Scratch, client, read_layer, told};

#[track_caller]
fn refused(server: &FakeServer, kind: Kind, parts: &[&str]) {
    let scratch = Scratch::new();
    let error = scratch.pull(&name(server)).unwrap_err();
    let text = told(&error);
    for part in parts {
        assert!(text.contains(part), "{text}\n--- lacks {part}");
    }
    assert_eq!(error.kind(), kind, "{text}");
    scratch.assert_nothing_half_made();
    if matches!(kind, Kind::Invalid | Kind::Hostile | Kind::Unsupported) {
        assert_eq!(scratch.entries("images/blobs/sha256"), [""; 0], "nothing to continue with");
    }
    // Other layers, whole and verified, may be there; the one that was lied about may not.
    let lied = parts.iter().filter_map(|part| part.strip_prefix("sha256:"));
    for hex in lied {
        assert!(!scratch.entries("layers/diff").contains(&format!("sha256-{hex}")), "{hex}");
    }
}

/// A registry that answers honestly but for layer number 1, as `lie` says of its content.
fn about_layer(lie: fn(&[u8], &Seen) -> Reply) -> (FakeServer, String) {
    let content = Content::usual();
    let digest = content.layers[1].digest.to_string();
    let server = content.serve_but(move |content, seen| {
        let blob = &content.blobs[content.layers[1].digest.as_str()];
        content.is_layer(seen, 1).then(|| lie(blob, seen))
    });
    (server, digest)
}

#[test]
fn an_honest_one_is_believed() {
    let content = Content::usual();
    let target = content.manifest.digest.clone();
    let server = content.serve();
    let scratch = Scratch::new();
    let pulled = scratch.pull(&name(&server)).unwrap();
    assert_eq!((pulled.target, pulled.up_to_date), (target, false));
    let layers = pulled.image.diff_ids().to_vec();
    assert_eq!(read_layer(&scratch, &layers[0], "one"), "1");
    assert_eq!(read_layer(&scratch, &layers[1], "two").len(), 300_000);
    assert_eq!(read_layer(&scratch, &layers[2], "three"), "3");
    let requests = server.seen().len();
    let again = scratch.pull(&name(&server)).unwrap();
    assert!(again.up_to_date);
    assert_eq!(server.seen().len(), requests + 1);
    // The tag is asked for once: what was checked is what runs.
    let by_tag =
        server.seen().iter().filter(|seen| seen.path().ends_with("/manifests/1") && seen.method == "GET").count();
    assert_eq!(by_tag, 1);
}

#[test]
fn a_layer_with_other_content() {
    let (server, digest) = about_layer(|blob, _| Reply::new(200, vec![b'x'; blob.len()]));
    refused(&server, Kind::Hostile, &["cannot pull layer", &digest, "it hashes to sha256:"]);
}

#[test]
fn a_layer_that_ends_early() {
    let (server, digest) = about_layer(|blob, _| Reply::new(200, &blob[..1000]));
    refused(&server, Kind::Hostile, &["cannot pull layer", &digest, "size 1000, expected 301568"]);
    let (server, digest) = about_layer(|blob, _| Reply::new(200, &blob[..1000]).length(u64::try_from(blob.len()).ok()));
    refused(&server, Kind::Unavailable, &["cannot pull layer", &digest, "broke off"]);
}

#[test]
fn a_layer_that_is_longer_than_it_should_be() {
    let (server, digest) = about_layer(|blob, _| Reply::new(200, [blob, &[0; 10]].concat()));
    refused(&server, Kind::Hostile, &[&digest, "301578, expected 301568"]);
    let (server, digest) = about_layer(|blob, _| Reply::new(200, [blob, &[0; 10]].concat()).length(None));
    refused(&server, Kind::Hostile, &[&digest, "expected 301568"]);
    let (server, digest) = about_layer(|_, _| Reply::new(200, "x").length(Some(1 << 60)));
    refused(&server, Kind::Hostile, &[&digest, "expected 301568"]);
}

#[test]
fn a_layer_that_never_ends() {
    let (server, digest) =
        about_layer(|blob, _| Reply::new(200, &blob[..1000]).length(u64::try_from(blob.len()).ok()).then_hang());
    refused(&server, Kind::Unavailable, &[&digest, "no further bytes for 1 s"]);
}

#[test]
fn a_missing_layer() {
    let (server, digest) = about_layer(|_, _| Reply::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#));
    refused(&server, Kind::NotFound, &[&digest, "404 Not Found: BLOB_UNKNOWN"]);
}

#[test]
fn a_manifest_of_a_hundred_mebibytes() {
    let server = Content::usual().serve_but(|_, seen| {
        seen.path().ends_with("/manifests/1").then(|| Reply::new(200, vec![b' '; 5 << 20]).length(Some(100 << 20)))
    });
    refused(&server, Kind::Hostile, &["cannot fetch the manifest of 127.0.0.1", "more than the 4194304 bytes"]);
}

#[test]
fn a_manifest_that_is_none() {
    for (body, part) in
        [("<html>", "cannot use the manifest sha256:"), (r#"{"schemaVersion":2}"#, "cannot use the manifest")]
    {
        let server = Content::usual()
            .serve_but(move |_, seen| seen.path().contains("/manifests/").then(|| Reply::new(200, body)));
        let scratch = Scratch::new();
        let error = scratch.pull(&name(&server)).unwrap_err();
        assert!(told(&error).contains(part), "{}", told(&error));
        scratch.assert_nothing_half_made();
    }
}

#[test]
fn a_manifest_that_is_also_an_index() {
    let both = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"config":{},"layers":[]}"#;
    let server = FakeServer::start(move |_| Reply::new(200, both)).unwrap();
    refused(&server, Kind::Hostile, &["cannot use the manifest"]);
}

#[test]
fn a_layer_of_an_unknown_kind() {
    let plain = tar("a", b"b");
    let server = Content::of(&[(plain.clone(), "application/x-squashfs", plain)]).serve();
    refused(&server, Kind::Unsupported, &["has the unknown media type `application/x-squashfs`"]);
}

#[test]
fn something_that_is_no_image() {
    let mut content = Content::usual();
    let manifest = content.manifests.remove(content.manifest.digest.as_str()).unwrap();
    let text = String::from_utf8(manifest.1).unwrap();
    let chart = text.replace(media_type::IMAGE_CONFIG, "application/vnd.cncf.helm.config.v1+json");
    let kind = manifest.0;
    let server = content.serve_but(move |_, seen| {
        seen.path().contains("/manifests/").then(|| Reply::new(200, chart.clone()).with("Content-Type", &kind))
    });
    refused(&server, Kind::Unsupported, &["is not a container image but `application/vnd.cncf.helm.config.v1+json`"]);
}

#[test]
fn a_layer_that_is_not_the_one_in_the_configuration() {
    let (one, other) = (tar("a", b"b"), tar("a", b"c"));
    let server = Content::of(&[(one, media_type::LAYER_GZIP, packed(&other, Compression::Gzip))]).serve();
    let diff_id = Digest::of(&other).to_string();
    refused(&server, Kind::Hostile, &["cannot pull layer", &diff_id]);
}

#[test]
fn a_configuration_with_other_layers_than_the_manifest() {
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let server = Content::with_config(config.as_bytes(), vec![(media_type::LAYER, tar("a", b"b"))]).serve();
    let scratch = Scratch::new();
    let error = scratch.pull(&name(&server)).unwrap_err();
    assert!(told(&error).contains("cannot use the configuration sha256:"), "{}", told(&error));
    scratch.assert_nothing_half_made();
}

#[test]
fn a_layer_that_grows_without_end() {
    // 3 GiB of zeros in a file, a few hundred KiB on the wire.
    let size = 3 << 30;
    let mut archive = onggi_layer::Encoder::new(Compression::Zstd, Vec::new()).unwrap();
    std::io::Write::write_all(&mut archive, &header("zeros", size)).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        std::io::Write::write_all(&mut archive, &zeros).unwrap();
    }
    let bomb = archive.finish().unwrap();
    assert!(bomb.len() < 4 << 20);
    let server = Content::of(&[(b"?".to_vec(), media_type::LAYER_ZSTD, bomb)]).serve();
    refused(&server, Kind::Hostile, &["cannot pull layer", "a decompression bomb"]);
}

#[test]
fn a_layer_that_reaches_out_of_its_root() {
    let archive = tar("../../escaped", b"x");
    let server = Content::of(&[(archive.clone(), media_type::LAYER, archive)]).serve();
    let scratch = Scratch::new();
    // Refused, or kept inside: never outside.
    drop(scratch.pull(&name(&server)));
    assert!(!scratch.path("escaped").exists() && !scratch.path("layers/escaped").exists());
    assert!(!scratch.path("../escaped").exists());
}

#[test]
fn a_platform_that_there_is_nothing_for() {
    let others = [Platform::new("linux", "s390x", None), Platform::new("windows", "amd64", None)];
    let server = Content::usual().indexed(&others).serve();
    refused(&server, Kind::NotFound, &["cannot pull 127.0.0.1", "linux/s390x", "windows/amd64"]);

    let server = Content::usual().serve();
    let scratch = Scratch::new();
    let options = PullOptions { platform: Some(Platform::new("linux", "s390x", None)), ..PullOptions::default() };
    let error = scratch.images.pull(&client(), &name(&server), &options, &()).unwrap_err();
    assert!(told(&error).contains("linux/s390x"), "{}", told(&error));
    scratch.assert_nothing_half_made();
}

#[test]
fn the_platform_chooses_below_an_index() {
    let content = Content::usual().indexed(&[Platform::host()]);
    let index = content.manifest.digest.clone();
    let server = content.serve();
    let scratch = Scratch::new();
    let pulled = scratch.pull(&name(&server)).unwrap();
    assert_eq!(pulled.target, index);
    assert_ne!(pulled.image.manifest_descriptor.digest, index);
    assert!(scratch.pull(&name(&server)).unwrap().up_to_date);
}

#[test]
fn indexes_in_indexes_end() {
    let mut content = Content::usual();
    for _ in 0..12 {
        content = content.indexed(&[Platform::host()]);
        content.manifest.platform = Some(Platform::host());
    }
    refused(&content.serve(), Kind::Hostile, &["lie too deep in each other"]);
}

#[test]
fn a_tag_that_changes_between_requests_gives_one_image_or_the_other() {
    let first = Content::usual();
    let plain = tar("other", b"o");
    let second = Content::of(&[(plain.clone(), media_type::LAYER, plain)]);
    let target = first.manifest.digest.clone();
    let later = second.clone();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = first.serve_but(move |_, seen| {
        let again =
            seen.path().ends_with("/manifests/1") && asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
        let known = seen.path().rsplit('/').next().is_some_and(|last| later.blobs.contains_key(last));
        (again || known).then(|| later.answer(seen))
    });
    let scratch = Scratch::new();
    let pulled = scratch.pull(&name(&server)).unwrap();
    assert_eq!(pulled.target, target);
    assert_eq!(pulled.image.diff_ids().len(), 3);
    let moved = scratch.pull(&name(&server)).unwrap();
    assert!(!moved.up_to_date);
    assert_eq!(moved.image.diff_ids().len(), 1);
}
