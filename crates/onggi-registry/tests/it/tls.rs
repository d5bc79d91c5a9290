//! Whom TLS lets us believe.

use std::path::{Path, PathBuf};
use std::process::Command;

use onggi_diag::{Diagnose, Kind};
use onggi_registry::{Client, Config, Credentials, Registries};
use onggi_testkit::{FakeServer, Registry, Reply, captured, needs};

use crate::{image, quick, run, told};

/// An authority, and a certificate by it for 127.0.0.1 with its key.
fn certificates(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let at = |name: &str| dir.join(name);
    let openssl = |args: &[&str]| {
        captured(Command::new("openssl").current_dir(dir).args(args)).unwrap();
    };
    let new = ["req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    openssl(
        &[&new[..], &["-x509", "-days", "2", "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem"]].concat(),
    );
    openssl(&[&new[..], &["-subj", "/CN=registry", "-keyout", "own.key", "-out", "own.csr"]].concat());
    std::fs::File::create(at("ext"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"subjectAltName=IP:127.0.0.1\n"))
        .unwrap();
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "own.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "ext",
        "-out",
        "own.pem",
    ]);
    (at("ca.pem"), at("own.pem"), at("own.key"))
}

fn client(registry: &str, settings: &str, credentials: Credentials) -> Client {
    let registries = Registries::parse(&format!("[registry.'{registry}']\n{settings}")).unwrap();
    Client::new(Config { registries, credentials, patience: quick(), ..Config::default() })
}

#[test]
fn a_registry_with_an_authority_of_its_own() {
    needs!("docker-registry", "openssl");
    let dir = tempfile::tempdir().unwrap();
    let (ca, certificate, key) = certificates(dir.path());
    let registry = Registry::start_secure(&certificate, &key, "").unwrap().unwrap();
    let host = registry.host();
    let check = |settings: &str| {
        let client = client(&host, settings, Credentials::default());
        run(client.manifest(&image(&host))).unwrap_err()
    };
    // The manifest does not exist; who says so with a status has been reached.
    let believed = format!("insecure = false\nca = '{}'", ca.display());
    assert_eq!(check(&believed).cause().status().map(|status| status.as_u16()), Some(404));
    assert_eq!(check("insecure = true").cause().status().map(|status| status.as_u16()), Some(404));

    let unknown = check("insecure = false");
    assert_eq!(unknown.kind(), Kind::Denied);
    let text = told(&unknown);
    assert!(text.contains(&format!("cannot set up TLS with {host}")), "{text}");
    assert!(text.contains("hint: if 127.0.0.1"), "{text}");
    let missing = check("insecure = false\nca = '/no/such/file'");
    assert!(told(&missing).contains("cannot use /no/such/file"), "{}", told(&missing));
}

#[test]
fn plain_http_where_tls_was_expected_is_not_fallen_back_to_unless_allowed() {
    let server = FakeServer::start(|_| Reply::new(200, "{}")).unwrap();
    let host = server.host();
    let error = run(client(&host, "insecure = false", Credentials::default()).manifest(&image(&host))).unwrap_err();
    assert!(told(&error).contains("does not seem to speak TLS"), "{}", told(&error));
    let insecure = client(&host, "insecure = true", Credentials::default());
    assert_eq!(run(insecure.manifest(&image(&host))).unwrap().bytes, "{}");
}

#[test]
fn a_token_realm_in_plain_http_is_refused_where_the_registry_has_tls() {
    needs!("docker-registry", "openssl");
    let dir = tempfile::tempdir().unwrap();
    let (ca, certificate, key) = certificates(dir.path());
    let tokens = FakeServer::start(|_| Reply::new(200, r#"{"token":"x"}"#)).unwrap();
    let auth = format!(
        "auth:\n  token:\n    realm: http://{}/token\n    service: tests\n    issuer: tests\n    rootcertbundle: {}\n",
        tokens.host(),
        ca.display()
    );
    let registry = Registry::start_secure(&certificate, &key, &auth).unwrap().unwrap();
    let host = registry.host();
    let file = dir.path().join("config.json");
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#);
    std::fs::File::create(&file).and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes())).unwrap();
    let settings = format!("insecure = false\nca = '{}'", ca.display());
    let error = run(client(&host, &settings, Credentials::in_files([file])).manifest(&image(&host))).unwrap_err();
    assert_eq!(error.kind(), Kind::Hostile);
    assert!(told(&error).contains("it is plain HTTP, the registry is not"), "{}", told(&error));
    assert_eq!(tokens.seen().len(), 0);
}
