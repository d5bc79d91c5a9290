use super::*;
use crate::{Begun, StoreError};

#[test]
fn what_names_lead_to_stays() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (kept, manifest) = image(&lease, b"kept");
    let (loose, _) = image(&lease, b"loose");
    store.tag(&name("kept"), &kept).unwrap();
    drop(lease);
    assert_eq!(collect(&store), 3);
    for blob in manifest.blobs().chain([&kept]) {
        assert!(store.has(&blob.digest).unwrap());
    }
    assert!(!store.has(&loose.digest).unwrap());
    store.untag(&name("kept")).unwrap();
    assert_eq!(collect(&store), 3);
    assert!(store.blobs().unwrap().is_empty());
}

#[test]
fn an_index_keeps_what_it_has_of_its_platforms() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (here, _) = image(&lease, b"here");
    let elsewhere = Descriptor::of(media_type::IMAGE_MANIFEST, b"never pulled");
    let inner = index(&lease, vec![here]);
    let outer = index(&lease, vec![elsewhere, inner]);
    store.tag(&name("many"), &outer).unwrap();
    drop(lease);
    assert_eq!(collect(&store), 0);
    store.untag(&name("many")).unwrap();
    assert_eq!(collect(&store), 5);
}

#[test]
fn a_subject_is_kept_by_what_speaks_of_it() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (subject, _) = image(&lease, b"subject");
    let (_, mut manifest) = image(&lease, b"signature");
    manifest.subject = Some(subject.clone());
    let referrer = lease.put(media_type::IMAGE_MANIFEST, &serde_json::to_vec(&manifest).unwrap()).unwrap();
    store.hold(&referrer).unwrap();
    drop(lease);
    collect(&store);
    assert!(store.has(&subject.digest).unwrap());
}

#[test]
fn a_lease_keeps_until_it_ends() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (manifest, _) = image(&lease, b"x");
    assert_eq!(collect(&store), 0);
    let second = store.lease().unwrap();
    assert!(second.keep(&manifest).unwrap());
    drop(lease);
    assert_eq!(collect(&store), 0, "the manifest leads to the rest");
    drop(second);
    assert_eq!(collect(&store), 3);
    assert!(!store.lease().unwrap().keep(&manifest).unwrap());
}

#[test]
fn the_dead_keep_nothing() {
    let (dir, store) = scratch();
    let lease = store.lease().unwrap();
    image(&lease, b"x");
    // Forgotten as by kill -9: the file stays, the lock goes with the descriptor.
    let leases = dir.path().join("images/leases");
    let left = std::fs::read_dir(&leases).unwrap().next().unwrap().unwrap().path();
    let copy = leases.join("999999-0");
    std::fs::copy(&left, &copy).unwrap();
    drop(lease);
    assert_eq!(collect(&store), 3);
    assert!(!copy.exists());
}

#[test]
fn downloads_under_way_and_young_ones_stay() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let descriptor = Descriptor::of(media_type::LAYER, b"content");
    let Begun::Ingest(mut ingest) = lease.ingest(&descriptor).unwrap() else { panic!() };
    ingest.append(b"con").unwrap();
    assert_eq!(collect_all(&store), 0, "its writer lives");
    drop((ingest, lease));
    assert_eq!(collect(&store), 0, "it may be continued");
    assert_eq!(collect_all(&store), 1);
}

#[test]
fn nothing_is_removed_when_a_manifest_cannot_be_read() {
    let (dir, store) = scratch();
    let lease = store.lease().unwrap();
    let (manifest, _) = image(&lease, b"x");
    store.tag(&name("x"), &manifest).unwrap();
    drop(lease);
    std::fs::write(dir.path().join("images/blobs/sha256").join(manifest.digest.hex()), b"rot").unwrap();
    assert!(matches!(store.collect(&CollectOptions::default()), Err(StoreError::Verify(_))));
    assert_eq!(store.blobs().unwrap().len(), 3);
}

#[test]
fn collecting_beside_writers_takes_nothing_of_theirs() {
    let (dir, _) = scratch();
    let open = || Store::open(dir.path().join("images")).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u8)
            .map(|writer| {
                scope.spawn(move || {
                    for round in 0..8_u8 {
                        let store = open();
                        let lease = store.lease().unwrap();
                        let (manifest, parts) = image(&lease, &[writer, round % 4]);
                        store.tag(&name(&format!("w{writer}-{round}")), &manifest).unwrap();
                        drop(lease);
                        parts.blobs().for_each(|blob| assert!(store.has(&blob.digest).unwrap()));
                        store.untag(&name(&format!("w{writer}-{round}"))).unwrap();
                    }
                })
            })
            .collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            open().collect(&CollectOptions { give_up_after: Duration::ZERO }).unwrap();
        }
    });
    collect_all(&open());
    assert!(open().blobs().unwrap().is_empty());
}
