//! What the store promises, on real overlay mounts: as root, and again in user namespaces of an ordinary user.
//!
//! Every case runs in this process when it is root, and in two children of it: in a namespace that holds one id, as
//! `unshare -r` makes it, and in one with 65536 ids shifted, as rootless containers have it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::print_stdout, reason = "the case that failed is the last one printed")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees and children")]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use onggi_diag::Diagnose;
use onggi_fs::Durability;
use onggi_layer::tar::{Entry, Kind, Time, Writer};
use onggi_oci::Digest;
use onggi_snapshot::{Error, Snapshots};
use onggi_sys::mount::{FsContext, MountAttrFlags};

const INSIDE: &str = "ONGGI_TEST_IN_USER_NAMESPACE";

struct Scratch {
    dir: tempfile::TempDir,
    store: Snapshots,
}

fn scratch() -> Scratch {
    let dir = tempfile::tempdir().unwrap();
    let store = Snapshots::open(dir.path().join("layers")).unwrap();
    Scratch { dir, store }
}

/// A layer in the making.
struct Layer(Writer<Vec<u8>>);

impl Layer {
    fn new() -> Self {
        Self(Writer::new(Vec::new()))
    }

    fn raw(self, path: Vec<u8>, kind: Kind, mode: u32) -> Self {
        self.entry(path, kind, mode, "")
    }

    fn entry(mut self, path: impl Into<Vec<u8>>, kind: Kind, mode: u32, data: &str) -> Self {
        let entry = Entry {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Time { seconds: 1_000_000, nanoseconds: 5 },
            atime: None,
            size: data.len() as u64,
            extents: None,
            xattrs: Vec::new(),
        };
        self.0.append(&entry, data.as_bytes()).unwrap();
        self
    }

    fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(path, Kind::Directory, mode, "")
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.entry(path, Kind::File, 0o644, data)
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, Kind::HardLink(target.into()), 0o644, "")
    }

    fn store(self, store: &Snapshots) -> Digest {
        let bytes = self.0.finish().unwrap();
        let diff_id = Digest::of(&bytes);
        store.unpack(&diff_id, bytes.as_slice()).unwrap();
        diff_id
    }
}

/// A path inside a detached mount.
fn inside(mount: &OwnedFd, path: &str) -> PathBuf {
    Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string()).join(path)
}

fn read(mount: &OwnedFd, path: &str) -> String {
    fs::read_to_string(inside(mount, path)).unwrap_or_else(|error| format!("{path}: {error}"))
}

fn exists(mount: &OwnedFd, path: &str) -> bool {
    fs::symlink_metadata(inside(mount, path)).is_ok()
}

fn layers_merge_and_whiteouts_hide() {
    let Scratch { store, dir: _dir } = scratch();
    let base =
        Layer::new().dir("etc", 0o755).file("etc/a", "1").file("etc/b", "1").dir("opt", 0o755).file("opt/x", "1");
    let base = base.store(&store);
    let top = Layer::new().dir("etc", 0o755).file("etc/b", "2").file("etc/.wh.a", "").dir("opt", 0o711);
    let top = top.file("opt/.wh..wh..opq", "").file("opt/y", "2").store(&store);
    let mount = store.mount_ro(&[base.clone(), top.clone()]).unwrap();
    assert!(!exists(&mount, "etc/a") && !exists(&mount, "opt/x"));
    assert_eq!((read(&mount, "etc/b"), read(&mount, "opt/y")), ("2".into(), "2".into()));
    let alone = store.mount_ro(&[base]).unwrap();
    assert_eq!(read(&alone, "etc/a"), "1");
}

fn what_a_container_writes_stays_in_its_own_directory() {
    let Scratch { store, dir: _dir } = scratch();
    let base = Layer::new().dir("./", 0o751).dir("etc", 0o755).file("etc/a", "1").store(&store);
    for id in ["one", "two"] {
        store.create_writable(id, std::slice::from_ref(&base), Durability::Volatile).unwrap();
    }
    let [one, two] = ["one", "two"].map(|id| store.mount(id, Durability::Durable).unwrap());
    assert_eq!(fs::metadata(inside(&one, "")).unwrap().mode() & 0o7777, 0o751);
    fs::write(inside(&one, "etc/a"), "changed").unwrap();
    fs::remove_file(inside(&two, "etc/a")).unwrap();
    assert_eq!(read(&one, "etc/a"), "changed");
    assert!(!exists(&two, "etc/a"));
    drop((one, two));
    assert_eq!(read(&store.mount("one", Durability::Durable).unwrap(), "etc/a"), "changed");
    assert_eq!(read(&store.mount_ro(&[base]).unwrap(), "etc/a"), "1");
    assert!(store.writable_size("one").unwrap() > 0);
    assert!(matches!(store.create_writable("one", &[], Durability::Durable), Err(Error::Exists { .. })));
    store.remove_writable("one").unwrap();
    store.remove_writable("one").unwrap();
    assert!(matches!(store.mount("one", Durability::Durable), Err(Error::NotFound { .. })));
    assert_eq!(store.writables().unwrap(), ["two"]);
}

