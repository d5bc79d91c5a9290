use onggi_diag::Diagnose;

use super::*;
use crate::PruneOptions;

#[test]
fn an_image_is_found_by_all_it_is_called() {
    let scratch = scratch();
    let image = scratch.make_as(&["a", "b:1"], &Recipe::default());
    let hex = image.id.hex();
    let by_digest = format!("a@{}", image.target.digest);
    for query in ["a", "a:latest", "docker.io/library/b:1", hex, &hex[..12], image.id.as_str(), &by_digest] {
        assert_eq!(scratch.images.resolve(query).unwrap().id, image.id, "{query}");
    }
    assert_eq!(image.tags(), ["a:latest", "b:1"]);
    for query in ["c", "a:1", "sha256:00", "ffffff0", &format!("c@{}", image.target.digest)] {
        assert!(matches!(scratch.images.resolve(query), Err(ImageError::NotFound { .. })), "{query}");
    }
    assert!(matches!(scratch.images.resolve("UPPER"), Err(ImageError::Name(_))));
    assert_eq!(scratch.images.resolve("c").unwrap_err().to_string(), "no such image: c");
}

#[test]
fn a_beginning_of_several_ids_is_ambiguous() {
    let scratch = scratch();
    let layers = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f", "g"];
    for layer in layers {
        scratch.make(&Recipe { layers: vec![layer, "x"], ..Recipe::default() });
    }
    // Seventeen IDs begin with sixteen digits.
    let digits = (0..16).map(|digit| format!("{digit:x}"));
    assert!(digits.into_iter().any(|d| matches!(scratch.images.resolve(&d), Err(ImageError::Ambiguous { .. }))));
}

#[test]
fn of_an_index_this_machines_image_is_taken() {
    let scratch = scratch();
    let host: &'static str = Box::leak(Platform::host().to_string().into_boxed_str());
    let other = if host == "linux/s390x" { "linux/arm64" } else { "linux/s390x" };
    let index = scratch.make_index("both", &[other, host], &["linux/riscv64"]);
    let image = scratch.images.resolve("both").unwrap();
    assert_eq!((image.configuration.platform().to_string().as_str(), &image.target), (host, &index));
    let there = Platform::parse(other).unwrap();
    let foreign = scratch.images.resolve_for("both", Some(&there)).unwrap();
    assert_eq!(foreign.configuration.platform(), there);
    assert_eq!(scratch.images.resolve(foreign.id.as_str()).unwrap().id, foreign.id);
    let absent = scratch.images.resolve_for("both", Some(&Platform::parse("linux/riscv64").unwrap()));
    assert!(matches!(absent, Err(ImageError::Absent { .. })));
    let missing = scratch.images.resolve_for("both", Some(&Platform::parse("linux/mips64le").unwrap())).unwrap_err();
    assert!(missing.hint().unwrap().contains(other));
    // What was pulled for another machine only is still what the name means.
    scratch.make_index("theirs", &[other], &[host]);
    assert_eq!(scratch.images.resolve("theirs").unwrap().configuration.platform(), there);
}

#[test]
fn a_plain_image_for_another_platform_is_not_taken_for_it() {
    let scratch = scratch();
    scratch.make_as(&["a"], &Recipe { platform: "linux/s390x", ..Recipe::default() });
    assert!(scratch.images.resolve("a").is_ok());
    let wanted = Platform::parse("linux/riscv64").unwrap();
    assert!(matches!(scratch.images.resolve_for("a", Some(&wanted)), Err(ImageError::Platform { .. })));
}

#[test]
fn unpacking_makes_layers_and_knows_their_size() {
    let scratch = scratch();
    let image = scratch.make_as(&["a"], &Recipe { layers: vec!["twelve bytes", "x", "x"], ..Recipe::default() });
    assert!(scratch.images.snapshots().layers().unwrap().is_empty());
    let held = scratch.images.hold("a", None).unwrap();
    assert_eq!(held.image, image);
    assert_eq!(scratch.images.snapshots().layers().unwrap().len(), 2);
    assert_eq!(scratch.images.list().unwrap()[0].size, 12 + 1 + 1);
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let scratch = scratch();
    let lease = scratch.images.store().lease().unwrap();
    let layer = lease.put(media_type::LAYER, &archive(&[("f", b"evil")])).unwrap();
    let rootfs = RootFs { diff_ids: vec![Digest::of(&archive(&[("f", b"good")]))], ..RootFs::default() };
    let configuration = ImageConfiguration { rootfs, ..ImageConfiguration::default() };
    let config = lease.put(media_type::IMAGE_CONFIG, &configuration.to_bytes()).unwrap();
    let manifest = ImageManifest::new(config, vec![layer]);
    let target = lease.put(media_type::IMAGE_MANIFEST, &serde_json::to_vec(&manifest).unwrap()).unwrap();
    scratch.images.store().tag(&name("a"), &target).unwrap();
    assert!(matches!(scratch.images.hold("a", None), Err(ImageError::Layers(_))));
    assert!(scratch.images.snapshots().layers().unwrap().is_empty());
}

