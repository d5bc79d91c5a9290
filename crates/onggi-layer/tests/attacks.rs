//! Layers made to do harm. The numbers are those of the attack table, group D.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use onggi_diag::{Diagnose, Kind as Fault};
use onggi_fs::Root;
use onggi_layer::compression::{self, Compression, Encoder, Limits};
use onggi_layer::tar::{Entry, Kind};
use onggi_layer::{Error, Options, Unpacked as Whole};
use onggi_oci::Digest;
use support::{Archive, VICTIM, entry, is_root, options, unpack};

/// D01: names that climb out are refused; absolute ones mean the root of the layer.
#[test]
fn names_that_leave_the_root() {
    for name in ["../victim/passwd", "a/../../victim/passwd", "..", "../", "a/b/../../../x", "/../victim/x", "./../x"] {
        let unpacked = unpack(&Archive::new().file(name, "evil").finish());
        let error = unpacked.result.as_ref().unwrap_err();
        assert!(matches!(error, Error::Name { hostile: true, .. }), "{name}: {error}");
        assert_eq!(error.kind(), Fault::Hostile);
    }
    let unpacked =
        unpack(&Archive::new().file("/etc/passwd", "ours").file("//a///b", "b").file("c/../d", "d").finish());
    unpacked.result.as_ref().unwrap();
    assert_eq!(["etc/passwd", "a/b", "d"].map(|path| unpacked.read(path)), ["ours", "b", "d"]);
}

/// D02: a link, then a file through it.
#[test]
fn files_through_links_that_leave_the_root() {
    let outside = fs::canonicalize(tempfile::tempdir().unwrap().path().parent().unwrap()).unwrap();
    for target in [VICTIM, "/victim", outside.to_str().unwrap(), "/proc/self/root", "/proc/self/cwd", "link", "."] {
        for through in ["link/passwd", "link/new/passwd", "link/.wh.passwd", "link/.wh..wh..opq"] {
            let unpacked = unpack(&Archive::new().symlink("link", target).file(through, "evil").finish());
            match &unpacked.result {
                // `.` is the root itself, which is a place like any other.
                Ok(_) => assert_eq!(target, ".", "{through}"),
                Err(error) => assert!(matches!(error, Error::Entry { .. }), "{target} {through}: {error}"),
            }
        }
    }
    // Two links that only together lead out.
    let archive =
        Archive::new().dir("a").symlink("a/up", "..").symlink("out", "a/up/../victim").file("out/passwd", "evil");
    assert!(unpack(&archive.finish()).result.is_err());
}

/// The other side of D02: links inside the layer are followed, absolute ones from its root.
#[test]
fn files_through_links_that_stay() {
    let archive = Archive::new().dir("usr").dir("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr/lib");
    let archive = archive.symlink("usr/up", "../../../usr").file("lib/a", "1").file("abs/deep/b", "2");
    let archive = archive.file("usr/up/c", "3").link("abs/d", "lib/a").file("lib/a2", "").file("abs/.wh.gone", "");
    let unpacked = unpack(&archive.finish());
    let applied = unpacked.result.as_ref().unwrap();
    assert_eq!(
        ["usr/lib/a", "usr/lib/deep/b", "usr/c", "usr/lib/d"].map(|path| unpacked.read(path)),
        ["1", "2", "3", "1"]
    );
    assert!(unpacked.exists("usr/lib/.wh.gone") || unpacked.exists("usr/lib/gone"));
    assert_eq!(applied.finish.implicit, [std::path::PathBuf::from("usr/lib/deep")]);
}

/// D03: hard links to what is not the layer's.
#[test]
fn hard_links_that_leave_the_root() {
    for target in ["../victim/passwd", "/../victim/passwd", "..", "", "/", ".wh.x", "a/.wh..wh..opq"] {
        let unpacked = unpack(&Archive::new().link("mine", target).file("mine", "truncated").finish());
        assert!(unpacked.result.is_err(), "{target}");
    }
    // An absolute name that exists on this machine is a name in the layers below, and not found here.
    let unpacked = unpack(&Archive::new().link("mine", "/etc/passwd").finish());
    let applied = unpacked.result.as_ref().unwrap();
    assert!(!unpacked.exists("mine"));
    assert_eq!(applied.finish.links.len(), 1);
    // A link to a link is a link, not what it points to.
    let archive = Archive::new().symlink("link", "../victim/passwd").link("mine", "link").file("mine", "replaced");
    let unpacked = unpack(&archive.finish());
    unpacked.result.as_ref().unwrap();
    assert_eq!(unpacked.read("mine"), "replaced");
    // Through a link that leaves.
    let archive = Archive::new().symlink("out", VICTIM).link("mine", "out/passwd").file("mine", "truncated");
    let unpacked = unpack(&archive.finish());
    assert_eq!(unpacked.read("mine"), "truncated");
    // To a directory.
    assert!(unpack(&Archive::new().dir("d").link("mine", "d").finish()).result.is_err());
}

