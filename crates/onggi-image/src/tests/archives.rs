use serde_json::{Value, json};

use super::*;
use crate::{ArchiveError, ArchiveFormat, ImportOptions};

fn saved(scratch: &Scratch, queries: &[&str], format: ArchiveFormat) -> Vec<u8> {
    let queries: Vec<String> = queries.iter().map(|&query| query.to_owned()).collect();
    let mut bytes = Vec::new();
    scratch.images.save(&queries, format, None, &mut bytes).unwrap();
    bytes
}

fn refuse(scratch: &Scratch, archive: &[u8], expected: &str) {
    let error = scratch.images.load(archive).unwrap_err();
    let told = onggi_diag::chain(&error).join(": ");
    assert!(told.contains(expected), "{told}");
    assert!(scratch.names().is_empty(), "{expected}");
    assert_eq!((scratch.blobs(), scratch.images.list().unwrap().len()), (0, 0), "{expected}");
    assert_eq!(std::fs::read_dir(scratch.dir.path().join("images/ingest")).unwrap().count(), 0, "{expected}");
}

#[test]
fn what_is_saved_can_be_loaded() {
    for (format, docker) in [(ArchiveFormat::Docker, false), (ArchiveFormat::Docker, true), (ArchiveFormat::Oci, true)]
    {
        let (from, to) = (scratch(), scratch());
        let recipe = Recipe { docker, ..Recipe::default() };
        let image = from.make_as(&["a", "a:2", "quay.io/b:1"], &recipe);
        let other = from.make_as(&["c"], &Recipe { layers: vec!["other", "two"], ..recipe });
        let bytes = saved(&from, &["a", "quay.io/b:1", other.id.as_str()], format);
        assert_eq!(bytes, saved(&from, &["a", "quay.io/b:1", other.id.as_str()], format));
        for packed in [bytes.clone(), gzip(&bytes)] {
            let loaded = to.images.load(&packed[..]).unwrap();
            assert_eq!(loaded.iter().map(|one| &one.id).collect::<Vec<_>>(), [&image.id, &other.id]);
            let mut names: Vec<String> = loaded[0].names.iter().map(Reference::familiar).collect();
            names.sort();
            assert_eq!(names, ["a:2", "a:latest", "quay.io/b:1"]);
        }
        // The same bytes under the same digest, and all of it unpacked.
        let there = to.images.resolve("quay.io/b:1").unwrap();
        assert_eq!((&there.target.digest, there.manifest), (&image.target.digest, image.manifest));
        assert_eq!(to.images.snapshots().layers().unwrap().len(), 3);
        assert!(to.images.resolve(other.id.as_str()).unwrap().names.is_empty());
        assert_eq!(to.blobs(), from.blobs(), "{format:?}");
    }
}

#[test]
fn an_index_travels_with_what_is_here_of_it() {
    let (from, to) = (scratch(), scratch());
    let host: &'static str = Box::leak(Platform::host().to_string().into_boxed_str());
    let index = from.make_index("many", &[host, "linux/s390x"], &["linux/riscv64"]);
    to.images.load(&saved(&from, &["many"], ArchiveFormat::Docker)[..]).unwrap();
    assert_eq!(to.images.resolve("many").unwrap().target.digest, index.digest);
    let s390x = Platform::parse("linux/s390x").unwrap();
    assert!(to.images.resolve_for("many", Some(&s390x)).is_ok());
    // Of one platform, that image alone.
    let mut one = Vec::new();
    from.images.save(&["many".into()], ArchiveFormat::Oci, Some(&s390x), &mut one).unwrap();
    let alone = scratch();
    alone.images.load(&one[..]).unwrap();
    assert_eq!(alone.images.resolve("many").unwrap().configuration.architecture, "s390x");
    assert_eq!(alone.blobs(), 4);
}

