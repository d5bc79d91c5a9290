//! The client and Debian's docker-registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use onggi_diag::{Diagnose, Kind};
use onggi_oci::{Descriptor, Digest};
use onggi_registry::{Client, Pushed, Source};
use onggi_testkit::{Registry, needs};

use crate::{client, client_with, image, run, told};

fn source(content: &Bytes) -> Source {
    let content = content.clone();
    Source::new("test content", move || Ok(Box::new(std::io::Cursor::new(content.clone()))))
}

async fn push_and_pull(client: &Client, host: &str) {
    let image = image(host);
    let content = Bytes::from((0..1_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let blob = Descriptor::of("application/vnd.oci.image.layer.v1.tar", &content);
    let sent = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&sent);
    let watched = source(&content).watched(move |count| seen.store(count, Ordering::SeqCst));
    assert!(!client.has_blob(&image, &blob.digest).await.unwrap());
    assert_eq!(client.push_blob(&image, &blob, &watched, None).await.unwrap(), Pushed::Sent);
    assert_eq!(sent.load(Ordering::SeqCst), blob.size);
    assert_eq!(client.push_blob(&image, &blob, &watched, None).await.unwrap(), Pushed::Existed);
    let other = format!("{host}/team/other:1").parse().unwrap();
    assert_eq!(client.push_blob(&other, &blob, &watched, Some("team/app")).await.unwrap(), Pushed::Mounted);

    let kind = "application/vnd.oci.image.manifest.v1+json";
    let part = serde_json::to_string(&blob).unwrap();
    let manifest =
        Bytes::from(format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{part},"layers":[{part}]}}"#));
    let digest = client.push_manifest(&image, kind, &manifest).await.unwrap();
    assert_eq!(digest, Digest::of(&manifest));
    let found = client.manifest(&image).await.unwrap();
    assert_eq!((&found.bytes, &found.descriptor), (&manifest, &Descriptor::of(kind, &manifest)));
    assert_eq!(client.digest(&image).await.unwrap(), Some(digest));
    assert_eq!(client.tags(&image).await.unwrap(), ["1"]);

    let mut rest = client.blob(&image, &blob, 3_000_000, 0).await.unwrap();
    let mut got = Vec::new();
    while let Some(bytes) = rest.next().await.unwrap() {
        got.extend_from_slice(&bytes);
    }
    assert_eq!(got, content[3_000_000..]);
}

#[test]
fn what_is_pushed_comes_back() {
    needs!("docker-registry");
    let registry = Registry::start().unwrap().unwrap();
    let client = client();
    run(push_and_pull(&client, &registry.host()));
    // A client outlives the runtime that its connections were made in.
    run(client.manifest(&image(&registry.host()))).unwrap();
}

#[test]
fn behind_a_password() {
    needs!("docker-registry");
    let registry = Registry::start_guarded().unwrap().unwrap();
    let host = registry.host();
    let dir = tempfile::tempdir().unwrap();
    // user:secret
    let right = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#);
    run(push_and_pull(&client_with(dir.path(), &right), &host));
    // user:wrong
    let wrong = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjp3cm9uZw=="}}}}}}"#);
    let error = run(client_with(dir.path(), &wrong).manifest(&image(&host))).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(told(&error).contains("came from"), "{}", told(&error));
    assert_eq!(run(client().manifest(&image(&host))).unwrap_err().kind(), Kind::Denied);
}

#[test]
fn a_push_of_content_that_is_not_what_its_digest_says_is_refused_by_the_registry() {
    needs!("docker-registry");
    let registry = Registry::start().unwrap().unwrap();
    let lie = Descriptor::new("x", Digest::of(b"other"), 4);
    let error = run(client().push_blob(&image(&registry.host()), &lie, &source(&"four".into()), None)).unwrap_err();
    assert!(told(&error).contains("DIGEST_INVALID"), "{}", told(&error));
    let short = Descriptor::new("x", Digest::of(b"four"), 400);
    let error = run(client().push_blob(&image(&registry.host()), &short, &source(&"four".into()), None)).unwrap_err();
    assert!(told(&error).contains("cannot read test content"), "{}", told(&error));
}
