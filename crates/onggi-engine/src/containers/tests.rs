//! Half-states, planted as a crash would leave them, and what the next command makes of them.

use std::path::Path;

use onggi_fs::Durability;
use onggi_image::Images;
use onggi_oci::image::{Config, RootFs};
use onggi_oci::{Descriptor, ImageConfiguration, ImageManifest, Reference, media_type};
use onggi_sys::file;

use super::layout::{self, MAKING, REMOVING};
use super::*;
use crate::{CreateContainer, ListContainers, Paths, RemoveContainer, Status};

/// An engine on directories of its own, with an image `box` that has no layers.
struct Bench {
    _dir: tempfile::TempDir,
    engine: Engine,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Paths { data: dir.path().join("data"), run: dir.path().join("run") }).unwrap();
        store_image(&engine.images().unwrap());
        Self { _dir: dir, engine }
    }

    fn containers(&self) -> Containers<'_> {
        self.engine.containers()
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.engine.paths().data.join(below)
    }

    fn create(&self, name: &str) -> ContainerId {
        self.containers().create(&request(name)).unwrap().id
    }

    fn names(&self) -> Vec<String> {
        let all = ListContainers { all: true, ..ListContainers::default() };
        self.containers().list(&all).unwrap().iter().map(|one| one.name.to_string()).collect()
    }

    /// Nothing of any container is anywhere.
    fn assert_empty(&self) {
        for place in ["containers/.making", "containers/.removing", "containers/.names", "layers/writable"] {
            let left: Vec<_> = entries(&self.path(place)).into_iter().filter(|name| !name.starts_with('.')).collect();
            assert!(left.is_empty(), "{place}: {left:?}");
        }
        let volumes = entries(&self.path("volumes"));
        assert!(volumes.is_empty(), "volumes: {volumes:?}");
        assert!(self.names().is_empty());
        assert_eq!(entries(&self.engine.paths().running()), [""; 0]);
    }
}