#[test]
fn a_list_is_of_names_and_survives_what_is_broken() {
    let scratch = scratch();
    scratch.make_as(&["old"], &Recipe { layers: vec!["1", "2"], created: "2020-01-01T00:00:00Z", ..Recipe::default() });
    scratch.make_as(&["new", "new:2"], &Recipe { layers: vec!["3", "4"], ..Recipe::default() });
    let broken = scratch.make_as(&["broken"], &Recipe { layers: vec!["5", "6"], ..Recipe::default() });
    scratch.make(&Recipe { layers: vec!["7", "8"], created: "2019-01-01T00:00:00Z", ..Recipe::default() });
    let blobs = scratch.dir.path().join("images/blobs/sha256");
    std::fs::write(blobs.join(broken.id.hex()), "{").unwrap();
    let list = scratch.images.list().unwrap();
    let rows: Vec<String> = list
        .iter()
        .flat_map(crate::Summary::rows)
        .map(|row| format!("{}:{}", row.repository.unwrap_or("-".into()), row.tag.unwrap_or("-".into())))
        .collect();
    assert_eq!(rows, ["new:latest", "new:2", "old:latest", "-:-", "broken:latest"]);
    assert!(list[2].is_dangling() && !list[1].is_dangling());
    assert_eq!((list[3].platform.as_ref(), &list[3].id), (None, &broken.id));
    // It can still be removed.
    scratch.remove("broken", false).unwrap();
    std::fs::write(blobs.join(list[2].digest.hex()), "rot").unwrap();
    assert_eq!(scratch.images.list().unwrap().len(), 3);
    scratch.remove(list[2].digest.as_str(), false).unwrap();
    assert_eq!(scratch.images.list().unwrap().len(), 2);
}

#[test]
fn names_go_one_by_one_and_the_image_with_the_last() {
    let scratch = scratch();
    let image = scratch.make_as(&["a", "b"], &Recipe::default());
    drop(scratch.images.hold("a", None).unwrap());
    assert_eq!(scratch.remove("a", false).unwrap(), [Removed::Untagged(name("a"))]);
    assert_eq!(scratch.blobs(), 4);
    assert_eq!(scratch.remove("b", false).unwrap(), [Removed::Untagged(name("b")), Removed::Deleted(image.id)]);
    assert_eq!((scratch.blobs(), scratch.images.snapshots().layers().unwrap().len()), (0, 0));
    assert_eq!(std::fs::read_dir(scratch.dir.path().join("images/sizes")).unwrap().count(), 0);
    assert!(matches!(scratch.remove("b", false), Err(ImageError::NotFound { .. })));
}

#[test]
fn by_id_all_names_go_at_once_if_forced() {
    let scratch = scratch();
    let image = scratch.make_as(&["a", "b:2"], &Recipe::default());
    let error = scratch.remove(image.id.short(), false).unwrap_err();
    assert!(matches!(&error, ImageError::SeveralNames { names, .. } if names == &["a:latest", "b:2"]), "{error}");
    assert_eq!(scratch.remove(image.id.short(), true).unwrap().len(), 3);
    assert_eq!(scratch.blobs(), 0);
}

#[test]
fn by_id_an_image_goes_with_all_its_manifests_if_forced() {
    let scratch = scratch();
    let image = scratch.make_as(&["a"], &Recipe::default());
    let other = scratch.make_as(&["quay.io/b"], &Recipe { docker: true, ..Recipe::default() });
    assert!(image.id == other.id && image.target.digest != other.target.digest);
    scratch.remove(image.id.short(), true).unwrap();
    assert_eq!((scratch.names().len(), scratch.blobs()), (0, 0));
}