fn an_image_without_layers_is_an_empty_root() {
    let Scratch { store, dir: _dir } = scratch();
    store.create_writable("empty", &[], Durability::Durable).unwrap();
    let mount = store.mount("empty", Durability::Durable).unwrap();
    fs::write(inside(&mount, "new"), "x").unwrap();
    assert_eq!(read(&mount, "new"), "x");
    let bare = store.mount_ro(&[]).unwrap();
    assert_eq!(fs::read_dir(inside(&bare, "")).unwrap().count(), 0);
    let whiteouts = Layer::new().file(".wh.nothing", "").file("d/.wh..wh..opq", "").store(&store);
    let mount = store.mount_ro(&[whiteouts]).unwrap();
    assert_eq!(fs::read_dir(inside(&mount, "")).unwrap().count(), 1);
}

fn implicit_directories_are_as_the_layers_below_have_them() {
    let Scratch { store, dir: _dir } = scratch();
    let base = Layer::new().dir("a", 0o1777).dir("a/b", 0o700).dir("a/b/c", 0o711).file("a/b/old", "1").store(&store);
    let top = Layer::new().dir("a/b/c", 0o755).file("a/b/new", "2").file("a/b/c/d/e", "3").store(&store);
    let mount = store.mount_ro(&[base.clone(), top.clone()]).unwrap();
    let mode = |path| fs::metadata(inside(&mount, path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b"), mode("a/b/c"), mode("a/b/c/d")), (0o1777, 0o700, 0o755, 0o755));
    assert_eq!(
        (read(&mount, "a/b/old"), read(&mount, "a/b/new"), read(&mount, "a/b/c/d/e")),
        ("1".into(), "2".into(), "3".into())
    );
    assert_eq!(fs::metadata(inside(&mount, "a")).unwrap().mtime(), 1_000_000);
    // The layer itself is untouched: on nothing, its directories are the usual ones.
    let alone = store.mount_ro(std::slice::from_ref(&top)).unwrap();
    assert_eq!(fs::metadata(inside(&alone, "a")).unwrap().mode() & 0o7777, 0o755);
    store.prepare(&[base, top]).unwrap();
}

fn hard_links_reach_the_layers_below() {
    let Scratch { store, dir: _dir } = scratch();
    let base = Layer::new().dir("bin", 0o711).file("bin/tool", "code").file("bin/gone", "old").store(&store);
    let top = Layer::new().link("usr/alias", "bin/tool").link("again", "usr/alias").link("kept", "bin/gone");
    let top = top.file("bin/.wh.gone", "").store(&store);
    let mount = store.mount_ro(&[base.clone(), top.clone()]).unwrap();
    let inode = |path| fs::metadata(inside(&mount, path)).unwrap().ino();
    assert_eq!((read(&mount, "usr/alias"), read(&mount, "again")), ("code".into(), "code".into()));
    assert_eq!((inode("bin/tool"), inode("bin/tool")), (inode("usr/alias"), inode("again")));
    assert_eq!(fs::metadata(inside(&mount, "bin")).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(read(&mount, "kept"), "old");
    assert!(!exists(&mount, "bin/gone"));
    assert!(matches!(store.prepare(&[top]), Err(Error::DanglingLink { .. })));
}

fn an_opaque_root_hides_everything_below() {
    let Scratch { store, dir: _dir } = scratch();
    let base = Layer::new().file("old", "1").store(&store);
    let top = Layer::new().file(".wh..wh..opq", "").file("new", "2").store(&store);
    let mount = store.mount_ro(&[base, top]).unwrap();
    assert!(!exists(&mount, "old") && exists(&mount, "new"));
}

fn a_removed_directory_that_comes_back_is_empty() {
    let Scratch { store, dir: _dir } = scratch();
    let base = Layer::new().dir("d", 0o700).file("d/old", "1").dir("e", 0o700).file("e/old", "1").store(&store);
    let top = Layer::new().file(".wh.d", "").file("d/new", "2").dir("e", 0o755).file("e/new", "2").file(".wh.e", "");
    let top = top.store(&store);
    let mount = store.mount_ro(&[base, top]).unwrap();
    for dir in ["d", "e"] {
        assert!(!exists(&mount, &format!("{dir}/old")) && exists(&mount, &format!("{dir}/new")), "{dir}");
        assert_eq!(fs::metadata(inside(&mount, dir)).unwrap().mode() & 0o7777, 0o755, "{dir}");
    }
}

fn the_same_layer_twice_counts_on_top() {
    let Scratch { store, dir: _dir } = scratch();
    let a = Layer::new().file("f", "a").dir("d", 0o755).file("d/a", "").store(&store);
    let b = Layer::new().file("f", "b").file("d/.wh.a", "").store(&store);
    let mount = store.mount_ro(&[a.clone(), b.clone(), a.clone()]).unwrap();
    assert_eq!(read(&mount, "f"), "a");
    assert!(exists(&mount, "d/a"));
    let mount = store.mount_ro(&[a.clone(), a, b]).unwrap();
    assert_eq!(read(&mount, "f"), "b");
    assert!(!exists(&mount, "d/a"));
}

fn two_hundred_layers_mount() {
    let Scratch { store, dir: _dir } = scratch();
    let layers: Vec<Digest> =
        (0..200).map(|n| Layer::new().file(&format!("f{n}"), "x").file("last", &n.to_string()).store(&store)).collect();
    store.create_writable("deep", &layers, Durability::Volatile).unwrap();
    let mount = store.mount("deep", Durability::Durable).unwrap();
    assert_eq!(read(&mount, "last"), "199");
    assert!((0..200).all(|n| exists(&mount, &format!("f{n}"))));
}

fn file_modes_owners_and_times_come_through() {
    let Scratch { store, dir: _dir } = scratch();
    let layer = Layer::new().dir("d", 0o2755).entry("d/su", Kind::File, 0o4755, "x").store(&store);
    let mount = store.mount_ro(&[layer]).unwrap();
    let found = fs::metadata(inside(&mount, "d/su")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (0o4755, 0, 0));
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000, 5));
    let found = fs::metadata(inside(&mount, "d")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime(), found.mtime_nsec()), (0o2755, 1_000_000, 5));
}

