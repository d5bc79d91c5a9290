//! What a pull that did not end leaves to the next, and what mirrors are good for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use onggi_diag::{Diagnose, Kind};
use onggi_image::{Phase, PullOptions};
use onggi_registry::{Client, Config, Registries};
use onggi_testkit::Reply;

use crate::made::{Content, name};
use crate::{Scratch, Watch, client, quick, read_layer, told};

#[test]
fn the_next_pull_continues_a_layer() {
    let broken = Arc::new(AtomicBool::new(true));
    let breaks = Arc::clone(&broken);
    let server = Content::usual().serve_but(move |content, seen| {
        let blob = &content.blobs[content.layers[1].digest.as_str()];
        let fails = breaks.load(Ordering::SeqCst) && content.is_layer(seen, 1);
        fails.then(|| match seen.header("range") {
            None => Reply::new(200, &blob[..200_000]).length(u64::try_from(blob.len()).ok()),
            Some(_) => Reply::new(500, "on fire"),
        })
    });
    let scratch = Scratch::new();
    let error = scratch.pull(&name(&server)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", told(&error));
    assert_eq!(scratch.images.store().list().unwrap(), []);
    assert_eq!(scratch.entries("images/ingest").len(), 1);

    broken.store(false, Ordering::SeqCst);
    let before = server.seen().len();
    let watch = Watch::default();
    let pulled = scratch.images.pull(&client(), &name(&server), &PullOptions::default(), &watch).unwrap();
    let ranges: Vec<_> = server.seen()[before..].iter().filter_map(|s| s.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["bytes=200000-"]);
    assert_eq!(read_layer(&scratch, &pulled.image.diff_ids()[1], "two").len(), 300_000);
    assert_eq!(scratch.entries("images/ingest"), [""; 0]);
    assert!(watch.last().contains(&Phase::Pulled), "{:?}", watch.last());
}

#[test]
fn a_partial_download_that_was_wrong_is_begun_anew() {
    let content = Content::usual();
    let digest = content.layers[1].digest.clone();
    let server = content.serve();
    let scratch = Scratch::new();
    let partial = scratch.path("images/ingest").join(format!("sha256-{}", digest.hex()));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(partial, vec![b'x'; 1000]).unwrap();
    let pulled = scratch.pull(&name(&server)).unwrap();
    assert_eq!(read_layer(&scratch, &pulled.image.diff_ids()[1], "two").len(), 300_000);
}

#[test]
fn a_mirror_that_sends_other_layers_is_passed_over() {
    let wrong = Content::usual().serve_but(|content, seen| {
        let blob = content.blobs.get(seen.path().rsplit('/').next().unwrap_or_default())?;
        Some(Reply::new(200, vec![b'x'; blob.len()]))
    });
    let registry = Content::usual().serve();
    let text = format!("[registry.'{}']\nmirrors = ['http://{}']", registry.host(), wrong.host());
    let registries = Registries::parse(&text).unwrap();
    let client = Client::new(Config { registries, patience: quick(), ..Config::default() });
    let scratch = Scratch::new();
    let watch = Watch::default();
    let pulled = scratch.images.pull(&client, &name(&registry), &PullOptions::default(), &watch).unwrap();
    assert_eq!(read_layer(&scratch, &pulled.image.diff_ids()[0], "one"), "1");
    assert!(watch.phases.lock().unwrap().iter().any(|(_, phase)| *phase == Phase::Retrying));
    // The name is the registry's, whoever served.
    assert_eq!(pulled.image.names, [name(&registry)]);
}

#[test]
fn two_pulls_at_once_get_the_same_image() {
    let server = Content::usual().serve();
    let scratch = Scratch::new();
    let other = onggi_image::Images::open(scratch.path("images"), scratch.path("layers")).unwrap();
    std::thread::scope(|scope| {
        let one = scope.spawn(|| scratch.pull(&name(&server)).unwrap().target);
        let two = scope.spawn(|| other.pull(&client(), &name(&server), &PullOptions::default(), &()).unwrap().target);
        assert_eq!(one.join().unwrap(), two.join().unwrap());
    });
    assert_eq!(scratch.entries("images/ingest"), [""; 0]);
    assert_eq!(scratch.entries("layers/diff").len(), 3);
}

#[test]
fn without_unpacking_only_content_comes_and_a_later_pull_unpacks_it() {
    let server = Content::usual().serve();
    let scratch = Scratch::new();
    let options = PullOptions { unpack: false, ..PullOptions::default() };
    scratch.images.pull(&client(), &name(&server), &options, &()).unwrap();
    assert_eq!(scratch.entries("layers/diff"), [""; 0]);
    let pulled = scratch.pull(&name(&server)).unwrap();
    assert!(pulled.up_to_date);
    assert_eq!(scratch.entries("layers/diff").len(), 3);
}