/// D04: whiteouts are made, never executed, and odd ones are refused.
#[test]
fn whiteouts_delete_nothing() {
    for name in [".wh.", "d/.wh.", ".wh..", ".wh...", "d/.wh.../x", ".wh..wh.x", "d/.wh..wh..wh.x", ".wh.a/b"] {
        assert!(unpack(&Archive::new().file(name, "").finish()).result.is_err(), "{name}");
    }
    for name in [".wh..wh..opq", ".wh.x", "d/.wh..wh..opq"] {
        for kind in [Kind::Directory, Kind::Symlink("x".into()), Kind::Fifo, Kind::CharDevice(1, 3)] {
            assert!(unpack(&Archive::new().add(&entry(name, kind), b"").finish()).result.is_err(), "{name}");
        }
    }
    let archive = Archive::new().dir("d").symlink("d/link", VICTIM).file("d/.wh.link", "").file("d/.wh.other", "");
    let unpacked = unpack(&archive.finish());
    unpacked.result.as_ref().unwrap();
    // What the layer itself has stays: a whiteout speaks of the layers below.
    assert!(unpacked.path("d/link").is_symlink());
    let whiteout = fs::symlink_metadata(unpacked.path("d/other")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
}

/// D05: attributes that mean something to overlayfs or to this machine are not the layer's to set.
#[test]
fn attributes_are_taken_from_a_list() {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let attributes: [(&str, &[u8]); 8] = [
        ("trusted.overlay.redirect", b"/.."),
        ("trusted.overlay.opaque", b"y"),
        ("user.overlay.opaque", b"y"),
        ("user.overlay.whiteout", b""),
        ("trusted.anything", b"x"),
        ("security.selinux", b"x"),
        ("user.kept", b"kept"),
        ("security.capability", &capability),
    ];
    let xattrs = attributes.map(|(name, value)| (name.into(), value.to_vec())).to_vec();
    let file = Entry { xattrs: xattrs.clone(), ..entry("f", Kind::File) };
    let dir = Entry { xattrs, mode: 0o755, ..entry("d", Kind::Directory) };
    let unpacked = unpack(&Archive::new().add(&dir, b"").add(&file, b"x").finish());
    let notes = &unpacked.result.as_ref().unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("trusted.overlay.redirect")), "{notes:?}");
    for name in ["f", "d"] {
        let found = onggi_sys::file::xattr_names_at(Root::open(unpacked.path("")).unwrap(), name).unwrap();
        let mut found: Vec<_> = found.iter().map(|name| name.to_str().unwrap()).collect();
        found.sort_unstable();
        // Only root may give capabilities, and only files have them for a reason, but the kernel allows both.
        let expected: &[&str] = if is_root() { &["security.capability", "user.kept"] } else { &["user.kept"] };
        assert_eq!(found, expected, "{name}");
    }
}

/// D06: nothing that blocks or acts when it is opened is ever opened.
#[test]
fn special_files_are_made_and_not_opened() {
    let fifo = Entry { mode: 0o622, ..entry("fifo", Kind::Fifo) };
    let device = Entry { mode: 0o666, ..entry("null", Kind::CharDevice(1, 3)) };
    let disk = entry("disk", Kind::BlockDevice(7, 99));
    let archive = Archive::new().add(&fifo, b"").add(&device, b"").add(&disk, b"");
    // Replaced, linked and put below: each would open it if anything did.
    let archive = archive.link("again", "fifo").add(&fifo, b"").link("null2", "null").file("over", "x");
    let archive = archive.add(&Entry { path: b"over".to_vec(), ..fifo.clone() }, b"");
    let unpacked = unpack(&archive.finish());
    if !is_root() {
        assert!(unpacked.result.is_err() || !unpacked.result.as_ref().unwrap().notes.is_empty());
        return;
    }
    unpacked.result.as_ref().unwrap();
    let found = |path| fs::symlink_metadata(unpacked.path(path)).unwrap();
    assert!(found("fifo").file_type().is_fifo() && found("over").file_type().is_fifo());
    assert_eq!(found("fifo").mode() & 0o7777, 0o622);
    assert!(found("null").file_type().is_char_device() && found("disk").file_type().is_block_device());
    assert_eq!(found("null").rdev(), 0x103);
    assert!(unpack(&Archive::new().add(&fifo, b"").file("fifo/x", "").finish()).result.is_err());
    // A raw overlay whiteout in an archive is what it looks like.
    let unpacked = unpack(&Archive::new().add(&entry("gone", Kind::CharDevice(0, 0)), b"").finish());
    assert!(unpacked.result.is_ok() && fs::symlink_metadata(unpacked.path("gone")).unwrap().rdev() == 0);
}