fn two_may_unpack_the_same_layer() {
    let Scratch { store, dir } = scratch();
    let bytes = Layer::new().file("f", "x").0.finish().unwrap();
    let diff_id = Digest::of(&bytes);
    let (first, second) = (store.begin_layer(&diff_id).unwrap(), store.begin_layer(&diff_id).unwrap());
    assert!(!store.has_layer(&diff_id).unwrap());
    first.unpack(bytes.as_slice()).unwrap();
    second.unpack(bytes.as_slice()).unwrap();
    assert!(store.has_layer(&diff_id).unwrap());
    assert_eq!(store.unpack(&diff_id, bytes.as_slice()).unwrap(), None);
    assert_eq!(store.layers().unwrap(), [diff_id]);
    assert_no_temporaries(&dir);
}

fn assert_no_temporaries(dir: &tempfile::TempDir) {
    let left = fs::read_dir(dir.path().join("layers")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".tmp-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn nothing_is_left_of_a_layer_that_fails() {
    let Scratch { store, dir } = scratch();
    let bytes = Layer::new().file("f", &"x".repeat(100_000)).file("g", "y").0.finish().unwrap();
    let diff_id = Digest::of(&bytes);
    let mut flipped = bytes.clone();
    flipped[600] ^= 1;
    let mut longer = bytes.clone();
    longer.extend(vec![b'z'; 1 << 20]);
    let broken = [flipped, bytes[..bytes.len() - 512].to_vec(), bytes[..60_000].to_vec(), longer];
    for blob in broken {
        assert!(matches!(store.unpack(&diff_id, blob.as_slice()), Err(Error::Unpack(_))));
        assert!(!store.has_layer(&diff_id).unwrap());
    }
    assert_no_temporaries(&dir);
    assert!(store.unpack(&diff_id, bytes.as_slice()).unwrap().is_some());
}

fn prune_keeps_what_is_needed() {
    let Scratch { store, dir } = scratch();
    let [a, b, c] = ["a", "b", "c"].map(|name| Layer::new().file(&format!("d/{name}"), name).store(&store));
    store.create_writable("uses-a", &[a.clone(), b.clone()], Durability::Volatile).unwrap();
    store.prepare(&[b.clone(), c.clone()]).unwrap();
    let lease = store.lease().unwrap();
    let refused = store.prune::<Error>(Duration::from_millis(20), || Ok(HashSet::new()));
    assert!(matches!(refused, Err(Error::Busy { .. })));
    drop(lease);
    let pruned = store.prune::<Error>(Duration::from_secs(1), || Ok(HashSet::new())).unwrap();
    assert_eq!(pruned.layers, std::slice::from_ref(&c));
    assert!(pruned.bytes > 0);
    assert_eq!(read(&store.mount("uses-a", Durability::Durable).unwrap(), "d/b"), "b");
    store.remove_writable("uses-a").unwrap();
    let keep = || Ok(HashSet::from([a.clone()]));
    assert_eq!(store.prune::<Error>(Duration::from_secs(1), keep).unwrap().layers, [b]);
    assert_eq!(store.layers().unwrap(), [a]);
    assert_eq!(fs::read_dir(dir.path().join("layers/chain")).unwrap().count(), 0);
    assert_no_temporaries(&dir);
    assert!(matches!(store.mount_ro(&[c]), Err(Error::NoLayer { .. })));
}

fn a_crash_leaves_only_what_the_next_open_sweeps() {
    let Scratch { store, dir } = scratch();
    let digest = Digest::of(b"x");
    let alive = store.begin_layer(&digest).unwrap();
    let dead = dir.path().join("layers/.tmp-1-0/fs/deep");
    fs::create_dir_all(&dead).unwrap();
    let again = Snapshots::open(dir.path().join("layers")).unwrap();
    assert!(!dir.path().join("layers/.tmp-1-0").exists());
    fs::write(inside(&fs::File::open(dir.path()).unwrap().into(), "probe"), "").unwrap();
    drop(again);
    alive.abort().unwrap();
    assert_no_temporaries(&dir);
}

fn names_need_not_be_text() {
    let Scratch { store, dir: _dir } = scratch();
    let name = OsStr::from_bytes(b"\xff\xfe\n");
    let path = |file: &str| [name.as_bytes(), b"/", file.as_bytes()].concat();
    let base = Layer::new().raw(path(""), Kind::Directory, 0o700).raw(path("tool"), Kind::File, 0o755).store(&store);
    let top = Layer::new().raw(path("new"), Kind::File, 0o644).raw(path("alias"), Kind::HardLink(path("tool")), 0);
    let mount = store.mount_ro(&[base, top.store(&store)]).unwrap();
    let found = fs::metadata(inside(&mount, "").join(name)).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(inside(&mount, "").join(name).join("alias")).unwrap().nlink(), 2);
}

