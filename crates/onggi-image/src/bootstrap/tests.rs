//! Images are made of this machine and run where nothing else of it is: under chroot(1).

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use onggi_testkit::{needs, skip};
use tempfile::TempDir;

use super::*;
use crate::Image;

struct Place {
    dir: TempDir,
    images: Images,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open(dir.path().join("images"), dir.path().join("layers")).unwrap();
        Self { dir, images }
    }

    fn make(&self, source: BootstrapSource) -> Result<Bootstrapped, BootstrapError> {
        let name = Reference::parse("made").unwrap();
        self.images.bootstrap(&BootstrapRequest { name, source, search: Vec::new(), latest: None })
    }

    fn programs(&self, names: &[&str]) -> Result<Bootstrapped, BootstrapError> {
        self.make(BootstrapSource::Programs(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn image(&self) -> Image {
        self.images.resolve("made").unwrap()
    }

    /// The image's one layer, unpacked by a program that is not ours.
    fn unpacked(&self) -> PathBuf {
        let layer = self.image().manifest.layers[0].digest.clone();
        let blob = self.dir.path().join("images/blobs/sha256").join(layer.hex());
        let root = self.dir.path().join("root");
        if !root.exists() {
            std::fs::create_dir(&root).unwrap();
            run("tar", &["-xzpf", blob.to_str().unwrap(), "-C", root.to_str().unwrap(), "--xattrs"]);
        }
        root
    }

    fn inside(&self, command: &[&str]) -> String {
        let root = self.unpacked();
        // A loader needs /proc to know where its program is. The mount goes with its namespace.
        let script = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
        let before = ["--mount", "sh", "-c", script, root.to_str().unwrap()];
        run("unshare", &before.iter().chain(command).copied().collect::<Vec<_>>())
    }

    fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        onggi_fs::write_atomic(
            onggi_fs::Root::open(path.parent().unwrap()).unwrap(),
            path.file_name().unwrap(),
            content.as_bytes(),
            mode,
            onggi_fs::Durability::Volatile,
        )
        .unwrap();
        path
    }

    /// Compiles a C program with `compiler`.
    fn compiled(&self, compiler: &str, name: &str, source: &str, options: &[&str]) -> PathBuf {
        let source = self.file(&format!("{name}.c"), source, 0o644);
        let program = self.dir.path().join(name);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        let plain = ["-o", program.to_str().unwrap(), source.to_str().unwrap()];
        run(compiler, &plain.iter().chain(options).copied().collect::<Vec<_>>());
        program
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests' judges are programs: tar, chroot, cc")]
fn output(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments).unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_static_busybox_is_a_system() {
    needs!("root", "busybox");
    if busybox::find_static(&search_path(&[])).unwrap().is_none() {
        return skip("a_static_busybox_is_a_system", "the busybox here is not static");
    }
    let place = Place::new();
    let made = place.make(BootstrapSource::Default).unwrap();
    assert_eq!(place.inside(&["/bin/sh", "-c", "cd /tmp; echo a b | awk '{print $2}'; ls -d /tmp"]), "b\n/tmp\n");
    let release = place.inside(&["cat", "/etc/os-release"]);
    assert!(release.contains("ID=onggi-bootstrap") && release.contains("BusyBox v1"), "{release}");
    let image = place.image();
    place.images.ensure_unpacked(&image).unwrap();
    assert_eq!(image.id, made.id);
    assert_eq!(image.configuration.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    assert_eq!(image.configuration.architecture, onggi_oci::Platform::host().architecture);
    assert_eq!(
        place.inside(&["stat", "-c", "%a %U", "/tmp", "/root", "/bin/busybox"]),
        "1777 root\n700 root\n755 root\n"
    );
}

#[test]
fn programs_come_with_exactly_what_they_load() {
    needs!("root", "bash");
    let place = Place::new();
    let made = place.programs(&["bash", "ls", "sh", "date"]).unwrap();
    assert_eq!(
        place.inside(&["/bin/bash", "-c", "ls -d /etc; echo $BASH_VERSION | cut -c1 || :; date +%Z"]),
        "/etc\nUTC\n"
    );
    // The judge: the loader itself.
    for program in ["/bin/bash", "/bin/ls"] {
        let ours: Vec<_> = made.taken.iter().map(|taken| taken.path.clone()).collect();
        for line in run("ldd", &[program]).lines().filter_map(|line| line.split_once("=> ")) {
            let library = Path::new(line.1.split(' ').next().unwrap()).canonicalize().unwrap();
            assert!(ours.contains(&library), "{} of {program} not in {ours:?}", library.display());
        }
    }
    let libraries = made.taken.iter().filter(|taken| matches!(taken.reason, Reason::Library(_))).count();
    let files = run("find", &[place.unpacked().to_str().unwrap(), "-name", "lib*.so*", "-type", "f"]);
    assert_eq!(files.lines().count(), libraries, "{files}");
    let release = std::fs::read("/etc/os-release").unwrap();
    assert_eq!(std::fs::read(place.unpacked().join("etc/os-release")).unwrap(), release);
}

#[test]
fn without_a_busybox_it_is_the_usual_programs() {
    needs!("root", "sh");
    let place = Place::new();
    let name = Reference::parse("made").unwrap();
    let request = BootstrapRequest { name, source: BootstrapSource::Default, search: Vec::new(), latest: None };
    place.images.seal_tree(&request, gather::usual(&search_path(&[])).unwrap()).unwrap();
    let script = "for word in b a; do echo $word; done | sort | head -n 1 | tr a x; find /etc -name passwd | xargs ls";
    assert_eq!(place.inside(&["/bin/sh", "-c", script]), "x\n/etc/passwd\n");
}

#[test]
fn programs_with_tls_know_whom_to_trust() {
    needs!("root", "openssl");
    if !Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
        return skip("programs_with_tls_know_whom_to_trust", "needs Debian's ca-certificates");
    }
    let place = Place::new();
    place.programs(&["openssl", "sh"]).unwrap();
    // OPENSSLDIR: "/usr/lib/ssl"
    let home = place.inside(&["/usr/bin/openssl", "version", "-d"]);
    let file = format!("{}/cert.pem", home.split('"').nth(1).unwrap());
    let subject = place.inside(&["/usr/bin/openssl", "x509", "-in", &file, "-noout", "-subject"]);
    assert!(subject.starts_with("subject="), "{subject}");
}

#[test]
fn the_same_again_is_the_same_image() {
    let (one, two) = (Place::new(), Place::new());
    let first = one.programs(&["sh", "ls"]).unwrap();
    let second = two.programs(&["sh", "ls"]).unwrap();
    assert_eq!(first.target, second.target);
    let name = Reference::parse("old").unwrap();
    let source = BootstrapSource::Programs(vec!["sh".into()]);
    let request = BootstrapRequest { name, source, search: Vec::new(), latest: Some(1_000_000_000) };
    two.images.bootstrap(&request).unwrap();
    let old = two.images.resolve("old").unwrap();
    assert_eq!(old.configuration.created.as_deref(), Some("2001-09-09T01:46:40Z"));
}

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";

#[test]
fn a_program_of_musl_brings_its_loader() {
    needs!("root", "musl-gcc");
    let place = Place::new();
    let program = place.compiled("musl-gcc", "bin/hello", HELLO, &[]);
    let made = place.programs(&[program.to_str().unwrap()]).unwrap();
    assert_eq!(place.inside(&[program.to_str().unwrap()]), "hello\n");
    assert!(made.taken.iter().any(|taken| matches!(taken.reason, Reason::Loader(_))), "{:?}", made.taken);
    assert!(!made.taken.iter().any(|taken| taken.path.ends_with("libc.so.6")), "{:?}", made.taken);
}

#[test]
fn a_static_program_comes_alone() {
    needs!("root", "cc");
    let place = Place::new();
    let program = place.compiled("cc", "hello", HELLO, &["-static"]);
    let made = place.programs(&[program.to_str().unwrap()]).unwrap();
    assert_eq!(made.taken.len(), 1, "{:?}", made.taken);
    assert_eq!(place.inside(&[program.to_str().unwrap()]), "hello\n");
    assert_eq!(place.image().configuration.config.cmd, None);
}

#[test]
fn libraries_beside_the_program_are_found_as_the_loader_finds_them() {
    needs!("root", "cc");
    let place = Place::new();
    let part = "int inner(void); int outer(void) { return inner(); }";
    let lib = place.dir.path().join("lib");
    place.compiled("cc", "lib/libinner.so", "int inner(void) { return 7; }", &["-shared", "-fPIC"]);
    let dir = format!("-L{}", lib.display());
    // RPATH of the program is for the libraries of its libraries too; RUNPATH is not.
    place.compiled("cc", "lib/libouter.so", part, &["-shared", "-fPIC", &dir, "-linner"]);
    let main = "int outer(void); int main(void) { return outer() - 7; }";
    let rpath = ["-Wl,--disable-new-dtags", "-Wl,-rpath,$ORIGIN/../lib", &dir, "-louter", "-linner", "-Wl,--as-needed"];
    let program = place.compiled("cc", "bin/old", main, &rpath);
    place.programs(&[program.to_str().unwrap()]).unwrap();
    place.inside(&[program.to_str().unwrap()]);

    let runpath = ["-Wl,--enable-new-dtags", "-Wl,-rpath,$ORIGIN/../lib", "-Wl,-rpath-link", lib.to_str().unwrap()];
    let options: Vec<&str> = ["-Wl,--as-needed", &dir, "-louter"].into_iter().chain(runpath).collect();
    let program = place.compiled("cc", "bin/new", main, &options);
    let error = place.programs(&[program.to_str().unwrap()]).unwrap_err();
    assert!(output(program.to_str().unwrap(), &[]).is_ok_and(|output| !output.status.success()), "the loader agrees");
    let text = error.to_string();
    assert!(text.starts_with("cannot find library `libinner.so`, which ") && text.contains("libouter.so"), "{text}");
}

#[test]
fn a_script_brings_what_runs_it() {
    needs!("root", "bash");
    let place = Place::new();
    let script = place.file("bin/greet", "#!/usr/bin/env -S bash -e\necho \"from $BASH\" | cat -\n", 0o755);
    let made = place.programs(&[script.to_str().unwrap(), "cat"]).unwrap();
    assert!(place.inside(&[script.to_str().unwrap()]).contains("bash"));
    let reasons: Vec<_> = made.taken.iter().filter(|taken| matches!(taken.reason, Reason::Interpreter(_))).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
}

#[test]
fn a_program_runs_by_its_name_wherever_it_was_found() {
    needs!("root", "bash");
    let place = Place::new();
    let own = place.file("own/greet", "#!/usr/bin/env bash\necho from here\n", 0o755);
    place.file("own/bash", "#!/bin/sh\nexit 9\n", 0o755);
    let request = BootstrapRequest {
        name: Reference::parse("made").unwrap(),
        source: BootstrapSource::Programs(vec!["greet".into(), "env".into()]),
        search: vec![own.parent().unwrap().to_owned(), "/bin".into()],
        latest: None,
    };
    place.images.bootstrap(&request).unwrap();
    assert_eq!(place.inside(&["env", "PATH=/usr/local/bin:/usr/bin:/bin", "greet"]), "from here\n");
}

#[test]
fn python_brings_its_library() {
    let python = Path::new("/usr/bin/python3");
    needs!("root");
    if !python.exists() {
        return skip("python_brings_its_library", "needs /usr/bin/python3");
    }
    let place = Place::new();
    place.programs(&["/usr/bin/python3"]).unwrap();
    let program = "import json, hashlib, ctypes, zlib; print(json.dumps([1]))";
    assert_eq!(place.inside(&["/usr/bin/python3", "-c", program]), "[1]\n");
}

#[test]
fn what_cannot_be_taken_is_named() {
    let place = Place::new();
    let text = |result: Result<Bootstrapped, BootstrapError>| result.unwrap_err().to_string();
    let missing = text(place.programs(&["sh", "no-such-program"]));
    assert!(missing.starts_with("no program `no-such-program` in /usr/local/sbin, "), "{missing}");
    assert_eq!(text(place.programs(&["./no-such-program"])), "no program `./no-such-program`");
    let data = place.file("data", "just text", 0o755);
    assert!(text(place.programs(&[data.to_str().unwrap()])).ends_with("is neither an ELF program nor a script"));
    let script = place.file("script", "#!/no/such/shell\n", 0o755);
    let lost = text(place.programs(&[script.to_str().unwrap()]));
    assert!(lost.starts_with("cannot find /no/such/shell, which /"), "{lost}");
    let cut = place.file("cut", "\x7fELF\u{2}\u{1}\u{1}", 0o755);
    assert!(place.programs(&[cut.to_str().unwrap()]).is_err());
    let ring = place.dir.path().join("ring");
    symlink("ring", &ring).unwrap();
    assert!(place.programs(&[ring.to_str().unwrap()]).is_err());
    // And none of it is called anything.
    assert!(place.images.resolve("made").is_err());
}

#[test]
fn a_file_or_directory_is_taken_as_it_is() {
    let place = Place::new();
    place.file("share/a/one", "1", 0o644);
    let two = place.file("share/two", "2", 0o600);
    symlink("a/one", place.dir.path().join("share/link")).unwrap();
    let share = place.dir.path().join("share");
    place.programs(&["sh", share.to_str().unwrap(), two.to_str().unwrap()]).unwrap();
    let there = place.unpacked().join(share.strip_prefix("/").unwrap());
    assert_eq!(std::fs::read_to_string(there.join("link")).unwrap(), "1");
    assert_eq!(there.join("two").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_whole_directory_keeps_what_it_has() {
    needs!("root", "mkfifo");
    let place = Place::new();
    let tree = place.dir.path().join("tree");
    place.file("tree/bin/sh", "#!/bin/none\n", 0o4755);
    place.file("tree/etc/a", "content", 0o640);
    std::fs::hard_link(tree.join("etc/a"), tree.join("etc/b")).unwrap();
    symlink("/etc/a", tree.join("etc/link")).unwrap();
    run("mkfifo", &[tree.join("fifo").to_str().unwrap()]);
    run("mknod", &[tree.join("null").to_str().unwrap(), "c", "1", "3"]);
    run("chown", &["12:34", tree.join("etc/a").to_str().unwrap()]);
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let made = place.make(BootstrapSource::Rootfs(tree.clone())).unwrap();
    let list = |root: &Path| {
        run(
            "sh",
            &[
                "-c",
                &format!(
                    "cd {}; find . ! -name socket ! -path . -printf '%p %y %m %U %G %n %l %Ts\n' | sort",
                    root.display()
                ),
            ],
        )
    };
    assert_eq!(list(&place.unpacked()), list(&tree));
    assert_eq!(made.entries, 8);
    assert_eq!(place.image().configuration.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    let again = Place::new();
    assert_eq!(again.make(BootstrapSource::Rootfs(tree.clone())).unwrap().target, made.target);
    let empty = place.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(matches!(place.make(BootstrapSource::Rootfs(empty)), Err(BootstrapError::Empty { .. })));
    assert!(matches!(place.make(BootstrapSource::Rootfs("/no/such".into())), Err(BootstrapError::Read { .. })));
}

#[test]
fn an_archive_is_taken_whole_however_it_is_packed() {
    needs!("root", "tar");
    let place = Place::new();
    place.file("tree/usr/bin/sh", "x", 0o755);
    symlink("usr/bin", place.dir.path().join("tree/bin")).unwrap();
    place.file("tree/sparse", "", 0o644);
    let sparse = place.dir.path().join("tree/sparse");
    run("truncate", &["-s", "1M", sparse.to_str().unwrap()]);
    run("sh", &["-c", &format!("printf end >> {}", sparse.display())]);
    let dir = place.dir.path().to_str().unwrap();
    let mut made = Vec::new();
    for (option, name) in [("-c", "plain.tar"), ("-cz", "small.tar.gz"), ("-cS", "sparse.tar")] {
        let file = format!("{dir}/{name}");
        run("tar", &["-C", &format!("{dir}/tree"), option, "-f", &file, "--sort=name", "."]);
        made.push(place.make(BootstrapSource::Tar(file.into())).unwrap().id);
    }
    made.dedup();
    assert_eq!(made.len(), 1);
    assert_eq!(std::fs::read(place.unpacked().join("sparse")).unwrap().len(), 1024 * 1024 + 3);
    assert_eq!(place.image().configuration.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    let wrong = place.file("wrong.tar", &"no archive at all ".repeat(100), 0o644);
    assert!(matches!(place.make(BootstrapSource::Tar(wrong)), Err(BootstrapError::Archive { .. })));
    let cut = std::fs::read(format!("{dir}/plain.tar")).unwrap();
    let cut = place.file("cut.tar", std::str::from_utf8(&cut[..5000]).unwrap_or(""), 0o644);
    assert!(place.make(BootstrapSource::Tar(cut)).is_err());
}
