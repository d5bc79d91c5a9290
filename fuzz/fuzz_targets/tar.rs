//! Any bytes as a layer: the parser ends, nothing is made beside the root, and what was made can be archived again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onggi_fs::Root;
use onggi_layer::overlay::Namespace;
use onggi_layer::tar::{Limits, Reader};
use onggi_layer::{Form, Options, Owner, WriteOptions, apply, write_tar};

/// Small, so that a lucky number does not fill the disk with holes.
const LIMITS: Limits = Limits { header: 1 << 16, path: 4096, xattr: 4096, entries: 2000, file: 1 << 20 };

/// With checksums that hold, damage gets past the first check.
fn mend(data: &mut [u8]) {
    for block in data.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}

fuzz_target!(|input: &[u8]| {
    let mut data = input.to_vec();
    if input.first().is_some_and(|byte| byte % 8 != 7) {
        mend(&mut data);
    }
    let data = data.as_slice();
    let mut reader = Reader::new(data, LIMITS);
    while let Ok(Some(_)) = reader.next_entry() {}

    let scratch = tempfile::tempdir().expect("a scratch directory can be made");
    let path = scratch.path().join("root");
    std::fs::create_dir(&path).expect("the scratch directory is empty");
    let root = Root::open(&path).expect("it was just made");
    let mut options = Options::new("fuzz", Namespace::User);
    options.owner = Owner::Caller;
    options.limits = LIMITS;
    let applied = apply(data, &root, &options);
    let beside = std::fs::read_dir(scratch.path()).expect("it is still there").count();
    assert_eq!(beside, 1, "something was made beside the root");
    if applied.is_ok() {
        let form = WriteOptions::new(Form::Upper(Namespace::User));
        let archive = write_tar(&root, Vec::new(), &form).expect("what was unpacked can be archived");
        let again = scratch.path().join("again");
        std::fs::create_dir(&again).expect("the name is free");
        apply(archive.as_slice(), &Root::open(&again).expect("it was just made"), &options)
            .expect("what we write we read");
    }
});
