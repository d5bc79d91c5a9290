//! Images without a registry: archives in and out, names, what other tools say of the store.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use onggi_testkit::{Docker, Onggi, Podman, Rootfs, captured, needs};
use serde_json::Value;

use crate::{BINARY, with_busybox};

fn say(onggi: &Onggi, image: &str) -> String {
    onggi.run(["run", "--rm", "--network", "none", image, "echo", "runs"]).ok().unwrap().stdout
}

#[test]
fn names_come_and_go() {
    needs!("root");
    let onggi = with_busybox();
    onggi.run(["tag", "bb", "registry.example.com/team/tool:1.0"]).ok().unwrap();
    let listed = onggi.run(["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).stdout;
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("bb:latest ") && lines[1].starts_with("registry.example.com/team/tool:1.0 "),
        "{listed}"
    );
    let id = lines[0].split(' ').nth(1).unwrap().to_owned();
    assert_eq!(say(&onggi, &id), "runs\n");
    let refused = onggi.run(["rmi", &id]);
    assert!(refused.code == 1, "an image with two names goes by its ID only when forced: {refused:?}");
    onggi.run(["rmi", "bb"]).ok().unwrap();
    assert_eq!(say(&onggi, "registry.example.com/team/tool:1.0"), "runs\n");
    let last = onggi.run(["rmi", "registry.example.com/team/tool:1.0"]).ok().unwrap().stdout;
    assert!(last.contains("Untagged: ") && last.contains("Deleted: sha256:"), "{last}");
    assert_eq!(onggi.run(["images", "-q"]).stdout, "");
    onggi.run(["system", "prune", "-f"]).ok().unwrap();
    let blobs = std::fs::read_dir(onggi.data().join("images/blobs/sha256")).map(Iterator::count).unwrap_or(0);
    let layers = std::fs::read_dir(onggi.data().join("layers")).unwrap().flatten();
    let layers: Vec<_> = layers
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("sha256"))
        .collect();
    assert_eq!((blobs, layers.len()), (0, 0), "blobs and layers without an owner: {layers:?}");
}

#[test]
fn an_image_in_use_stays() {
    needs!("root");
    let onggi = with_busybox();
    onggi.run(["run", "-d", "--name", "box", "--network", "none", "bb", "sleep", "1000"]).ok().unwrap();
    let refused = onggi.run(["rmi", "bb"]);
    assert!(refused.code == 1 && refused.stderr.contains("uses it"), "{refused:?}");
    onggi.run(["image", "prune", "-a", "-f"]).ok().unwrap();
    assert_eq!(onggi.run(["exec", "box", "echo", "here"]).stdout, "here\n");
    assert_eq!(say(&onggi, "bb"), "runs\n");
}