/// D02 and D04 over two layers: the lower one brings a link out, the upper one goes through it.
fn links_in_lower_layers_are_not_followed() {
    let Scratch { store, dir } = scratch();
    let victim = dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("passwd"), "untouched").unwrap();
    let link = Kind::Symlink(victim.to_str().unwrap().into());
    let base = Layer::new().entry("link", link.clone(), 0o777, "").entry("gone", link, 0o777, "").store(&store);
    let top = Layer::new().link("stolen", "link/passwd").store(&store);
    assert!(matches!(store.prepare(&[base.clone(), top.clone()]), Err(Error::DanglingLink { .. })));
    let top =
        Layer::new().file("link/passwd", "evil").file("link/.wh.shadow", "").file("gone/.wh.passwd", "").store(&store);
    let mount = store.mount_ro(&[base, top]).unwrap();
    assert!(fs::symlink_metadata(inside(&mount, "link")).unwrap().is_dir());
    assert_eq!((read(&mount, "link/passwd"), read(&mount, "gone/passwd").len() > 20), ("evil".into(), true));
    assert_eq!(fs::read_to_string(victim.join("passwd")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 1);
}

/// On a file system of half a megabyte, by a mount that is in no table.
fn a_full_disk_leaves_nothing() {
    let context = FsContext::open("tmpfs").unwrap();
    context.set("size", "512k").unwrap();
    let disk = context.mount(MountAttrFlags::empty()).unwrap();
    let store = Snapshots::open(inside(&disk, "layers")).unwrap();
    let bytes = Layer::new().dir("d", 0o755).file("d/f", &"x".repeat(2_000_000)).0.finish().unwrap();
    let error = store.unpack(&Digest::of(&bytes), bytes.as_slice()).unwrap_err();
    assert!(error.hint().unwrap().contains("full"), "{error:?}");
    assert!(store.layers().unwrap().is_empty());
    let left: Vec<_> = fs::read_dir(inside(&disk, "layers")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp-")), "{left:?}");
    let small = Layer::new().file("f", "x").store(&store);
    assert!(store.has_layer(&small).unwrap());
}

fn names_that_are_no_ids_are_refused() {
    let Scratch { store, dir: _dir } = scratch();
    for id in ["", ".", "..", "a/b", ".hidden", "a:b", &"x".repeat(129)] {
        assert!(matches!(store.create_writable(id, &[], Durability::Volatile), Err(Error::BadId { .. })), "{id}");
        assert!(matches!(store.remove_writable(id), Err(Error::BadId { .. })), "{id}");
    }
}

const CASES: &[(&str, fn())] = &[
    ("layers_merge_and_whiteouts_hide", layers_merge_and_whiteouts_hide),
    ("what_a_container_writes_stays_in_its_own_directory", what_a_container_writes_stays_in_its_own_directory),
    ("an_image_without_layers_is_an_empty_root", an_image_without_layers_is_an_empty_root),
    ("implicit_directories_are_as_the_layers_below_have_them", implicit_directories_are_as_the_layers_below_have_them),
    ("hard_links_reach_the_layers_below", hard_links_reach_the_layers_below),
    ("an_opaque_root_hides_everything_below", an_opaque_root_hides_everything_below),
    ("a_removed_directory_that_comes_back_is_empty", a_removed_directory_that_comes_back_is_empty),
    ("the_same_layer_twice_counts_on_top", the_same_layer_twice_counts_on_top),
    ("two_hundred_layers_mount", two_hundred_layers_mount),
    ("file_modes_owners_and_times_come_through", file_modes_owners_and_times_come_through),
    ("two_may_unpack_the_same_layer", two_may_unpack_the_same_layer),
    ("nothing_is_left_of_a_layer_that_fails", nothing_is_left_of_a_layer_that_fails),
    ("prune_keeps_what_is_needed", prune_keeps_what_is_needed),
    ("a_crash_leaves_only_what_the_next_open_sweeps", a_crash_leaves_only_what_the_next_open_sweeps),
    ("names_need_not_be_text", names_need_not_be_text),
    ("links_in_lower_layers_are_not_followed", links_in_lower_layers_are_not_followed),
    ("a_full_disk_leaves_nothing", a_full_disk_leaves_nothing),
    ("names_that_are_no_ids_are_refused", names_that_are_no_ids_are_refused),
];

fn run_all() {
    for (name, case) in CASES {
        println!("case {name}");
        case();
    }
}

#[test]
fn as_root() {
    onggi_testkit::needs!("root");
    run_all();
}

/// Runs [`inside_a_user_namespace`] in a child that sees `ids` ids, from `first` on.
fn in_user_namespace(first: u32, ids: u32) {
    onggi_testkit::needs!("root", "setpriv", "unshare");
    let scratch = tempfile::tempdir().unwrap();
    // Where the test program lies may be closed to others.
    let program = scratch.path().join("suite");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let tmp = scratch.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(&tmp, Some(first), Some(first)).unwrap();
    let first_text = first.to_string();
    let mut child = Command::new("setpriv")
        .args(["--reuid", &first_text, "--regid", &first_text, "--clear-groups"])
        .args(["unshare", "-U", "sh", "-c", "echo; read go; exec \"$@\"", "sh", "unshare", "-m"])
        .arg(&program)
        .args(["--exact", "inside_a_user_namespace", "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .env("TMPDIR", &tmp)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    for map in ["gid_map", "uid_map"] {
        fs::write(format!("/proc/{}/{map}", child.id()), format!("0 {first} {ids}\n")).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut output = String::new();
    stdout.read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    assert!(output.contains("case names_that_are_no_ids_are_refused"), "{output}");
}

#[test]
fn with_a_shifted_range_of_ids() {
    in_user_namespace(100_000, 65_536);
}

#[test]
fn with_a_single_id() {
    in_user_namespace(100_000, 1);
}

#[test]
fn inside_a_user_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        run_all();
    }
}
