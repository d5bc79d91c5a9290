use std::io::Read;
use std::time::Duration;

use onggi_oci::{Digest, VerifyError};

use super::*;
use crate::{Begun, Ingest, StoreError};

fn described(content: &[u8]) -> Descriptor {
    Descriptor::of(media_type::LAYER, content)
}

fn begin(lease: &Lease<'_>, descriptor: &Descriptor) -> Ingest {
    match lease.ingest(descriptor).unwrap() {
        Begun::Ingest(ingest) => ingest,
        other => panic!("{other:?}"),
    }
}

fn partials(store: &Store) -> usize {
    onggi_sys::file::entries(store.subdir("ingest").unwrap()).unwrap().len()
}

#[test]
fn what_comes_whole_is_there() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let descriptor = described(b"content");
    let mut ingest = begin(&lease, &descriptor);
    ingest.append(b"con").unwrap();
    ingest.append(b"tent").unwrap();
    assert!(!store.has(&descriptor.digest).unwrap());
    ingest.commit().unwrap();
    assert_eq!(store.read_blob(&descriptor.digest, 100).unwrap(), b"content");
    assert!(matches!(lease.ingest(&descriptor).unwrap(), Begun::Present));
    assert_eq!(partials(&store), 0);
    let mut text = String::new();
    store.open_described(&descriptor).unwrap().verified().read_to_string(&mut text).unwrap();
    assert_eq!(text, "content");
}

#[test]
fn what_is_not_as_promised_gets_no_name() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let descriptor = described(b"content");
    let send = |bytes: &[u8]| {
        let mut ingest = begin(&lease, &descriptor);
        ingest.append(bytes).and_then(|()| ingest.commit())
    };
    for (bytes, message, left) in [
        (&b"CONTENT"[..], "it hashes to", 0),
        (b"content and more", "longer than the 7 bytes", 0),
        (b"cont", "ends after 4 bytes of 7", 1),
    ] {
        let error = send(bytes).unwrap_err();
        assert!(
            error.to_string().contains(message) && error.to_string().contains(descriptor.digest.as_str()),
            "{error}"
        );
        assert!(!store.has(&descriptor.digest).unwrap());
        assert_eq!(partials(&store), left, "{message}");
    }
}

#[test]
fn a_download_continues_where_it_ended() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let descriptor = described(b"content");
    begin(&lease, &descriptor).append(b"cont").unwrap();
    let mut second = begin(&lease, &descriptor);
    assert!((second.offset(), second.resumed()) == (4, true));
    second.append(b"ent").unwrap();
    second.commit().unwrap();
    assert!(store.has(&descriptor.digest).unwrap());

    let rotten = described(b"other content");
    begin(&lease, &rotten).append(b"rotten").unwrap();
    let mut again = begin(&lease, &rotten);
    again.append(b"content").unwrap();
    assert!(matches!(again.commit(), Err(StoreError::Verify(VerifyError::Mismatch { .. }))));
    // The rotten part is gone, and the next attempt is from the beginning.
    let mut fresh = begin(&lease, &rotten);
    assert_eq!(fresh.offset(), 0);
    fresh.append(b"other").unwrap();
    fresh.restart(&rotten).unwrap();
    fresh.append(b"other content").unwrap();
    fresh.commit().unwrap();
}

#[test]
fn what_brought_nothing_leaves_nothing() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    drop(begin(&lease, &described(b"content")));
    assert_eq!(partials(&store), 0);
}

#[test]
fn a_descriptor_of_another_size_is_refused_by_what_is_there() {
    let (dir, store) = scratch();
    let lease = store.lease().unwrap();
    let sound = lease.put(media_type::LAYER, b"content").unwrap();
    for size in [0, 6, 8, u64::MAX] {
        let lying = Descriptor { size, ..sound.clone() };
        assert!(matches!(lease.keep(&lying), Err(StoreError::Verify(_))), "{size}");
        assert!(matches!(lease.ingest(&lying), Err(StoreError::Verify(_))), "{size}");
    }
    // A blob that was cut short says nothing of the descriptor, and is received anew.
    std::fs::write(dir.path().join("images/blobs/sha256").join(sound.digest.hex()), b"cont").unwrap();
    assert!(!lease.keep(&sound).unwrap());
    lease.put_as(&sound, b"content").unwrap();
    assert!(lease.keep(&sound).unwrap());
}

#[test]
fn one_writer_at_a_time_unless_apart() {
    let (_dir, store) = scratch();
    let (lease, other) = (store.lease().unwrap(), store.lease().unwrap());
    let descriptor = described(b"content");
    let mut stuck = begin(&lease, &descriptor);
    stuck.append(b"con").unwrap();
    assert!(matches!(other.ingest(&descriptor).unwrap(), Begun::Busy));
    other.put_described(&descriptor, &b"content"[..], Duration::from_millis(20)).unwrap();
    assert!(store.has(&descriptor.digest).unwrap());
    stuck.append(b"tent").unwrap();
    stuck.commit().unwrap();
    assert_eq!(partials(&store), 0);
}

#[test]
fn a_stream_is_named_by_what_it_holds() {
    let (_dir, store) = scratch();
    let lease = store.lease().unwrap();
    let content = vec![7; 300_000];
    let descriptor = lease.put_stream(media_type::LAYER, &content[..]).unwrap();
    assert_eq!((descriptor.digest.clone(), descriptor.size), (Digest::of(&content), 300_000));
    assert_eq!(store.size_of(&descriptor.digest).unwrap(), Some(300_000));
    assert_eq!(store.blobs().unwrap(), [(descriptor.digest, 300_000)]);
}

#[test]
fn a_blob_that_rotted_is_noticed() {
    let (dir, store) = scratch();
    let lease = store.lease().unwrap();
    let descriptor = lease.put(media_type::IMAGE_CONFIG, b"{}").unwrap();
    let path = dir.path().join("images/blobs/sha256").join(descriptor.digest.hex());
    std::fs::write(&path, b"[]").unwrap();
    assert!(matches!(store.read_blob(&descriptor.digest, 100), Err(StoreError::Verify(VerifyError::Mismatch { .. }))));
    assert!(matches!(store.read_blob(&descriptor.digest, 1), Err(StoreError::TooLarge { .. })));
    std::fs::write(&path, b"[").unwrap();
    assert!(matches!(store.open_described(&descriptor), Err(StoreError::Verify(VerifyError::TooShort { .. }))));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(store.read_blob(&descriptor.digest, 100), Err(StoreError::NoBlob { .. })));
}

#[test]
fn many_at_once_agree() {
    let (dir, _) = scratch();
    let contents: Vec<Vec<u8>> = (0..8).map(|i| vec![i; 50_000 + usize::from(i)]).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(dir.path().join("images")).unwrap();
                let lease = store.lease().unwrap();
                for content in &contents {
                    lease.put_described(&described(content), &content[..], Duration::from_secs(10)).unwrap();
                    store.tag(&name(&format!("n{}", content[0])), &described(content)).unwrap();
                }
            });
        }
    });
    let store = Store::open(dir.path().join("images")).unwrap();
    assert_eq!(store.list().unwrap().len(), 8);
    assert_eq!(store.blobs().unwrap().len(), 8);
    assert_eq!(partials(&store), 0);
}
