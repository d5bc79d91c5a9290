//! A pull beside commands that remove.

use std::sync::atomic::{AtomicBool, Ordering};

use onggi_image::{Images, PruneOptions};

use crate::Scratch;
use crate::made::{Content, name};

#[test]
fn a_prune_takes_nothing_of_a_pull() {
    let server = Content::usual().serve();
    let scratch = Scratch::new();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let other = Images::open(scratch.dir.path().join("images"), scratch.dir.path().join("layers")).unwrap();
            while !over.load(Ordering::SeqCst) {
                other.prune(PruneOptions { all: true, in_use: &|_| None }).unwrap();
            }
        });
        let pulls: Vec<_> = (0..20).map(|_| scratch.pull(&name(&server)).map(drop)).collect();
        over.store(true, Ordering::SeqCst);
        for pull in pulls {
            pull.unwrap();
        }
    });
    scratch.assert_no_leftovers();
}