fn entries(path: &Path) -> Vec<String> {
    let Ok(listed) = std::fs::read_dir(path) else { return Vec::new() };
    listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn request(name: &str) -> CreateContainer {
    CreateContainer {
        image: "box".to_owned(),
        name: Some(name.parse().unwrap()),
        network: crate::NetworkMode::None,
        volumes: vec!["/anonymous".parse().unwrap()],
        ..CreateContainer::default()
    }
}

fn store_image(images: &Images) {
    let configuration = ImageConfiguration {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        config: Config { cmd: Some(vec!["sh".to_owned()]), ..Config::default() },
        rootfs: RootFs::default(),
        ..ImageConfiguration::default()
    };
    let lease = images.store().lease().unwrap();
    let config = lease.put(media_type::IMAGE_CONFIG, &configuration.to_bytes()).unwrap();
    let manifest = serde_json::to_vec(&ImageManifest::new(config, Vec::new())).unwrap();
    let target: Descriptor = lease.put(media_type::IMAGE_MANIFEST, &manifest).unwrap();
    images.store().tag(&Reference::parse("box").unwrap(), &target).unwrap();
}

#[test]
fn made_found_listed_and_removed() {
    let bench = Bench::new();
    let id = bench.create("keen-plum");
    let containers = bench.containers();
    for given in ["keen-plum", "/keen-plum", id.as_str(), id.short(), &id.as_str()[..3]] {
        assert_eq!(containers.find(given).unwrap(), id, "{given}");
    }
    assert_eq!(bench.names(), ["keen-plum"]);
    assert_eq!(containers.list(&ListContainers::default()).unwrap(), []);
    assert!(matches!(containers.create(&request("keen-plum")), Err(Error::NameTaken { owner, .. }) if owner == id));
    assert!(matches!(containers.kill(&id, 15), Err(Error::NotRunning(_))));
    containers.stop(&id, None, crate::Patience::Configured).unwrap();
    assert_eq!(containers.wait(&id).unwrap().code, 0);
    containers.remove(&id, RemoveContainer { force: false, volumes: true }).unwrap();
    assert!(matches!(containers.find("keen-plum"), Err(Error::NoSuchContainer(_))));
    assert!(matches!(containers.find(id.short()), Err(Error::NoSuchContainer(_))));
    bench.assert_empty();
}

#[test]
fn everything_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let id = bench.create("keen-plum");
    for below in ["", "containers", &format!("containers/{id}"), "containers/.names", "volumes", "layers", "images"] {
        let mode = std::fs::metadata(bench.path(below)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{below}");
    }
}

#[test]
fn a_refused_request_leaves_nothing() {
    let bench = Bench::new();
    let mut bad = request("keen-plum");
    bad.security.cap_add = vec!["NONSENSE".to_owned()];
    assert!(bench.containers().create(&bad).is_err());
    let missing = CreateContainer { image: "absent".to_owned(), ..request("keen-plum") };
    assert!(matches!(bench.containers().create(&missing), Err(Error::NoSuchImage(_))));
    drop(bench.create("keen-plum"));
    // Fails after the directory was made: the name is taken.
    assert!(bench.containers().create(&request("keen-plum")).is_err());
    assert_eq!(bench.names(), ["keen-plum"]);
    assert_eq!(entries(&bench.path("layers/writable")).len(), 1);
    assert_eq!(entries(&bench.path("volumes")).len(), 1);
}

#[test]
fn a_beginning_of_two_ids_is_not_enough() {
    let bench = Bench::new();
    let ids: Vec<_> = (0..17).map(|number| bench.create(&format!("one-{number}"))).collect();
    // Of seventeen ids, two begin with the same digit.
    let digit = (0..16)
        .map(|digit| format!("{digit:x}"))
        .find(|digit| ids.iter().filter(|id| id.as_str().starts_with(digit)).count() > 1)
        .unwrap();
    assert!(matches!(bench.containers().find(&digit), Err(Error::Ambiguous { .. })));
}

/// Moves a whole container back to `.making`, as if its maker had died just before the last step.
fn half_made(bench: &Bench, name: &str) -> ContainerId {
    let id = bench.create(name);
    let making = format!("{MAKING}/{id}");
    std::fs::rename(bench.path("containers").join(id.as_str()), bench.path("containers").join(making)).unwrap();
    id
}

#[test]
fn half_made_is_undone() {
    let bench = Bench::new();
    drop(half_made(&bench, "keen-plum"));
    assert!(bench.names().is_empty());
    bench.containers().sweep();
    bench.assert_empty();
}

#[test]
fn what_is_being_made_is_left_alone() {
    let bench = Bench::new();
    let id = half_made(&bench, "keen-plum");
    let dir = bench.engine.containers.dir(format!("{MAKING}/{id}")).unwrap();
    let maker = layout::try_lock(dir, &id).unwrap().unwrap();
    bench.containers().sweep();
    assert!(matches!(bench.containers().create(&request("keen-plum")), Err(Error::NameTaken { .. })));
    layout::publish(&bench.engine.containers, &id).unwrap();
    drop(maker);
    assert_eq!(bench.containers().find("keen-plum").unwrap(), id);
}

#[test]
fn a_directory_of_nothing_is_undone() {
    let bench = Bench::new();
    drop(layout::begin(&bench.engine.containers, &ContainerId::random().unwrap()).unwrap());
    bench.containers().sweep();
    bench.assert_empty();
}

#[test]
fn half_removed_is_finished() {
    let bench = Bench::new();
    let id = bench.create("keen-plum");
    let dir = bench.containers().dir(&id).unwrap();
    onggi_fs::create_new(&dir, "remove-volumes", b"", 0o600, Durability::Volatile).unwrap();
    layout::condemn(&bench.engine.containers, &id, None).unwrap();
    // The name is free at once, before anybody has tidied up.
    let next = bench.create("keen-plum");
    assert!(entries(&bench.path("containers").join(REMOVING)).iter().all(|name| name.starts_with('.')));
    assert_eq!(bench.containers().find("keen-plum").unwrap(), next);
    bench.containers().remove(&next, RemoveContainer { force: false, volumes: true }).unwrap();
    bench.assert_empty();
}

/// Leaves the container as a monitor that was killed does.
fn orphaned(bench: &Bench, id: &ContainerId) {
    let dir = bench.containers().dir(id).unwrap();
    let state = State { status: Status::Running, pid: Some(1), ..State::created() };
    state.save(&dir, Durability::Volatile).unwrap();
    let running = bench.engine.paths().running_container(id);
    std::fs::create_dir(&running).unwrap();
    let running = onggi_fs::Root::open(running).unwrap();
    drop(onggi_sys::unix::listen_at(running, "monitor.sock", file::Mode::RUSR, 1).unwrap());
}

#[test]
fn a_container_outlives_its_monitor_by_nothing() {
    let bench = Bench::new();
    let id = bench.create("keen-plum");
    orphaned(&bench, &id);
    let containers = bench.containers();
    // A list tells the truth and touches nothing.
    let all = ListContainers { all: true, ..ListContainers::default() };
    let listed = containers.list(&all).unwrap();
    assert_eq!((listed[0].status, listed[0].exit_code), (Status::Exited, Some(137)));
    assert_eq!(containers.list(&ListContainers::default()).unwrap(), []);
    let shown = containers.inspect(&id).unwrap();
    assert_eq!(shown["State"]["Status"], "exited");
    assert_eq!(shown["State"]["ExitCode"], 137);
    assert_ne!(shown["State"]["FinishedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(containers.wait(&id).unwrap().code, 137);
    assert!(!bench.engine.paths().running_container(&id).exists());
    assert!(matches!(containers.kill(&id, 15), Err(Error::NotRunning(_))));
}

#[test]
fn with_rm_it_goes_altogether() {
    let bench = Bench::new();
    let request = CreateContainer { auto_remove: true, ..request("keen-plum") };
    let id = bench.containers().create(&request).unwrap().id;
    orphaned(&bench, &id);
    assert!(matches!(bench.containers().inspect(&id), Err(Error::NoSuchContainer(_))));
    bench.assert_empty();
}

#[test]
fn the_name_of_one_that_goes_altogether_is_free() {
    let bench = Bench::new();
    let request = CreateContainer { auto_remove: true, ..request("keen-plum") };
    let id = bench.containers().create(&request).unwrap().id;
    orphaned(&bench, &id);
    assert_ne!(bench.containers().create(&request).unwrap().id, id);
    assert_eq!(bench.names(), ["keen-plum"]);
}

#[test]
fn a_removal_that_its_monitor_did_not_finish_is_finished() {
    let bench = Bench::new();
    let request = CreateContainer { auto_remove: true, ..request("keen-plum") };
    let id = bench.containers().create(&request).unwrap().id;
    let state = State { status: Status::Exited, exit_code: Some(0), ..State::created() };
    state.save(bench.containers().dir(&id).unwrap(), Durability::Volatile).unwrap();
    assert!(matches!(bench.containers().inspect(&id), Err(Error::NoSuchContainer(_))));
    bench.assert_empty();
}

#[test]
fn a_running_one_is_not_removed() {
    let bench = Bench::new();
    let id = bench.create("keen-plum");
    orphaned(&bench, &id);
    let monitor = layout::try_lock(bench.containers().dir(&id).unwrap(), &id).unwrap().unwrap();
    let refused = bench.containers().remove(&id, RemoveContainer::default());
    assert!(matches!(refused, Err(Error::Running(_))), "{refused:?}");
    assert_eq!(bench.containers().prune().unwrap(), []);
    assert_eq!(bench.containers().list(&ListContainers::default()).unwrap().len(), 1);
    drop(monitor);
    bench.containers().remove(&id, RemoveContainer { force: false, volumes: true }).unwrap();
    bench.assert_empty();
}

#[test]
fn prune_takes_what_nobody_owns() {
    let bench = Bench::new();
    for name in ["one", "two"] {
        drop(bench.create(name));
    }
    let orphan = ContainerId::random().unwrap();
    let snapshots = onggi_snapshot::Snapshots::open(bench.engine.paths().layers()).unwrap();
    snapshots.create_writable(orphan.as_str(), &[], Durability::Volatile).unwrap();
    std::fs::create_dir(bench.engine.paths().running_container(&orphan)).unwrap();
    let pruned = bench.engine.prune(true).unwrap();
    assert_eq!(pruned.containers.len(), 2);
    assert_eq!(pruned.images.len(), 2, "a name and an image: {:?}", pruned.images);
    assert!(entries(&bench.path("layers/writable")).is_empty());
    assert_eq!(entries(&bench.path("volumes")).len(), 2, "volumes are not for prune");
    assert!(bench.engine.images().unwrap().list().unwrap().is_empty());
}

#[test]
fn prune_leaves_what_is_about_to_be_started() {
    let bench = Bench::new();
    let created = bench.containers().create(&request("keen-plum")).unwrap();
    assert_eq!(bench.containers().prune().unwrap(), []);
    let id = created.id.clone();
    drop(created);
    assert_eq!(bench.containers().prune().unwrap(), [id]);
}

#[test]
fn an_image_in_use_stays() {
    let bench = Bench::new();
    drop(bench.create("keen-plum"));
    assert!(bench.engine.remove_image("box", false).is_err());
    assert!(bench.engine.prune_images(true).unwrap().removed.is_empty());
}

#[test]
fn inspect_has_dockers_shape() {
    let bench = Bench::new();
    let request = CreateContainer {
        command: vec!["echo".to_owned(), "hi".to_owned()],
        env: vec!["A=b".to_owned()],
        resources: crate::Resources { memory: Some(64 << 20), ..crate::Resources::default() },
        ..request("keen-plum")
    };
    let id = bench.containers().create(&request).unwrap().id;
    let shown = bench.containers().inspect(&id).unwrap();
    assert_eq!(shown["Id"], id.as_str());
    assert_eq!(shown["Name"], "/keen-plum");
    assert_eq!((&shown["Path"], &shown["Args"]), (&"echo".into(), &serde_json::json!(["hi"])));
    assert_eq!(shown["Config"]["Hostname"], id.short());
    assert_eq!(shown["Config"]["Env"], serde_json::json!(["A=b"]));
    assert_eq!(shown["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(shown["HostConfig"]["MemorySwap"], 128 << 20);
    assert_eq!(shown["HostConfig"]["NetworkMode"], "none");
    assert_eq!(shown["State"]["Status"], "created");
    assert_eq!(shown["State"]["Pid"], 0);
    assert_eq!(shown["Mounts"][0]["Type"], "volume");
    assert_eq!(shown["Mounts"][0]["Destination"], "/anonymous");
    assert!(shown["Created"].as_str().unwrap().ends_with('Z'));
    assert!(shown["NetworkSettings"]["Networks"]["none"].is_object());
}

#[test]
fn a_damaged_record_says_whose_it_is() {
    let bench = Bench::new();
    let id = bench.create("keen-plum");
    let dir = bench.containers().dir(&id).unwrap();
    onggi_fs::write_atomic(&dir, "container.json", b"{", 0o600, Durability::Volatile).unwrap();
    assert!(matches!(bench.containers().inspect(&id), Err(Error::Damaged { .. })));
    assert!(bench.names().is_empty());
    bench.containers().remove(&id, RemoveContainer { force: true, volumes: true }).unwrap();
    assert!(file::stat_at(&bench.engine.containers, id.as_str()).is_err());
}