/// Docker's older form, with a link where a layer comes twice.
fn old_docker(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let layer = archive(&[("etc/motd", b"hello")]);
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer), Digest::of(&layer)]}});
    let config = serde_json::to_vec(&config).unwrap();
    let mut manifest = json!([{"Config": "c.json", "RepoTags": ["old:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    change(&mut manifest);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut writer = tar::Writer::new(Vec::new());
    let mut add = |path: &str, data: &[u8]| writer.append(&file(path, tar::Kind::File, data.len()), data).unwrap();
    add("c.json", &config);
    add("a/VERSION", b"1.0");
    add("a/layer.tar", &layer);
    add("manifest.json", &manifest);
    writer.append(&file("b/layer.tar", tar::Kind::Symlink(b"../a/layer.tar".to_vec()), 0), std::io::empty()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn the_older_form_is_read_with_its_links() {
    let scratch = scratch();
    let loaded = scratch.images.load(&old_docker(|_| ())[..]).unwrap();
    assert_eq!(loaded[0].names, [name("old:1")]);
    let image = scratch.images.resolve("old:1").unwrap();
    assert_eq!(image.id, loaded[0].id);
    assert_eq!(image.manifest.layers[0].media_type, media_type::LAYER);
    assert_eq!(scratch.blobs(), 3);
}

#[test]
fn an_archive_that_lies_leaves_nothing() {
    let scratch = scratch();
    for (path, expected) in [
        ("../../../../etc/passwd", "leads out of it"),
        ("/etc/passwd", "leads out of it"),
        ("x/layer.tar", "does not have it"),
    ] {
        refuse(&scratch, &old_docker(|list| list[0]["Layers"][0] = json!(path)), expected);
        refuse(&scratch, &old_docker(|list| list[0]["Config"] = json!(path)), expected);
    }
    refuse(&scratch, &old_docker(|list| list[0]["RepoTags"][0] = json!("UP:x")), "upper-case");
    refuse(
        &scratch,
        &old_docker(|list| list[0]["Layers"] = json!(["a/layer.tar"])),
        "1 layers, the image configuration 2",
    );
    refuse(&scratch, &old_docker(|list| list[0]["Config"] = json!("a/VERSION")), "configuration");
    refuse(&scratch, &old_docker(|list| list[0]["Layers"][0] = json!("a/VERSION")), "as its image says");
    refuse(&scratch, &old_docker(|list| *list = json!([])), "no image");
    refuse(&scratch, &old_docker(|list| *list = json!({})), "malformed");
    let whole = old_docker(|_| ());
    refuse(&scratch, &whole[..whole.len() - 2000], "archive ends in the middle");
    refuse(&scratch, &gzip(&whole)[..300], "cut short");
    refuse(&scratch, b"", "no image");
    refuse(&scratch, &[7; 2048], "checksum");
}

#[test]
fn a_layer_is_held_to_its_image_also_where_the_right_one_is_unpacked() {
    let scratch = scratch();
    scratch.images.load(&old_docker(|_| ())[..]).unwrap();
    let lie = old_docker(|list| {
        list[0]["RepoTags"][0] = json!("lie:1");
        list[0]["Layers"][1] = json!("a/VERSION");
    });
    let error = scratch.images.load(&lie[..]).unwrap_err();
    assert!(onggi_diag::chain(&error).join(": ").contains("as its image says"));
    assert_eq!((scratch.names().len(), scratch.blobs()), (1, 3));
}

#[test]
fn names_and_links_out_of_an_archive_are_refused() {
    let scratch = scratch();
    for path in ["../x", "/x", "a/../../x"] {
        refuse(&scratch, &archive(&[(path, b"")]), "leads out of it");
    }
    for (path, target) in [("a/layer.tar", "/etc/passwd"), ("layer.tar", "../../x")] {
        for kind in [tar::Kind::Symlink(target.into()), tar::Kind::HardLink(target.into())] {
            let mut writer = tar::Writer::new(Vec::new());
            writer.append(&file(path, kind, 0), std::io::empty()).unwrap();
            refuse(&scratch, &writer.finish().unwrap(), "leads out of it");
        }
    }
    let mut writer = tar::Writer::new(Vec::new());
    writer.append(&file("manifest.json", tar::Kind::Fifo, 0), std::io::empty()).unwrap();
    refuse(&scratch, &writer.finish().unwrap(), "no archive of images has");
}

#[test]
fn a_blob_that_is_not_its_name_is_refused() {
    let (from, to) = (scratch(), scratch());
    from.make_as(&["a"], &Recipe::default());
    let mut bytes = saved(&from, &["a"], ArchiveFormat::Oci);
    // The first bytes of the first blob, behind its header and those of two directories.
    bytes[3 * 512] ^= 1;
    refuse(&to, &bytes, "hashes to");
}

#[test]
fn two_lists_that_disagree_are_refused() {
    let (from, to) = (scratch(), scratch());
    from.make_as(&["a"], &Recipe::default());
    let other = from.make_as(&["b"], &Recipe { layers: vec!["other", "x"], ..Recipe::default() });
    let bytes = saved(&from, &["a"], ArchiveFormat::Docker);
    let configuration = other.configuration.to_bytes();
    let list = json!([{"Config": "c.json", "RepoTags": ["a:latest"], "Layers": []}]);
    let list = serde_json::to_vec(&list).unwrap();
    // What comes later in an archive replaces what came before.
    let mut more = tar::Writer::new(bytes[..bytes.len() - 1024].to_vec());
    for (path, data) in [("c.json", &configuration), ("manifest.json", &list)] {
        more.append(&file(path, tar::Kind::File, data.len()), &data[..]).unwrap();
    }
    refuse(&to, &more.finish().unwrap(), "different images");
}

#[test]
fn a_root_file_system_is_imported_and_not_loaded() {
    let scratch = scratch();
    let rootfs = archive(&[("etc/hostname", b"x"), ("bin/sh", b"#!")]);
    refuse(&scratch, &rootfs, "no image");
    for (packed, media_type) in [(rootfs.clone(), media_type::LAYER), (gzip(&rootfs), media_type::LAYER_GZIP)] {
        let options = ImportOptions {
            name: Some(name("base:1")),
            changes: vec!["CMD /bin/sh".into(), "ENV A=1".into()],
            source: "-".into(),
            ..ImportOptions::default()
        };
        let id = scratch.images.import(&packed[..], &options).unwrap();
        let image = scratch.images.resolve("base:1").unwrap();
        assert_eq!((&image.id, image.manifest.layers[0].media_type.as_str()), (&id, media_type));
        assert_eq!(image.configuration.config.env, ["A=1"]);
        assert_eq!(image.diff_ids(), [Digest::of(&rootfs)]);
        assert_eq!(scratch.images.history("base:1").unwrap()[0].comment, "Imported from -");
    }
    let wrong = ImportOptions { changes: vec!["RUN x".into()], ..ImportOptions::default() };
    let error = scratch.images.import(&rootfs[..], &wrong).unwrap_err();
    assert!(matches!(error, ImageError::Archive(ArchiveError::Change { .. })));
    let before = scratch.blobs();
    assert!(scratch.images.import(&[1; 4000][..], &ImportOptions::default()).is_err());
    assert_eq!(scratch.blobs(), before);
}
