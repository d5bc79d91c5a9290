//! Debian's docker-registry, with skopeo and podman on its other side.

use std::process::Command;

use onggi_testkit::{Onggi, Podman, Registry, captured, needs};
use tempfile::TempDir;

use crate::{BINARY, with_busybox};

/// A registry with `bb:TAG` in it, once for each way to store it: `gzip`, `zstd`, `docker`.
struct Filled {
    registry: Registry,
    _dir: TempDir,
}

fn filled() -> Option<Filled> {
    let registry = Registry::start().unwrap()?;
    let dir = tempfile::tempdir().unwrap();
    let onggi = with_busybox();
    let archive = dir.path().join("bb.tar");
    onggi.run(["save", "-o", archive.to_str().unwrap(), "bb"]).ok().unwrap();
    for (tag, options) in [
        ("gzip", &["--format", "oci", "--dest-compress-format", "gzip"][..]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
        ("docker", &["--format", "v2s2"]),
    ] {
        let to = format!("docker://{}/bb:{tag}", registry.host());
        captured(
            Command::new("skopeo")
                .args(["copy", "--quiet", "--dest-tls-verify=false"])
                .args(options)
                .args([&format!("docker-archive:{}", archive.display()), &to]),
        )
        .unwrap();
    }
    Some(Filled { registry, _dir: dir })
}

fn runs(onggi: &Onggi, image: &str) {
    let ran = onggi.run(["run", "--rm", "--network", "none", "--pull", "never", image, "echo", "runs"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "runs\n"), "{image}: {}", ran.stderr);
}

#[test]
fn pulled_images_run() {
    needs!("root", "docker-registry", "skopeo");
    let Filled { registry, _dir } = &filled().unwrap();
    for tag in ["gzip", "zstd", "docker"] {
        let onggi = Onggi::new(BINARY).unwrap();
        let name = format!("{}/bb:{tag}", registry.host());
        onggi.run(["pull", &name]).ok().unwrap();
        runs(&onggi, &name);
        let again = onggi.run(["pull", &name]).ok().unwrap();
        assert!(again.stdout.contains("up to date"), "{}", again.stdout);
        let digest = onggi.run(["inspect", "-f", "{{index .RepoDigests 0}}", &name]).line().to_owned();
        let remote = captured(Command::new("skopeo").args([
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{name}"),
        ]))
        .unwrap();
        assert!(digest.ends_with(remote.trim()), "{digest} {remote}");
        let fresh = Onggi::new(BINARY).unwrap();
        fresh.run(["pull", &digest]).ok().unwrap();
        runs(&fresh, &digest);
    }
}

#[test]
fn run_fetches_what_is_missing() {
    needs!("root", "docker-registry", "skopeo");
    let Filled { registry, _dir } = &filled().unwrap();
    let onggi = Onggi::new(BINARY).unwrap();
    let name = format!("{}/bb:gzip", registry.host());
    let ran = onggi.run(["run", "--rm", "--network", "none", &name, "echo", "fetched"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "fetched\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Unable to find image"), "{}", ran.stderr);
}

#[test]
fn pushed_images_are_pulled_by_others_and_run_there() {
    needs!("root", "docker-registry", "skopeo", "podman");
    let registry = Registry::start().unwrap().unwrap();
    let onggi = with_busybox();
    let name = format!("{}/pushed/bb:v1", registry.host());
    onggi.run(["tag", "bb", &name]).ok().unwrap();
    onggi.run(["push", &name]).ok().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let from = format!("docker://{name}");
    captured(Command::new("skopeo").args([
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        &from,
        &format!("oci:{}:x", dir.path().join("oci").display()),
    ]))
    .unwrap();
    let podman = Podman::new().unwrap().unwrap();
    podman.run(&["pull", "-q", "--tls-verify=false", &name]).unwrap();
    assert_eq!(podman.run_container(&[&name, "echo", "runs"]).unwrap(), "runs\n");
    // Pushing again sends nothing that is there.
    onggi.run(["push", &name]).ok().unwrap();
    let fresh = Onggi::new(BINARY).unwrap();
    fresh.run(["pull", &name]).ok().unwrap();
    runs(&fresh, &name);
}

#[test]
fn errors_name_what_and_where() {
    needs!("root", "docker-registry", "skopeo");
    let Filled { registry, _dir } = &filled().unwrap();
    let onggi = Onggi::new(BINARY).unwrap();
    let host = registry.host();
    for (words, says) in [
        (vec!["pull".to_owned(), format!("{host}/bb:nosuchtag")], "nosuchtag"),
        (vec!["pull".into(), format!("{host}/nosuchimage")], "nosuchimage"),
        (vec!["pull".into(), format!("{host}/UPPER")], "UPPER"),
        (vec!["pull".into(), "--platform".into(), "linux/riscv64".into(), format!("{host}/bb:gzip")], "riscv64"),
        (vec!["pull".into(), format!("127.0.0.1:1/bb")], "127.0.0.1:1"),
        (vec!["push".into(), format!("{host}/notthere")], "notthere"),
    ] {
        let outcome = onggi.run(&words);
        assert!(
            outcome.code == 1 && outcome.stderr.contains("error: ") && outcome.stderr.contains(says),
            "{words:?}: {outcome:?}"
        );
    }
    assert_eq!(onggi.run(["images", "-q"]).stdout, "");
}
