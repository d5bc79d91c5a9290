//! Any tree survives being written and unpacked; any bytes end in a tree or an error.

mod support;

use std::collections::BTreeMap;

use onggi_fs::Root;
use onggi_layer::tar::{Entry, Kind, Limits, Reader, Time, Xattrs};
use onggi_layer::{Form, WriteOptions, apply, write_tar};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::{Archive, entry, is_root, options, tree, unpack};

/// A tree: names to nodes.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Link(Vec<u8>),
    Fifo,
    Dir(BTreeMap<Vec<u8>, (Node, Attributes)>),
}

#[derive(Debug, Clone)]
struct Attributes {
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    xattrs: Xattrs,
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let ids = prop_oneof![0..70_000u32, 2_000_000..4_000_000_000u32];
    let xattr = ("user\\.[a-z]{1,8}".prop_map(String::into_bytes), vec(any::<u8>(), 0..40));
    let seconds = -2_000_000_000..15_000_000_000i64;
    (0..0o10000u32, (ids.clone(), ids), (seconds, 0..1_000_000_000u32), vec(xattr, 0..2)).prop_map(
        |(mode, owner, (seconds, nanoseconds), xattrs)| {
            let (mode, owner) = if is_root() { (mode, owner) } else { (mode & 0o777 | 0o600, (0, 0)) };
            Attributes { mode, owner, mtime: Time { seconds, nanoseconds }, xattrs }
        },
    )
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = vec(1..=255u8, 1..30).prop_map(|mut bytes| {
        bytes.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
        bytes
    });
    let name =
        prop_oneof![odd, "[a-c]{1,2}".prop_map(String::into_bytes), "[a-z]{120,250}".prop_map(String::into_bytes)];
    name.prop_filter("means something else", |name| name != b"." && name != b".." && !name.starts_with(b".wh."))
}

fn node() -> impl Strategy<Value = Node> {
    let target = vec(1..=255u8, 1..150);
    let leaf =
        prop_oneof![vec(any::<u8>(), 0..2000).prop_map(Node::File), target.prop_map(Node::Link), Just(Node::Fifo)];
    leaf.prop_recursive(4, 40, 6, |inner| btree_map(name(), (inner, attributes()), 0..6).prop_map(Node::Dir))
}

/// Unpacks entries that make `node` at `path`.
fn add(archive: Archive, path: &[u8], node: &Node, attributes: &Attributes) -> Archive {
    let (kind, data) = match node {
        Node::File(data) => (Kind::File, data.as_slice()),
        Node::Link(target) => (Kind::Symlink(target.clone()), &[][..]),
        Node::Fifo => (Kind::Fifo, &[][..]),
        Node::Dir(_) => (Kind::Directory, &[][..]),
    };
    // Links and fifos cannot have user attributes.
    let xattrs = match node {
        Node::File(_) | Node::Dir(_) => attributes.xattrs.clone(),
        Node::Link(_) | Node::Fifo => Vec::new(),
    };
    let (uid, gid) = attributes.owner;
    let made = Entry { mode: attributes.mode, uid, gid, mtime: attributes.mtime, xattrs, ..entry(path, kind) };
    let mut archive = archive.add(&made, data);
    if let Node::Dir(children) = node {
        for (name, (child, attributes)) in children {
            archive = add(archive, &[path, b"/", name].concat(), child, attributes);
        }
    }
    archive
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_survives(node in btree_map(name(), (node(), attributes()), 1..6).prop_map(Node::Dir)) {
        let root = Attributes { mode: 0o755, owner: (0, 0), mtime: Time::default(), xattrs: Vec::new() };
        let first = unpack(&add(Archive::new(), b".", &node, &root).finish());
        first.result.as_ref().unwrap();
        let options_of = WriteOptions { root: true, ..WriteOptions::new(Form::Tree) };
        let archive = write_tar(&Root::open(first.path("")).unwrap(), Vec::new(), &options_of).unwrap();
        let second = unpack(&archive);
        second.result.as_ref().unwrap();
        prop_assert_eq!(tree(&first.path("")), tree(&second.path("")));
        let again = write_tar(&Root::open(second.path("")).unwrap(), Vec::new(), &options_of).unwrap();
        prop_assert_eq!(archive, again);
    }

    #[test]
    fn damaged_archives_end(flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut archive = Archive::new().dir("d").file("d/f", "data").symlink("d/l", "f").link("h", "d/f").file(".wh.x", "");
        archive = archive.file(&"long/".repeat(40), "x");
        let mut bytes = archive.finish();
        for (index, value) in flips {
            let position = index.index(bytes.len());
            bytes[position] = value;
            let block = position / 512 * 512;
            // With the checksum mended, the damage gets further.
            let sum: u32 = bytes[block..block + 512].iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u32::from(byte) }).sum();
            if bytes[block + 257..].starts_with(b"ustar") {
                bytes[block + 148..block + 155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let unpacked = unpack(&bytes);
        drop(unpacked);
    }

    #[test]
    fn any_bytes_end(bytes in vec(any::<u8>(), 0..4096)) {
        let mut reader = Reader::new(bytes.as_slice(), Limits::default());
        while let Ok(Some(_)) = reader.next_entry() {}
        let dir = tempfile::tempdir().unwrap();
        drop(apply(bytes.as_slice(), &Root::open(dir.path()).unwrap(), &options()));
    }
}
