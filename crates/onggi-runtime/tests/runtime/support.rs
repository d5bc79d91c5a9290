//! A bundle with a busybox in it, and a state directory of its own; both gone when the test ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use onggi_testkit::Rootfs;
use serde_json::{Value, json};

/// The parent of every test's control group.
const CGROUPS: &str = "/onggi-runtime-test";

pub(crate) struct Bundle {
    pub(crate) id: String,
    pub(crate) rootfs: Rootfs,
    dir: tempfile::TempDir,
    pub(crate) config: Value,
}

/// What a command printed and ended with.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Outcome {
    /// The output of a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The error of one that must fail.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_ne!(self.code, 0, "{self:?}");
        self.err
    }
}

impl Bundle {
    /// A bundle that runs `script` in a shell; nothing where the machine has no static busybox.
    pub(crate) fn shell(script: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let rootfs = Rootfs::busybox().unwrap()?;
        let dir = tempfile::Builder::new().prefix("onggi-runtime-").tempdir().unwrap();
        let id = format!("rt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        assert!(Command::new(runtime()).args(["spec", "--bundle"]).arg(dir.path()).status().unwrap().success());
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        config["root"]["path"] = json!(rootfs.path());
        config["linux"]["cgroupsPath"] = json!(format!("{CGROUPS}/{id}"));
        Some(Self { id, rootfs, dir, config })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Adds a mount.
    pub(crate) fn mount(&mut self, mount: Value) {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// Adds a namespace.
    pub(crate) fn namespace(&mut self, namespace: Value) {
        self.config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
    }

    /// Makes every user another one on the host.
    pub(crate) fn map_users(&mut self) {
        self.namespace(json!({ "type": "user" }));
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        self.config["linux"]["uidMappings"] = map.clone();
        self.config["linux"]["gidMappings"] = map;
    }

    /// The runtime with this test's state directory, standing in the bundle.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        std::fs::write(self.dir.path().join("config.json"), self.config.to_string()).unwrap();
        let mut command = Command::new(runtime());
        command.arg("--root").arg(self.dir.path().join("state")).args(args);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub(crate) fn call(&self, args: &[&str]) -> Outcome {
        self.command(args).output().unwrap().into()
    }

    /// Runs the container in the foreground.
    pub(crate) fn run(&self) -> Outcome {
        self.call(&["run", &self.id])
    }

    /// Makes the container; its standard streams are nobody's.
    pub(crate) fn create(&self) -> Outcome {
        let mut command = self.command(&["create", &self.id]);
        // The first process keeps what it is given: a pipe here would never end.
        let log = self.dir.path().join("create.log");
        let status = command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).status().unwrap();
        Outcome { code: status.code().unwrap_or(-1), out: String::new(), err: std::fs::read_to_string(&log).unwrap() }
    }

    /// Makes and starts it.
    #[track_caller]
    pub(crate) fn start(&self) {
        self.create().ok();
        self.call(&["start", &self.id]).ok();
    }

    pub(crate) fn exec(&self, script: &str) -> Outcome {
        self.call(&["exec", &self.id, "/bin/sh", "-c", script])
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.call(&["state", &self.id]).ok()).unwrap()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Everything of the container that is still there.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        let groups = hierarchies
            .chain([PathBuf::from("/sys/fs/cgroup")])
            .map(|hierarchy| hierarchy.join(CGROUPS.trim_start_matches('/')).join(&self.id));
        groups.chain([self.dir.path().join("state").join(&self.id)]).filter(|path| path.exists()).collect()
    }

    /// Where the kernel keeps this container's limits for `controller`, on v1 or v2.
    pub(crate) fn cgroup_file(&self, controller: &str, v1: &str, v2: &str) -> String {
        let place = format!("{CGROUPS}/{}", self.id);
        let old = format!("/sys/fs/cgroup/{controller}{place}/{v1}");
        let text =
            std::fs::read_to_string(old).or_else(|_| std::fs::read_to_string(format!("/sys/fs/cgroup{place}/{v2}")));
        text.unwrap().trim().to_owned()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        drop(self.command(&["delete", "--force", &self.id]).output());
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            // Others may have theirs in it, and runc leaves its own behind.
            drop(std::fs::remove_dir(hierarchy.path().join(CGROUPS.trim_start_matches('/')).join(&self.id)));
            drop(std::fs::remove_dir(hierarchy.path().join(CGROUPS.trim_start_matches('/'))));
        }
    }
}

/// The runtime under test: ours is an example program, built beside the tests.
pub(crate) fn runtime() -> PathBuf {
    if let Some(other) = std::env::var_os("ONGGI_UNDER_TEST") {
        return other.into();
    }
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples/runtime")
}

/// The bundle, or the end of a test that this machine cannot run.
macro_rules! bundle {
    ($script:expr) => {{
        onggi_testkit::needs!("root");
        match crate::support::Bundle::shell($script) {
            Some(bundle) => bundle,
            None => {
                onggi_testkit::skip(module_path!(), "needs a static busybox");
                return;
            }
        }
    }};
}
pub(crate) use bundle;

/// The end of a test that another runtime might fail at the host's cost.
macro_rules! ours {
    () => {
        if std::env::var_os("ONGGI_UNDER_TEST").is_some() {
            return onggi_testkit::skip(module_path!(), "attacks the machine that another runtime runs on");
        }
    };
}
pub(crate) use ours;
