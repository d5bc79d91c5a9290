//! What comes is what was asked for, or it is an error.

use std::sync::atomic::{AtomicUsize, Ordering};

use onggi_diag::{Diagnose, Kind};
use onggi_oci::{Descriptor, Digest, MANIFEST_LIMIT};
use onggi_registry::{Blob, Client, Error};
use onggi_testkit::{FakeServer, Reply, Seen};

use crate::{client, image, run, told};

const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

async fn drain(mut blob: Blob) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    while let Some(bytes) = blob.next().await? {
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

fn content() -> Vec<u8> {
    (0..400_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn fetch(client: &Client, server: &FakeServer, descriptor: &Descriptor, offset: u64) -> Result<Vec<u8>, Error> {
    run(async { drain(client.blob(&image(&server.host()), descriptor, offset, 0).await?).await })
}

/// The first byte that a request's `Range` asks for.
fn first(seen: &Seen) -> Option<usize> {
    seen.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn ranged(whole: &[u8], first: usize) -> Reply {
    let (last, total) = (whole.len() - 1, whole.len());
    Reply::new(206, &whole[first..]).with("Content-Range", format!("bytes {first}-{last}/{total}"))
}

#[test]
fn a_manifest_is_held_against_both_digests() {
    let body = r#"{"schemaVersion":2}"#;
    let right = Digest::of(body.as_bytes());
    let server = FakeServer::start(move |_| Reply::new(200, body).with("Content-Type", TYPE)).unwrap();
    let by_tag = image(&server.host());
    let found = run(client().manifest(&by_tag)).unwrap();
    assert_eq!(found.descriptor, Descriptor::of(TYPE, body.as_bytes()));
    assert_eq!(run(client().manifest(&by_tag.with_digest(right))).unwrap(), found);
    let error = run(client().manifest(&by_tag.with_digest(Digest::of(b"other")))).unwrap_err();
    assert_eq!(error.kind(), Kind::Hostile);
    assert!(told(&error).contains("expected sha256:"), "{}", told(&error));

    let said = Digest::of(b"other");
    let liar = FakeServer::start(move |_| Reply::new(200, body).with("Docker-Content-Digest", &said)).unwrap();
    assert_eq!(run(client().manifest(&image(&liar.host()))).unwrap_err().kind(), Kind::Hostile);
}

#[test]
fn a_manifest_without_end_is_not_read() {
    let announced = FakeServer::start(|_| Reply::new(200, "{").length(Some(100 << 20))).unwrap();
    let silent = FakeServer::start(|_| Reply::new(200, vec![b' '; MANIFEST_LIMIT + 10]).length(None)).unwrap();
    for server in [announced, silent] {
        let error = run(client().manifest(&image(&server.host()))).unwrap_err();
        assert!(told(&error).contains("more than the 4194304 bytes that a manifest may have"), "{}", told(&error));
        assert_eq!(error.kind(), Kind::Hostile);
    }
}

#[test]
fn a_missing_image_is_told_in_the_registrys_words() {
    let document = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    let server = FakeServer::start(move |_| Reply::new(404, document)).unwrap();
    let error = run(client().manifest(&image(&server.host()))).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let expected = format!(
        "cannot fetch the manifest of {0}/team/app:1\n\
         GET http://{0}/v2/team/app/manifests/1 answered 404 Not Found: MANIFEST_UNKNOWN: manifest unknown",
        server.host()
    );
    assert_eq!(told(&error), expected);
}

#[test]
fn a_download_continues_where_it_stopped() {
    let whole = content();
    let descriptor = Descriptor::of("x", &whole);
    let sent = whole.clone();
    let server =
        FakeServer::start(move |seen| first(seen).map_or(Reply::new(200, &*sent), |at| ranged(&sent, at))).unwrap();
    assert_eq!(fetch(&client(), &server, &descriptor, 0).unwrap(), whole);
    assert_eq!(fetch(&client(), &server, &descriptor, 1_000_000).unwrap(), whole[1_000_000..]);
    assert_eq!(fetch(&client(), &server, &descriptor, descriptor.size).unwrap(), b"");
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let whole = content();
    let descriptor = Descriptor::of("x", &whole);
    let sent = whole.clone();
    let server = FakeServer::start(move |_| Reply::new(200, &*sent)).unwrap();
    assert_eq!(fetch(&client(), &server, &descriptor, 1_234_567).unwrap(), whole[1_234_567..]);
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let whole = content();
    let descriptor = Descriptor::of("x", &whole);
    let sent = whole.clone();
    // Each connection brings half a megabyte and ends.
    let server = FakeServer::start(move |seen| {
        let at = first(seen).unwrap_or(0);
        let until = sent.len().min(at + 600_000);
        let reply = Reply::new(if at == 0 { 200 } else { 206 }, &sent[at..until]);
        let reply = reply.length(u64::try_from(sent.len() - at).ok());
        reply.with("Content-Range", format!("bytes {at}-{}/{}", sent.len() - 1, sent.len()))
    })
    .unwrap();
    assert_eq!(fetch(&client(), &server, &descriptor, 0).unwrap(), whole);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn sizes_that_lie_are_told_before_or_as_they_show() {
    let whole = content();
    let descriptor = Descriptor::of("x", &whole);
    let size = descriptor.size;
    let check = |reply: fn(&[u8]) -> Reply, expected: String| {
        let sent = content();
        let server = FakeServer::start(move |_| reply(&sent)).unwrap();
        let error = fetch(&client(), &server, &descriptor, 0).unwrap_err();
        assert!(told(&error).contains(&expected), "{} lacks {expected}", told(&error));
        assert!(told(&error).contains(&descriptor.digest.to_string()), "{}", told(&error));
    };
    check(|sent| Reply::new(200, &sent[..1000]), format!("a blob of size 1000, expected {size}"));
    check(|sent| Reply::new(200, sent).length(Some(1 << 40)), format!("{}, expected {size}", 1_u64 << 40));
    check(|sent| Reply::new(200, &sent[..1000]).length(None), format!("1000, expected {size}"));
    check(|sent| Reply::new(200, &sent[..1000]).length(u64::try_from(sent.len()).ok()), "broke off".into());
    check(|sent| Reply::new(200, [sent, b"more"].concat()).length(None), format!("expected {size}"));
    check(|sent| Reply::new(206, sent).with("Content-Range", "bytes 5-9/10"), "against the protocol".into());
}

#[test]
fn a_busy_registry_is_asked_again() {
    let count = AtomicUsize::new(0);
    let server = FakeServer::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503, ""),
        1 => Reply::new(429, "").with("Retry-After", 0),
        _ => Reply::new(200, "{}"),
    })
    .unwrap();
    run(client().manifest(&image(&server.host()))).unwrap();

    let server = FakeServer::start(|_| Reply::new(429, "slow down").with("Retry-After", 3600)).unwrap();
    let error = run(client().manifest(&image(&server.host()))).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(told(&error).contains("429 Too Many Requests: slow down\nhint: the registry limits"), "{}", told(&error));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn layers_from_other_places_are_not_fetched_there() {
    let evil = FakeServer::start(|_| Reply::new(200, "x")).unwrap();
    let server = FakeServer::start(|_| Reply::new(404, "")).unwrap();
    let mut descriptor = Descriptor::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"x");
    descriptor.urls.push(format!("http://{}/layer", evil.host()));
    assert_eq!(fetch(&client(), &server, &descriptor, 0).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(evil.seen().len(), 0);
}