#[test]
fn with_the_last_tag_go_the_names_by_digest() {
    let scratch = scratch();
    let image = scratch.make_as(&["a", "quay.io/b"], &Recipe::default());
    for repository in ["a", "quay.io/b"] {
        let pinned = name(repository).with_digest(image.target.digest.clone());
        scratch.images.store().tag(&pinned, &image.target).unwrap();
    }
    assert_eq!(scratch.remove("a", false).unwrap().len(), 2);
    // One tag and its digest are one name to Docker.
    assert_eq!(scratch.remove(image.id.short(), false).unwrap().len(), 3);
}

#[test]
fn a_container_keeps_its_image() {
    let scratch = scratch();
    let image = scratch.make_as(&["a", "b"], &Recipe::default());
    // Another name is left.
    assert_eq!(scratch.remove_used("b", false, true).unwrap().len(), 1);
    for running in [false, true] {
        assert!(matches!(scratch.remove_used("a", false, running), Err(ImageError::InUse { .. })));
        assert!(matches!(scratch.remove_used(image.id.as_str(), false, running), Err(ImageError::InUse { .. })));
    }
    assert!(matches!(scratch.remove_used(image.id.as_str(), true, true), Err(ImageError::InUse { running: true, .. })));
    // By name and force, the name goes and the image stays.
    assert_eq!(scratch.remove_used("a", true, true).unwrap(), [Removed::Untagged(name("a"))]);
    assert!(scratch.images.list().unwrap()[0].is_dangling());
    assert_eq!(scratch.remove_used(image.id.as_str(), true, false).unwrap(), [Removed::Deleted(image.id)]);
}

#[test]
fn a_prune_takes_what_has_no_name_or_no_user() {
    let scratch = scratch();
    scratch.make(&Recipe { layers: vec!["dangling", "x"], ..Recipe::default() });
    let used = scratch.make_as(&["used"], &Recipe { layers: vec!["used", "x"], ..Recipe::default() });
    scratch.make_as(&["unused", "unused:2"], &Recipe { layers: vec!["unused", "x"], ..Recipe::default() });
    let in_use = |id: &Digest| (*id == used.id).then(|| InUse { container: "c1".into(), running: false });
    let pruned = scratch.images.prune(PruneOptions { all: false, in_use: &in_use }).unwrap();
    assert_eq!(pruned.removed.len(), 1);
    assert!(pruned.reclaimed > 0);
    assert_eq!(scratch.images.list().unwrap().len(), 2);
    let pruned = scratch.images.prune(PruneOptions { all: true, in_use: &in_use }).unwrap();
    assert_eq!(pruned.removed.len(), 3);
    assert_eq!(scratch.names().keys().collect::<Vec<_>>(), ["used:latest"]);
    assert_eq!(scratch.blobs(), 4);
}

#[test]
fn a_tag_is_one_more_name() {
    let scratch = scratch();
    let image = scratch.make_as(&["a"], &Recipe::default());
    scratch.images.tag(image.id.short(), &name("localhost:5000/b:1")).unwrap();
    assert_eq!(scratch.images.resolve("localhost:5000/b:1").unwrap().id, image.id);
    let digest = name("a").with_digest(image.id.clone());
    assert!(matches!(scratch.images.tag("a", &digest), Err(ImageError::TagWithDigest { .. })));
    assert!(matches!(scratch.images.tag("c", &name("d")), Err(ImageError::NotFound { .. })));
    assert_eq!(
        scratch.images.resolve("a").unwrap().repository_digests(),
        [format!("a@{}", image.target.digest), format!("localhost:5000/b@{}", image.target.digest)]
    );
}

#[test]
fn history_and_inspect_are_dockers() {
    let scratch = scratch();
    let image = scratch.make_as(&["a"], &Recipe::default());
    drop(scratch.images.hold("a", None).unwrap());
    let steps = scratch.images.history("a").unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.created_by.as_str(), step.size, step.id.is_some())).collect();
    assert_eq!(told, [("ADD two", 3, true), ("ENV A=b", 0, false), ("ADD one", 3, false)]);
    assert_eq!(steps[0].tags, ["a:latest"]);
    let shown = scratch.images.inspect("a", None).unwrap();
    assert_eq!(shown["Id"], image.id.as_str());
    assert_eq!(shown["RepoTags"][0], "a:latest");
    assert_eq!(shown["Config"]["Env"][0], "A=b");
    assert_eq!(shown["Config"]["Entrypoint"], serde_json::Value::Null);
    assert_eq!(shown["RootFS"]["Layers"][1], image.diff_ids()[1].as_str());
    assert_eq!(shown["Size"], 6);
}
