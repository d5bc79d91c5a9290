use super::*;
use crate::StoreError;

fn names(store: &Store) -> Vec<String> {
    let entries = store.list().unwrap();
    entries.iter().map(|entry| entry.name.as_ref().map_or("-".into(), |name| name.familiar())).collect()
}

#[test]
fn a_name_that_moves_leaves_the_old_image_without_one() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (old, new) = (image(&lease, b"old").0, image(&lease, b"new").0);
    store.tag(&name("a"), &old).unwrap();
    store.tag(&name("a"), &old).unwrap();
    assert_eq!(names(&store), ["a:latest"]);
    store.tag(&name("a"), &new).unwrap();
    assert_eq!(names(&store), ["a:latest", "-"]);
    assert_eq!(store.resolve(&name("a:latest")).unwrap(), Some(new.clone()));
    store.tag(&name("b:1"), &old).unwrap();
    assert_eq!(names(&store), ["a:latest", "b:1"]);
    // An image with another name does not need a nameless place.
    store.tag(&name("c"), &old).unwrap();
    store.tag(&name("c"), &new).unwrap();
    assert_eq!(names(&store), ["a:latest", "b:1", "c:latest"]);
    assert_eq!(store.untag(&name("b:1")).unwrap(), Some(old));
    assert_eq!(store.untag(&name("b:1")).unwrap(), None);
    assert_eq!(store.edit_names(|names| Ok::<_, StoreError>(names.forget(&new.digest))).unwrap().len(), 2);
    assert!(names(&store).is_empty());
}

#[test]
fn a_digest_in_a_name_must_be_the_images() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (one, other) = (image(&lease, b"1").0, image(&lease, b"2").0);
    store.tag(&name("a:1"), &one).unwrap();
    assert!(store.resolve(&name("a").with_digest(one.digest.clone())).unwrap().is_some());
    assert!(store.resolve(&name(&format!("a:1@{}", one.digest))).unwrap().is_some());
    assert!(store.resolve(&name("a").with_digest(other.digest)).unwrap().is_none());
    assert!(store.resolve(&name("b").with_digest(one.digest)).unwrap().is_none());
}

#[test]
fn what_is_not_there_gets_no_name() {
    let (_dir, store) = scratch();
    let missing = Descriptor::of(media_type::IMAGE_MANIFEST, b"missing");
    assert!(matches!(store.tag(&name("a"), &missing), Err(StoreError::NoBlob { .. })));
    assert!(matches!(store.hold(&missing), Err(StoreError::NoBlob { .. })));
    assert!(names(&store).is_empty());
}

#[test]
fn entries_of_other_tools_stay_as_they_are() {
    let (dir, store) = scratch();
    let lease = store.lease().unwrap();
    let image = image(&lease, b"x").0;
    let index = dir.path().join("images/index.json");
    let theirs = serde_json::json!({"schemaVersion": 2, "annotations": {"x": "y"}, "manifests": [
        {"mediaType": media_type::IMAGE_MANIFEST, "digest": image.digest, "size": image.size,
         "annotations": {"org.opencontainers.image.ref.name": "Not One Of Ours", "z": "1"}},
        {"mediaType": media_type::IMAGE_MANIFEST, "digest": image.digest, "size": image.size,
         "annotations": {"org.opencontainers.image.ref.name": "alpine"}}]});
    std::fs::write(&index, theirs.to_string()).unwrap();
    assert_eq!(names(&store), ["-", "alpine:latest"]);
    store.tag(&name("b"), &image).unwrap();
    let now: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    assert_eq!((&now["manifests"][0], &now["manifests"][1]), (&theirs["manifests"][0], &theirs["manifests"][1]));
    assert_eq!(now["annotations"], theirs["annotations"]);
    assert_eq!(names(&store), ["-", "alpine:latest", "b:latest"]);
}

#[test]
fn a_layout_of_another_kind_is_refused() {
    let (dir, _) = scratch();
    let path = dir.path().join("images");
    for (text, version) in [(r#"{"imageLayoutVersion":"9.0.0"}"#, true), ("{", false)] {
        std::fs::write(path.join("oci-layout"), text).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert_eq!(matches!(error, StoreError::Version { .. }), version, "{error}");
    }
    std::fs::remove_file(path.join("oci-layout")).unwrap();
    Store::open(&path).unwrap();
}

#[test]
fn what_docker_made_is_entered_by_way_of_an_index() {
    let (dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (_, manifest) = image(&lease, b"docker");
    let manifest = ImageManifest { media_type: Some(media_type::DOCKER_MANIFEST.into()), ..manifest };
    let image = lease.put(media_type::DOCKER_MANIFEST, &serde_json::to_vec(&manifest).unwrap()).unwrap();
    let list = ImageIndex { media_type: Some(media_type::DOCKER_INDEX.into()), ..ImageIndex::new(vec![image.clone()]) };
    let list = lease.put(media_type::DOCKER_INDEX, &serde_json::to_vec(&list).unwrap()).unwrap();
    store.tag(&name("image"), &image).unwrap();
    store.tag(&name("list"), &list).unwrap();
    let text = std::fs::read(dir.path().join("images/index.json")).unwrap();
    let index: ImageIndex = serde_json::from_slice(&text).unwrap();
    assert!(index.manifests.iter().all(|entry| entry.media_type == media_type::IMAGE_INDEX));
    // We see what was put in, and nothing of the way there.
    assert_eq!(store.resolve(&name("image")).unwrap(), Some(image.clone()));
    assert_eq!(store.resolve(&name("list")).unwrap(), Some(list.clone()));
    store.tag(&name("image"), &list).unwrap();
    assert_eq!(names(&store), ["list:latest", "image:latest", "-"]);
    drop(lease);
    collect(&store);
    assert_eq!(store.resolve(&name("list")).unwrap(), Some(list.clone()));
    assert_eq!(store.edit_names(|names| Ok::<_, StoreError>(names.forget(&list.digest))).unwrap().len(), 2);
    assert_eq!(store.list().unwrap(), [crate::Entry { name: None, descriptor: image.clone() }]);
    store.edit_names(|names| Ok::<_, StoreError>(names.forget(&image.digest))).unwrap();
    collect(&store);
    assert!(store.blobs().unwrap().is_empty());
}
