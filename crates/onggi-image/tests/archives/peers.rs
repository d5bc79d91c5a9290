use std::fs::File;

use onggi_image::ArchiveFormat;
use onggi_testkit::{Docker, needs};

use super::*;

/// podman with a store of its own, which goes with the directory.
fn podman(scratch: &Scratch, arguments: &[&str]) -> String {
    let (root, run) = (scratch.path("podman"), scratch.path("podman-run"));
    let mut command = Command::new("podman");
    command.arg("--root").arg(&root).arg("--runroot").arg(&run).args(["--storage-driver", "vfs"]).args(arguments);
    captured(&mut command).unwrap()
}

#[test]
fn skopeo_reads_the_store_in_place() {
    needs!("root", "skopeo");
    let scratch = Scratch::with_base().with_schema2();
    for name in ["docker.io/library/base:1", "docker.io/library/docker:1"] {
        let image = scratch.images.resolve(name).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&run("skopeo", &["inspect", &scratch.oci(name)])).unwrap();
        assert_eq!(shown["Labels"]["made"], "here");
        let copy = scratch.path("copy");
        skopeo_copy(&scratch.oci(name), &format!("dir:{}", copy.display()));
        let bytes = std::fs::read(copy.join("manifest.json")).unwrap();
        assert_eq!(onggi_oci::Digest::of(&bytes), image.target.digest);
    }
}

#[test]
fn what_skopeo_puts_into_the_store_is_there() {
    needs!("root", "skopeo");
    let (from, to) = (Scratch::with_base(), Scratch::new());
    skopeo_copy(&from.oci("docker.io/library/base:1"), &to.oci("docker.io/library/mine:2"));
    let image = to.images.hold("mine:2", None).unwrap().image;
    assert!(to.busybox_runs_in(&image));
    to.images.tag("mine:2", &Reference::parse("other").unwrap()).unwrap();
    run("skopeo", &["inspect", &to.oci("docker.io/library/mine:2")]);
}

#[test]
fn archives_of_skopeo_are_loaded() {
    needs!("root", "skopeo");
    let from = Scratch::with_base();
    let archive = from.path("a.tar");
    for (kind, name) in [("docker-archive", "b:1"), ("oci-archive", "docker.io/library/b:1"), ("oci-archive", "")] {
        let reference = if name.is_empty() { String::new() } else { format!(":{name}") };
        skopeo_copy(&from.oci("docker.io/library/base:1"), &format!("{kind}:{}{reference}", archive.display()));
        let to = Scratch::new();
        let image = to.load(&archive);
        let expected: &[&str] = if name.is_empty() { &[] } else { &["b:1"] };
        assert_eq!(image.tags(), expected);
        assert_eq!(image.configuration.config.labels["made"], "here");
        assert!(to.busybox_runs_in(&image));
        std::fs::remove_file(&archive).unwrap();
    }
}

#[test]
fn layouts_of_umoci_are_loaded() {
    needs!("root", "umoci", "tar");
    let scratch = Scratch::new();
    let (rootfs, layout, archive) =
        (Rootfs::busybox().unwrap().unwrap(), scratch.path("layout"), scratch.path("u.tar"));
    let image = format!("{}:tiny", layout.display());
    run("umoci", &["init", "--layout", layout.to_str().unwrap()]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["insert", "--image", &image, rootfs.path().to_str().unwrap(), "/"]);
    run("umoci", &["config", "--image", &image, "--config.cmd", "/bin/sh"]);
    run("tar", &["-C", layout.to_str().unwrap(), "-czf", archive.to_str().unwrap(), "."]);
    let image = scratch.load(&archive);
    assert_eq!(
        (image.tags(), image.configuration.config.cmd.as_deref()),
        (vec!["tiny:latest".into()], Some(&["/bin/sh".into()][..]))
    );
    assert!(scratch.busybox_runs_in(&image));
}

#[test]
fn podman_and_onggi_load_what_the_other_saves() {
    needs!("root", "podman");
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let from = Scratch::with_base().with_schema2();
        for name in ["base:1", "docker:1"] {
            let image = from.images.resolve(name).unwrap();
            let archive = from.path("onggi.tar");
            from.images.save(&[name.into()], format, None, File::create(&archive).unwrap()).unwrap();
            podman(&from, &["load", "--quiet", "--input", archive.to_str().unwrap()]);
            let full = format!("docker.io/library/{name}");
            let id = podman(&from, &["image", "inspect", "--format", "{{.Id}}", &full]);
            if format == ArchiveFormat::Docker || name == "base:1" {
                assert_eq!(id.trim(), image.id.hex(), "{format:?} {name}");
            }
            for podmans in ["docker-archive", "oci-archive"] {
                let (to, back) = (Scratch::new(), from.path("podman.tar"));
                podman(&from, &["save", "--quiet", "--format", podmans, "--output", back.to_str().unwrap(), &full]);
                let image = to.load(&back);
                assert_eq!(image.tags(), [name], "{podmans}");
                assert!(to.busybox_runs_in(&image));
                std::fs::remove_file(&back).unwrap();
            }
        }
        podman(&from, &["rmi", "--all", "--force"]);
    }
}

#[test]
fn skopeo_reads_what_is_saved() {
    needs!("root", "skopeo");
    let scratch = Scratch::with_base().with_schema2();
    // Of a Docker archive with an OCI layout in it, skopeo 1.9 does not see what Docker made.
    for (format, kind) in [(ArchiveFormat::Docker, "docker-archive"), (ArchiveFormat::Oci, "oci-archive")] {
        let archive = scratch.path("saved.tar");
        let names = ["base:1".to_owned(), "docker:1".to_owned()];
        scratch.images.save(&names, format, None, File::create(&archive).unwrap()).unwrap();
        for name in &names {
            let from = format!("{kind}:{}:docker.io/library/{name}", archive.display());
            skopeo_copy(&from, &format!("dir:{}", scratch.path("copied").display()));
        }
    }
}

#[test]
fn docker_and_onggi_load_what_the_other_saves() {
    needs!("root", "dockerd", "docker");
    let Some(docker) = Docker::start().unwrap() else { return };
    let from = Scratch::with_base().with_schema2();
    for name in ["base:1", "docker:1"] {
        let (archive, back) = (from.path("onggi.tar"), from.path("docker.tar"));
        let image = from.images.resolve(name).unwrap();
        from.images.save(&[name.into()], ArchiveFormat::Docker, None, File::create(&archive).unwrap()).unwrap();
        captured(docker.command().arg("load").arg("--input").arg(&archive)).unwrap();
        let id = captured(docker.command().args(["image", "inspect", "--format", "{{.Id}}", name])).unwrap();
        assert_eq!(id.trim(), image.id.as_str());
        let size = captured(docker.command().args(["image", "inspect", "--format", "{{.Size}}", name])).unwrap();
        let shown = from.images.inspect(name, None).unwrap();
        let (docker_size, size) = (size.trim().parse::<f64>().unwrap(), shown["Size"].as_f64().unwrap());
        // Docker's overlay driver counts what symbolic links say, too.
        assert!((docker_size - size).abs() / docker_size < 0.01, "{docker_size} {size}");
        captured(docker.command().args(["save", "--output"]).arg(&back).arg(name)).unwrap();
        let to = Scratch::new();
        let image = to.load(&back);
        assert_eq!((image.tags(), image.id.as_str()), (vec![name.to_owned()], id.trim()));
        assert!(to.busybox_runs_in(&image));
    }
}