#[test]
fn skopeo_reads_the_store_in_place() {
    needs!("root", "skopeo");
    let onggi = with_busybox();
    let images = onggi.data().join("images");
    let listed: Value = serde_json::from_slice(&std::fs::read(images.join("index.json")).unwrap()).unwrap();
    let name = listed["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned();
    let inspected =
        captured(Command::new("skopeo").args(["inspect", &format!("oci:{}:{name}", images.display())])).unwrap();
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Os"], "linux");
    let out = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", out.path().display());
    captured(Command::new("skopeo").args(["copy", "--quiet", &format!("oci:{}:{name}", images.display()), &to]))
        .unwrap();
}

#[test]
fn what_onggi_saves_others_load() {
    needs!("root", "skopeo", "podman");
    let onggi = with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("bb.tar");
    onggi.run(["save", "-o", archive.to_str().unwrap(), "bb"]).ok().unwrap();
    captured(Command::new("skopeo").args(["inspect", &format!("docker-archive:{}", archive.display())])).unwrap();
    let podman = Podman::new().unwrap().unwrap();
    podman.run(&["load", "-q", "-i", archive.to_str().unwrap()]).unwrap();
    assert_eq!(podman.run_container(&["bb:latest", "echo", "runs"]).unwrap(), "runs\n");
}

#[test]
fn what_others_save_onggi_loads() {
    needs!("root", "skopeo", "umoci");
    let onggi = with_busybox();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    onggi.run(["save", "-o", &at("bb.tar"), "bb"]).ok().unwrap();
    let source = format!("docker-archive:{}", at("bb.tar"));
    for (number, (to, file, options)) in [
        (format!("docker-archive:{}:made/docker:v1", at("docker.tar")), at("docker.tar"), &[][..]),
        (format!("oci-archive:{}:made/oci:v1", at("oci.tar")), at("oci.tar"), &[]),
        (format!("oci-archive:{}:made/zstd:v1", at("zstd.tar")), at("zstd.tar"), &["--dest-compress-format", "zstd"]),
    ]
    .into_iter()
    .enumerate()
    {
        captured(Command::new("skopeo").args(["copy", "--quiet"]).args(options).args([&source, &to])).unwrap();
        let fresh = Onggi::new(BINARY).unwrap();
        let loaded = fresh.run(["load", "-i", &file]).ok().unwrap_or_else(|error| panic!("{number} {to}: {error}"));
        let name = loaded.stdout.trim().rsplit(' ').next().unwrap().to_owned();
        assert_eq!(say(&fresh, &name), "runs\n", "{to}: {}", loaded.stdout);
    }
    // umoci adds a layer of its own making to the image.
    let layout = at("umoci");
    captured(Command::new("skopeo").args(["copy", "--quiet", &source, &format!("oci:{layout}:base")])).unwrap();
    captured(Command::new("umoci").args(["unpack", "--image", &format!("{layout}:base"), &at("bundle")])).unwrap();
    std::fs::write(Path::new(&at("bundle")).join("rootfs/added"), "by umoci\n").unwrap();
    std::fs::remove_file(Path::new(&at("bundle")).join("rootfs/bin/vi")).unwrap();
    captured(Command::new("umoci").args(["repack", "--image", &format!("{layout}:made"), &at("bundle")])).unwrap();
    std::fs::write(at("note"), "inserted\n").unwrap();
    // Its archives of single files end right behind the file's data.
    captured(Command::new("umoci").args(["insert", "--image", &format!("{layout}:made"), &at("note"), "/note"]))
        .unwrap();
    captured(Command::new("tar").args(["-C", &layout, "-cf", &at("umoci.tar"), "."])).unwrap();
    let fresh = Onggi::new(BINARY).unwrap();
    fresh.run(["load", "-i", &at("umoci.tar")]).ok().unwrap();
    let names = fresh.run(["images", "--format", "{{.Repository}}:{{.Tag}}"]).stdout;
    let made = names.lines().find(|name| name.contains("made")).unwrap_or_else(|| panic!("{names}"));
    let ran = fresh.run([
        "run",
        "--rm",
        "--network",
        "none",
        made,
        "sh",
        "-c",
        "cat /added /note; test -e /bin/vi || echo removed",
    ]);
    assert_eq!(ran.stdout, "by umoci\ninserted\nremoved\n", "{}", ran.stderr);
}

#[test]
fn what_docker_saves_onggi_loads() {
    needs!("root");
    let Some(docker) = Docker::start().unwrap() else {
        onggi_testkit::skip("images::what_docker_saves_onggi_loads", "dockerd is not installed");
        return;
    };
    let rootfs = Rootfs::busybox().unwrap().unwrap();
    docker.import(&rootfs.tar().unwrap(), "made-by-docker:v1").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("docker.tar").to_string_lossy().into_owned();
    captured(docker.command().args(["save", "-o", &archive, "made-by-docker:v1"])).unwrap();
    let onggi = Onggi::new(BINARY).unwrap();
    let loaded = onggi.run(["load", "-i", &archive]).ok().unwrap();
    assert_eq!(loaded.stdout, "Loaded image: made-by-docker:v1\n");
    assert_eq!(say(&onggi, "made-by-docker:v1"), "runs\n");
    // The same image under the same ID, and back again.
    let theirs = captured(docker.command().args(["inspect", "-f", "{{.Id}}", "made-by-docker:v1"])).unwrap();
    assert_eq!(onggi.run(["inspect", "-f", "{{.Id}}", "made-by-docker:v1"]).stdout, theirs);
    onggi.run(["tag", "made-by-docker:v1", "back:v1"]).ok().unwrap();
    onggi.run(["save", "-o", &archive, "back:v1"]).ok().unwrap();
    captured(docker.command().args(["load", "-i", &archive])).unwrap();
    let ran = captured(docker.command().args(["run", "--rm", "--network", "none", "back:v1", "echo", "runs"])).unwrap();
    assert_eq!(ran, "runs\n");
}

#[test]
fn saving_and_loading_change_nothing() {
    needs!("root");
    let onggi = with_busybox();
    let id = onggi.run(["images", "-q", "--no-trunc"]).line().to_owned();
    let archive = onggi.run_bytes(["save", "bb"]);
    let fresh = Onggi::new(BINARY).unwrap();
    fresh.feed(["load"], &archive).ok().unwrap();
    assert_eq!(fresh.run(["images", "-q", "--no-trunc"]).line(), id);
    assert_eq!(say(&fresh, "bb"), "runs\n");
}

#[test]
fn an_imported_tree_keeps_what_it_is() {
    needs!("root");
    let rootfs = Rootfs::busybox().unwrap().unwrap();
    let root = rootfs.path();
    std::fs::write(root.join("suid"), "x").unwrap();
    std::os::unix::fs::chown(root.join("suid"), Some(12), Some(34)).unwrap();
    std::fs::set_permissions(root.join("suid"), PermissionsExt::from_mode(0o4751)).unwrap();
    std::fs::hard_link(root.join("suid"), root.join("linked")).unwrap();
    symlink("/no/where", root.join("dangling")).unwrap();
    captured(Command::new("mkfifo").arg(root.join("fifo"))).unwrap();
    captured(Command::new("touch").args(["-d", "2001-02-03 04:05:06.123456789 UTC"]).arg(root.join("etc/group")))
        .unwrap();
    let onggi = Onggi::new(BINARY).unwrap();
    onggi.run(["import", rootfs.tar().unwrap().to_str().unwrap(), "tree"]).ok().unwrap();
    let script = "stat -c '%a %u %g %h' /suid /linked; readlink /dangling; stat -c %F /fifo; stat -c %Y /etc/group; [ /suid -ef /linked ] && echo same";
    let ran = onggi.run(["run", "--rm", "--network", "none", "tree", "sh", "-c", script]);
    assert_eq!(ran.stdout, "4751 12 34 2\n4751 12 34 2\n/no/where\nfifo\n981173106\nsame\n", "{}", ran.stderr);
}

#[test]
fn the_disk_that_images_share_is_counted_once() {
    needs!("root", "tar");
    let (onggi, dir) = (with_busybox(), tempfile::tempdir().unwrap());
    let archive = dir.path().join("rootfs.tar");
    std::fs::write(dir.path().join("data"), vec![7; 3 << 20]).unwrap();
    captured(Command::new("tar").arg("-C").arg(dir.path()).arg("-cf").arg(&archive).arg("data")).unwrap();
    for name in ["one", "two"] {
        onggi.run(["import", "-c", &format!("LABEL name={name}"), archive.to_str().unwrap(), name]).ok().unwrap();
    }
    let usage = || {
        let shown =
            onggi.run(["system", "df", "--format", "{{.Type}}={{.Size}}={{.Reclaimable}}"]).ok().unwrap().stdout;
        let images = shown.lines().find_map(|line| line.strip_prefix("Images=")).unwrap().to_owned();
        let (size, free) = images.split_once('=').unwrap();
        (size.to_owned(), free.to_owned())
    };
    let (size, free) = usage();
    assert_eq!(size, free, "nothing is used");
    onggi.run(["create", "--network", "none", "bb", "true"]).ok().unwrap();
    let (after, free) = usage();
    assert!(after == size && free != size, "{free} of {size}");
}

#[test]
fn history_and_inspect_tell_what_was_made() {
    needs!("root");
    let rootfs = Rootfs::busybox().unwrap().unwrap();
    let onggi = Onggi::new(BINARY).unwrap();
    let archive = rootfs.tar().unwrap();
    let words = [
        "import",
        "-m",
        "made here",
        "-c",
        "ENV A=1",
        "-c",
        "CMD [\"sh\"]",
        "-c",
        "LABEL l=v",
        archive.to_str().unwrap(),
        "tree:v1",
    ];
    onggi.run(words).ok().unwrap();
    assert_eq!(onggi.run(["history", "--format", "{{.Comment}}", "tree:v1"]).line(), "made here");
    let shown = onggi.run(["inspect", "--type", "image", "-f", "{{json .Config.Cmd}} {{.Config.Labels.l}} {{.Architecture}} {{.Os}} {{len .RootFS.Layers}} {{index .RepoTags 0}}", "tree:v1"]);
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!(shown.line(), format!("[\"sh\"] v {architecture} linux 1 tree:v1"));
}

#[test]
fn bootstrapped_images_run() {
    needs!("root");
    let onggi = Onggi::new(BINARY).unwrap();
    let made = onggi.run(["image", "bootstrap", "base"]).ok().unwrap();
    assert!(made.stdout.contains("MB") || made.stdout.contains("kB"), "{}", made.stdout);
    assert_eq!(say(&onggi, "base"), "runs\n");
    onggi.run(["image", "bootstrap", "tools", "bash", "ls", "cat"]).ok().unwrap();
    let ran = onggi.run([
        "run",
        "--rm",
        "--network",
        "none",
        "tools",
        "bash",
        "-c",
        "ls / >/dev/null && cat /etc/os-release | head -c 0; echo $BASH_VERSION",
    ]);
    assert!(ran.code != 125 && !ran.stdout.trim().is_empty(), "{ran:?}");
    let again = Onggi::new(BINARY).unwrap();
    again.run(["image", "bootstrap", "tools", "bash", "ls", "cat"]).ok().unwrap();
    let id = |onggi: &Onggi| onggi.run(["images", "-q", "--no-trunc", "tools"]).stdout;
    assert_eq!(id(&onggi), id(&again), "the same programs give the same image");
    let refused = onggi.run(["image", "bootstrap", "none", "no-such-program-here"]);
    assert!(refused.code == 1 && refused.stderr.contains("no-such-program-here"), "{refused:?}");
    assert!(onggi.run(["images", "-q", "none"]).stdout.is_empty());
}

#[test]
fn a_debootstrapped_tree_becomes_an_image() {
    needs!("root", "debootstrap");
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("debian");
    let status = Command::new("debootstrap")
        .args(["--variant=minbase", "--exclude=tzdata", "bookworm"])
        .arg(&target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    if !status.success() {
        onggi_testkit::skip("images::a_debootstrapped_tree_becomes_an_image", "debootstrap reaches no mirror");
        return;
    }
    let onggi = Onggi::new(BINARY).unwrap();
    onggi.run(["image", "bootstrap", "debian", "--rootfs", target.to_str().unwrap()]).ok().unwrap();
    let ran = onggi.run([
        "run",
        "--rm",
        "--network",
        "none",
        "debian",
        "sh",
        "-c",
        ". /etc/os-release; echo $ID; dpkg -l | wc -l; stat -c %a /tmp /usr/bin/passwd; id -u _apt",
    ]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"debian"), "{ran:?}");
    assert_eq!(lines[2..], ["1777", "4755", "42"], "{ran:?}");
}
