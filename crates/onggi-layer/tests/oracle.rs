//! Archives that others wrote, and others reading ours: GNU tar, Python's tarfile.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "tests run programs and make their own trees")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use onggi_fs::Root;
use onggi_layer::overlay::Namespace;
use onggi_layer::{Form, WriteOptions, write_tar};
use support::{is_root, options, tree, unpack};

fn run(program: &str, args: &[&str], dir: &Path) -> Vec<u8> {
    let output = Command::new(program).args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A tree with some of everything.
fn make_tree(dir: &Path) {
    let long = "l".repeat(90);
    let nested = dir.join("d").join(&long).join(&long).join(&long);
    fs::create_dir_all(&nested).unwrap();
    fs::write(nested.join(&long), "far down").unwrap();
    fs::write(dir.join("empty"), "").unwrap();
    fs::write(dir.join("big"), (0..700_001u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect::<Vec<u8>>()).unwrap();
    fs::hard_link(dir.join("big"), dir.join("d/same")).unwrap();
    std::os::unix::fs::symlink("x".repeat(200), dir.join("long-link")).unwrap();
    std::os::unix::fs::symlink("big", dir.join("link")).unwrap();
    fs::write(dir.join("new\nline \u{fc}"), "odd").unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    for offset in [0, 1 << 20, (1 << 20) + 8192, 5 << 20] {
        sparse.write_all_at(b"data", offset).unwrap();
    }
    sparse.set_len(9 << 20).unwrap();
    let holes = File::create(dir.join("all-hole")).unwrap();
    holes.set_len(3 << 20).unwrap();
    if is_root() {
        run("mkfifo", &["-m", "620", "fifo"], dir);
        run("mknod", &["null", "c", "1", "3"], dir);
        run("chown", &["3000000:2500000", "empty"], dir);
        run("chmod", &["6755", "empty"], dir);
    }
    run("touch", &["-d", "2001-02-03 04:05:06.789012345 UTC", "big"], dir);
    run("touch", &["-d", "1955-02-03 04:05:06.25 UTC", "empty"], dir);
    run("touch", &["-h", "-d", "2020-01-01 00:00:00.5 UTC", "link"], dir);
    run("touch", &["-d", "1999-01-01 00:00:00.125 UTC", "d"], dir);
}

/// What GNU tar writes in each of its formats comes out as it went in.
#[test]
fn gnu_tar_writes_and_we_read() {
    onggi_testkit::needs!("tar");
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let expected = tree(source.path());
    let formats: [&[&str]; 7] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=pax", "--pax-option=exthdr.name=%d/x"],
    ];
    for format in formats {
        let archive = run("tar", &[&["-cf", "-"], format, &["."]].concat(), source.path());
        let unpacked = unpack(&archive);
        unpacked.result.as_ref().unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let found = tree(&unpacked.path(""));
        if !is_root() {
            continue;
        }
        // The GNU format has no fractions of seconds; the rest is the same everywhere.
        let whole_seconds = |lines: &[String]| -> Vec<String> {
            lines.iter().map(|line| line.split('.').next().unwrap_or_default().to_owned()).collect()
        };
        if format.contains(&"--format=gnu") {
            assert_eq!(whole_seconds(&found), whole_seconds(&expected), "{format:?}");
        } else {
            assert_eq!(found, expected, "{format:?}");
        }
        if format.contains(&"--sparse") {
            let blocks = fs::metadata(unpacked.path("sparse")).unwrap().blocks();
            assert!(blocks <= 64, "{format:?}: holes became {blocks} blocks");
        }
    }
}

/// What we write, GNU tar and Python read as the same tree.
#[test]
fn we_write_and_others_read() {
    onggi_testkit::needs!("tar");
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let root = Root::open(source.path()).unwrap();
    let archive = write_tar(&root, Vec::new(), &WriteOptions::new(Form::Tree)).unwrap();
    assert_eq!(archive, write_tar(&root, Vec::new(), &WriteOptions::new(Form::Tree)).unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &archive).unwrap();
    let name = file.path().to_str().unwrap();
    let other = tempfile::tempdir().unwrap();
    run("tar", &["-xpf", name, "--numeric-owner"], other.path());
    assert_eq!(tree(other.path()), tree(source.path()));
    if onggi_testkit::find("python3").is_some() {
        let script =
            "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(repr(m.name), m.size, oct(m.mode), m.uid)";
        let listing = run("python3", &["-c", script, name], other.path());
        assert_eq!(String::from_utf8_lossy(&listing).lines().count(), tree(source.path()).len());
    }
    let unpacked = unpack(&archive);
    unpacked.result.as_ref().unwrap();
    assert_eq!(tree(&unpacked.path("")), tree(source.path()));
}

/// Python writes extended attributes, global headers and odd types; we read them.
#[test]
fn python_writes_and_we_read() {
    onggi_testkit::needs!("python3");
    let script = r#"
import io, sys, tarfile
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT, pax_headers={"comment": "global", "mtime": "77.5"})
def add(name, data=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items(): setattr(info, key, value)
    out.addfile(info, io.BytesIO(data))
add("contiguous", b"seven", type=b"7")
add("old-directory/", type=tarfile.DIRTYPE)
add("x" * 150 + "/" + "y" * 200, b"long")
add("attributed", b"z", pax_headers={"SCHILY.xattr.user.name": "value", "mtime": "12.000000345"})
add("from-global", b"")
out.close()
"#;
    let archive = run("python3", &["-c", script], Path::new("/"));
    let unpacked = unpack(&archive);
    unpacked.result.as_ref().unwrap();
    assert_eq!(unpacked.read("contiguous"), "seven");
    assert_eq!(unpacked.read(&format!("{}/{}", "x".repeat(150), "y".repeat(200))), "long");
    let found = fs::metadata(unpacked.path("attributed")).unwrap();
    assert_eq!((found.mtime(), found.mtime_nsec()), (12, 345));
    let root = Root::open(unpacked.path("")).unwrap();
    assert_eq!(onggi_sys::file::xattr_at(&root, "attributed", "user.name").unwrap().unwrap(), b"value");
    let found = fs::metadata(unpacked.path("from-global")).unwrap();
    assert_eq!((found.mtime(), found.mtime_nsec()), (77, 500_000_000));
}

/// An overlay's upper directory becomes a layer, and the layer that directory again.
#[test]
fn an_upper_directory_goes_to_a_layer_and_back() {
    onggi_testkit::needs!("root");
    let source = tempfile::tempdir().unwrap();
    fs::create_dir_all(source.path().join("d/opaque")).unwrap();
    fs::write(source.path().join("d/opaque/f"), "x").unwrap();
    run("mknod", &["d/gone", "c", "0", "0"], source.path());
    let root = Root::open(source.path()).unwrap();
    onggi_sys::file::set_xattr_at(root.dir("d").unwrap(), "opaque", "trusted.overlay.opaque", b"y").unwrap();
    let options_of =
        |form| WriteOptions { leave_out: &|path: &Path| path == Path::new("d/left-out"), ..WriteOptions::new(form) };
    fs::write(source.path().join("d/left-out"), "secret").unwrap();
    let archive = write_tar(&root, Vec::new(), &options_of(Form::Upper(Namespace::Trusted))).unwrap();
    let names = |archive: &[u8]| {
        let mut reader = onggi_layer::tar::Reader::new(archive, onggi_layer::tar::Limits::default());
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(String::from_utf8(entry.path).unwrap());
        }
        names
    };
    assert_eq!(names(&archive), ["d/", "d/.wh.gone", "d/opaque/", "d/opaque/.wh..wh..opq", "d/opaque/f"]);
    let unpacked = unpack(&archive);
    let applied = unpacked.result.as_ref().unwrap();
    assert!(applied.finish.is_settled());
    let again = Root::open(unpacked.path("")).unwrap();
    assert_eq!(write_tar(&again, Vec::new(), &options_of(Form::Upper(Namespace::Trusted))).unwrap(), archive);
    fs::write(source.path().join(".wh.real"), "").unwrap();
    assert!(write_tar(&root, Vec::new(), &options_of(Form::Upper(options().namespace))).is_err());
}
