//! Mirrors: asked first, believed only as far as digests go.

use onggi_diag::{Diagnose, Kind};
use onggi_oci::{Descriptor, Digest, Reference};
use onggi_registry::{Client, Config, Registries};
use onggi_testkit::{FakeServer, Reply};

use crate::{quick, run, told};

fn mirrored(registry: &str, mirrors: &[&FakeServer]) -> Client {
    let list: Vec<_> = mirrors.iter().map(|mirror| format!("'http://{}/cache'", mirror.host())).collect();
    let text = format!("[registry.'{registry}']\nmirrors = [{}]", list.join(", "));
    Client::new(Config { registries: Registries::parse(&text).unwrap(), patience: quick(), ..Config::default() })
}

fn image(registry: &str) -> Reference {
    format!("{registry}/team/app:1").parse().unwrap()
}

#[test]
fn the_first_mirror_that_has_it_serves_it() {
    let empty = FakeServer::start(|_| Reply::new(404, "")).unwrap();
    let full = FakeServer::start(|_| Reply::new(200, "{}")).unwrap();
    let registry = FakeServer::start(|_| Reply::new(200, "{\"origin\":1}")).unwrap();
    let client = mirrored(&registry.host(), &[&empty, &full]);
    assert_eq!(run(client.manifest(&image(&registry.host()))).unwrap().bytes, "{}");
    let target = format!("/v2/cache/team/app/manifests/1?ns={}", registry.host());
    assert_eq!(empty.seen()[0].target, target);
    assert_eq!(full.seen()[0].target, target);
    assert_eq!(registry.seen().len(), 0);
}

#[test]
fn a_mirror_with_other_content_is_passed_over() {
    let wrong = FakeServer::start(|_| Reply::new(200, "{\"wrong\":1}")).unwrap();
    let registry = FakeServer::start(|_| Reply::new(200, "{}")).unwrap();
    let client = mirrored(&registry.host(), &[&wrong]);
    let pinned = image(&registry.host()).with_digest(Digest::of(b"{}"));
    assert_eq!(run(client.manifest(&pinned)).unwrap().bytes, "{}");
    // A blob's content shows its fault only at its end; the caller then passes over the one that sent it.
    let descriptor = Descriptor::of("x", b"{}");
    run(async {
        let first = client.blob(&pinned, &Descriptor { size: 11, ..descriptor.clone() }, 0, 0).await.unwrap();
        assert_eq!((first.server(), client.server_count(&pinned)), (0, 2));
        let mut second = client.blob(&pinned, &descriptor, 0, first.server() + 1).await.unwrap();
        assert_eq!(second.server(), 1);
        assert_eq!(second.next().await.unwrap().unwrap(), "{}");
    });
}

#[test]
fn when_nobody_has_it_all_answers_are_told_and_the_registrys_counts() {
    let broken = FakeServer::start(|_| Reply::new(500, "disk full")).unwrap();
    let registry = FakeServer::start(|_| Reply::new(404, "")).unwrap();
    let client = mirrored(&registry.host(), &[&broken]);
    let error = run(client.manifest(&image(&registry.host()))).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let text = told(&error);
    assert!(text.contains("500 Internal Server Error: disk full"), "{text}");
    assert!(text.contains("404 Not Found"), "{text}");
}

#[test]
fn nothing_is_pushed_to_a_mirror() {
    let mirror = FakeServer::start(|_| Reply::new(200, "{}")).unwrap();
    let registry = FakeServer::start(|_| Reply::new(201, "")).unwrap();
    let client = mirrored(&registry.host(), &[&mirror]);
    let body = bytes::Bytes::from_static(b"{}");
    run(client.push_manifest(&image(&registry.host()), "application/json", &body)).unwrap();
    assert_eq!(registry.seen()[0].body, b"{}");
    assert_eq!(mirror.seen().len(), 0);
}