/// D07: the set-user-ID bit is there at the end, so it was set after the owner.
#[test]
fn owners_come_before_modes() {
    onggi_testkit::needs!("root");
    let file = Entry { mode: 0o6755, uid: 1234, gid: 4321, ..entry("su", Kind::File) };
    let dir = Entry { mode: 0o7751, uid: 1, gid: 2, ..entry("d", Kind::Directory) };
    let below = Entry { path: b"d/su".to_vec(), ..file.clone() };
    let large = Entry { uid: u32::MAX - 1, gid: 3_000_000_000, ..entry("large", Kind::Symlink("x".into())) };
    let archive = Archive::new().add(&dir, b"").add(&file, b"x").add(&below, b"y").add(&large, b"");
    let unpacked = unpack(&archive.finish());
    unpacked.result.as_ref().unwrap();
    let found = |path| {
        let found = fs::symlink_metadata(unpacked.path(path)).unwrap();
        (found.mode() & 0o7777, found.uid(), found.gid())
    };
    assert_eq!(found("su"), (0o6755, 1234, 4321));
    assert_eq!(found("d/su"), (0o6755, 1234, 4321));
    assert_eq!(found("d"), (0o7751, 1, 2));
    assert_eq!(found("large"), (0o777, u32::MAX - 1, 3_000_000_000));
}

/// D10: one path as directory, link and file, in all orders: the last one stays, and nothing else happens.
#[test]
fn a_path_may_change_its_type() {
    let kinds = ["dir", "link", "file"];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut archive = Archive::new().file("other", "other");
        for index in order {
            archive = match kinds[index] {
                "dir" => archive.dir("p").file("p/child", "x").dir("p/sub").file("p/sub/f", "y"),
                "link" => archive.symlink("p", VICTIM),
                _ => archive.file("p", "file"),
            };
        }
        let unpacked = unpack(&archive.finish());
        unpacked.result.as_ref().unwrap();
        let found = fs::symlink_metadata(unpacked.path("p")).unwrap();
        match kinds[order[2]] {
            "dir" => assert!(found.is_dir() && unpacked.read("p/sub/f") == "y"),
            "link" => assert!(found.is_symlink()),
            _ => assert_eq!(unpacked.read("p"), "file"),
        }
    }
    // A directory that was there and went leaves no times to be set through the link in its place.
    let archive = Archive::new().dir("p").dir("p/victim").symlink("p", "..").file("q", "");
    assert!(unpack(&archive.finish()).result.is_ok());
    // Twice the same directory is one directory.
    let unpacked = unpack(&Archive::new().dir("p").file("p/a", "1").dir("p").file("p/b", "2").finish());
    assert!(unpacked.exists("p/a") && unpacked.exists("p/b"));
}

/// Long paths and deep trees end in files or in errors, never in somebody else's limits.
#[test]
fn deep_trees() {
    let deep = vec!["d"; 300].join("/");
    let archive = Archive::new().file(&format!("{deep}/f"), "1").file("top", "").file(&format!("{deep}/g"), "2");
    let unpacked = unpack(&archive.file(&format!("{deep}/d/h"), "3").finish());
    assert_eq!(unpacked.result.as_ref().unwrap().finish.implicit.len(), 301);
    assert_eq!(unpacked.read(&format!("{deep}/g")), "2");
    let too_deep = vec!["d"; 3000].join("/");
    assert!(unpack(&Archive::new().file(&too_deep, "x").finish()).result.is_err());
    assert!(unpack(&Archive::new().file(&"n".repeat(256), "x").finish()).result.is_err());
}

fn gzip(data: &[u8]) -> Vec<u8> {
    compress(Compression::Gzip, data)
}

fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn unpack_blob(blob: impl Read + Send, expected: Option<&Digest>) -> Result<Whole, Error> {
    unpack_blob_within(blob, expected, Limits::default(), &options())
}

fn unpack_blob_within(
    blob: impl Read + Send,
    expected: Option<&Digest>,
    limits: Limits,
    options: &Options,
) -> Result<Whole, Error> {
    let dir = tempfile::tempdir().unwrap();
    onggi_layer::unpack(blob, &Root::open(dir.path()).unwrap(), expected, limits, options)
}

/// D09: ten gigabytes of zeros in ten megabytes of gzip, and in a few hundred bytes of zstd.
#[test]
fn bombs_are_cut_off() {
    // A kilobyte of deflate that makes a mebibyte of zeros, as members one after the other.
    let member = gzip(&vec![0; 1 << 20]);
    let bomb = io::Cursor::new(member).chain(io::empty());
    let mut head = entry("zeros", Kind::File);
    head.size = 10 << 30;
    let mut header = Vec::new();
    onggi_layer::tar::Writer::new(&mut header).append(&head, io::repeat(0).take(0)).unwrap_err();
    let member = bomb.into_inner().0.into_inner();
    let blob = gzip(&header).into_iter().chain(member.iter().copied().cycle().take(member.len() * 10_240));
    let limits = Limits { free: 8 << 20, ..Limits::default() };
    let error = unpack_blob_within(Bytes(blob), None, limits, &options()).unwrap_err();
    assert!(
        matches!(&error, Error::Compression { layer, source: compression::Error::Bomb { .. } } if layer == "sha256:test")
    );
    assert_eq!(error.kind(), Fault::Hostile);
    let bomb = compress(Compression::Zstd, &[header, vec![0; 64 << 20]].concat());
    let error = unpack_blob_within(bomb.as_slice(), None, limits, &options()).unwrap_err();
    assert!(matches!(error, Error::Compression { source: compression::Error::Bomb { .. }, .. }));
    let limits = Limits { size: 1000, ..Limits::default() };
    let archive = Archive::new().file("f", &"x".repeat(2000)).finish();
    let error = unpack_blob_within(gzip(&archive).as_slice(), None, limits, &options()).unwrap_err();
    assert!(matches!(error, Error::Compression { source: compression::Error::Bomb { .. }, .. }));
}

struct Bytes<I>(I);

impl<I: Iterator<Item = u8>> Read for Bytes<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for (slot, byte) in out.iter_mut().zip(&mut self.0) {
            *slot = byte;
            count += 1;
        }
        Ok(count)
    }
}

/// D09: a zstd frame that asks for two gigabytes of window.
#[test]
fn windows_are_limited() {
    // Magic, descriptor (no single segment, no size), window descriptor: exponent 21, 2^31 bytes; then a raw block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x09, 0, 0, b'x'];
    let error = unpack_blob(&frame[..], None).unwrap_err();
    assert!(matches!(error, Error::Compression { source: compression::Error::Window { .. }, .. }), "{error:?}");
}

/// D11: a flipped bit, a missing end and something behind the end are three different complaints.
#[test]
fn damage_is_told_apart() {
    let archive = Archive::new().dir("d").file("d/f", &"data ".repeat(20_000)).file("g", "x").finish();
    let diff_id = Digest::of(&archive);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let blob = compress(compression, &archive);
        assert_eq!(unpack_blob(blob.as_slice(), Some(&diff_id)).unwrap().diff_id, diff_id);
        let several = [compress(compression, &archive[..700]), compress(compression, &archive[700..])].concat();
        assert_eq!(unpack_blob(several.as_slice(), Some(&diff_id)).unwrap().diff_id, diff_id);

        let cut = unpack_blob(&blob[..blob.len() - 20], Some(&diff_id)).unwrap_err();
        assert!(matches!(cut, Error::Compression { source: compression::Error::Truncated, .. }), "{cut:?}");
        let tail = unpack_blob([blob.clone(), vec![b'z'; 1 << 20]].concat().as_slice(), Some(&diff_id)).unwrap_err();
        assert!(matches!(tail, Error::Compression { source: compression::Error::Trailing, .. }), "{tail:?}");
        let mut flipped = blob.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        let flipped = unpack_blob(flipped.as_slice(), Some(&diff_id)).unwrap_err();
        let told = matches!(flipped, Error::Compression { source: compression::Error::Damaged { .. }, .. });
        assert!(told || matches!(flipped, Error::Archive { .. } | Error::DiffId { .. }), "{flipped:?}");
    }
    let mut other = archive.clone();
    other[50_000] ^= 1;
    assert!(matches!(unpack_blob(other.as_slice(), Some(&diff_id)), Err(Error::DiffId { .. })));
    let cut = unpack_blob(&archive[..archive.len() - 512], Some(&diff_id)).unwrap_err();
    assert!(matches!(cut, Error::DiffId { .. }), "{cut:?}");
    assert!(matches!(unpack_blob(&archive[..2000], None), Err(Error::Archive { .. })));
    let tail = [archive.clone(), vec![b'z'; 600]].concat();
    assert!(matches!(unpack_blob(tail.as_slice(), None), Err(Error::Archive { .. })));
    for magic in [&b"\xfd7zXZ\0"[..], b"BZh91AY&SY"] {
        assert!(matches!(
            unpack_blob(magic, None),
            Err(Error::Compression { source: compression::Error::Unsupported { .. }, .. })
        ));
    }
}

/// A source that fails is the source's failure, not the layer's.
#[test]
fn a_lost_connection_is_not_a_damaged_layer() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    let blob = gzip(&Archive::new().file("f", &"x".repeat(100_000)).finish());
    let half = io::Cursor::new(blob[..100].to_vec()).chain(Failing);
    let error = unpack_blob(half, None).unwrap_err();
    assert_eq!(error.kind(), Fault::Unavailable);
}
