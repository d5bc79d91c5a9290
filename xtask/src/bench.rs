//! Side by side with the peers and with the least that the kernel charges, interleaved, in one run, as ratios.
//!
//! Everything runs in mount and network namespaces of the bench's own, so the machine's bridges, firewall and mounts
//! stay as they are. A peer that is not installed, or that does not start here, is named and left out.

mod contender;
mod rounds;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use onggi_testkit::{Docker, captured, compile_static, find};
use tempfile::TempDir;

use self::contender::Contender;
use self::rounds::{Budget, race};
use crate::run;

/// Set to the release binary's path once the bench is in its own namespaces.
const INSIDE: &str = "ONGGI_BENCH_BINARY";

pub(crate) fn main(args: &[String]) -> Result<()> {
    let rounds = rounds_of(args)?;
    match std::env::var_os(INSIDE) {
        Some(binary) => inside(Path::new(&binary), rounds),
        None => {
            let binary = run::release_binary()?;
            let mut again = Command::new("unshare");
            again.args(["--mount", "--net", "--propagation", "private"]).arg(std::env::current_exe()?);
            again.arg("bench").args(args).env(INSIDE, binary);
            run::visible(&mut again)
        }
    }
}

fn rounds_of(args: &[String]) -> Result<usize> {
    let mut rounds = 50;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => rounds = 10,
            "--rounds" => {
                rounds = args.next().context("--rounds takes a number")?.parse().context("--rounds takes a number")?;
            }
            other => anyhow::bail!("bench knows no `{other}`"),
        }
    }
    Ok(rounds.max(1))
}

fn inside(onggi: &Path, rounds: usize) -> Result<()> {
    let place = Place::new(onggi)?;
    println!("{rounds} rounds, interleaved; the last columns are ratios of medians\n");
    race(
        "low-level runtimes: run `true`",
        &place.runtimes()?,
        rounds,
        &[
            Budget { of: "onggi runtime", to: "crun", at_most: 0.5 },
            Budget { of: "onggi runtime", to: "floor", at_most: 2.0 },
        ],
    )?;
    let docker = place.docker()?;
    race(
        "engines: run --rm IMAGE true",
        &place.engines(docker.as_ref())?,
        rounds,
        &[
            Budget { of: "onggi", to: "docker", at_most: 1.0 / 20.0 },
            Budget { of: "onggi", to: "podman", at_most: 1.0 / 10.0 },
            Budget { of: "onggi", to: "floor --net", at_most: 4.0 },
        ],
    )?;
    race(
        "engines: exec CONTAINER true",
        &place.execs(docker.as_ref())?,
        rounds,
        &[Budget { of: "onggi exec", to: "docker exec", at_most: 1.0 / 10.0 }],
    )?;
    race("the binary: --version", &place.versions(), rounds, &[])
}

/// The scratch directory with all that the contenders run on; what is mounted or running goes with it.
struct Place {
    dir: TempDir,
    onggi: PathBuf,
    hugetlb: Option<Mounted>,
}

/// A mount of ours, taken away on drop. The mount namespace would do that too; the cgroup hierarchy's directory it would not.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(captured(Command::new("umount").arg(&self.0)));
        drop(std::fs::remove_dir(&self.0));
    }
}

impl Place {
    fn new(onggi: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("onggi-bench-").tempdir()?;
        captured(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let place = Self { dir, onggi: onggi.to_owned(), hugetlb: hugetlb() };
        let rootfs = place.rootfs();
        for name in ["bin", "dev", "proc", "sys", "etc"] {
            std::fs::create_dir_all(rootfs.join(name))?;
        }
        compile_static("int main(void) { return 0; }", &rootfs.join("bin/true"))?;
        compile_static("#include <unistd.h>\nint main(void) { for (;;) pause(); }", &rootfs.join("bin/pause"))?;
        captured(
            Command::new("cc").args(["-O2", "-o"]).arg(place.floor()).arg(run::top().join("xtask/bench/floor.c")),
        )?;
        captured(Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(place.archive()).arg("."))?;
        captured(place.onggi(&["image", "bootstrap", "bench"]).arg("--rootfs").arg(&rootfs))?;
        place.write_bundle()?;
        Ok(place)
    }

    fn rootfs(&self) -> PathBuf {
        self.dir.path().join("bundle/rootfs")
    }

    fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    fn floor(&self) -> PathBuf {
        self.dir.path().join("floor")
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("rootfs.tar")
    }

    /// What `onggi runtime spec` writes, with the command, limits and the default seccomp profile of an engine.
    fn write_bundle(&self) -> Result<()> {
        captured(Command::new(&self.onggi).args(["runtime", "spec", "--bundle"]).arg(self.bundle()))?;
        let path = self.bundle().join("config.json");
        let mut spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        // What every peer reads: nothing in it is newer.
        spec["ociVersion"] = "1.0.2".into();
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = serde_json::json!(["/bin/true"]);
        spec["linux"]["resources"]["memory"] = serde_json::json!({"limit": 256 << 20});
        spec["linux"]["resources"]["pids"] = serde_json::json!({"limit": 1000});
        spec["linux"]["seccomp"] = self.seccomp_profile()?;
        std::fs::write(path, serde_json::to_vec_pretty(&spec)?)?;
        Ok(())
    }

    /// The profile that the engine gives a container, read off one.
    fn seccomp_profile(&self) -> Result<serde_json::Value> {
        let id =
            captured(&mut self.onggi(&["run", "-d", "--name", "model", "--network", "none", "bench", "/bin/pause"]))?;
        let spec = std::fs::read(self.dir.path().join("data/containers").join(id.trim()).join("config.json"));
        captured(&mut self.onggi(&["rm", "-f", "model"]))?;
        let spec: serde_json::Value = serde_json::from_slice(&spec.context("the model container's config.json")?)?;
        Ok(spec["linux"]["seccomp"].clone())
    }

    fn onggi(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.onggi);
        command
            .args(args)
            .env("ONGGI_ROOT", self.dir.path().join("data"))
            .env("ONGGI_RUN", self.dir.path().join("run"));
        command
    }

    fn runtimes(&self) -> Result<Vec<Contender<'_>>> {
        let mut all = vec![Contender::floor("floor", move || {
            let mut command = Command::new(self.floor());
            command.args(["-n", "3"]).arg(self.rootfs());
            command
        })];
        for name in ["runc", "crun", "youki"] {
            if name == "crun" && self.hugetlb.is_none() && Path::new("/sys/fs/cgroup/unified").exists() {
                println!("crun refuses hybrid cgroups without the hugetlb hierarchy, which cannot be mounted here");
            }
            if let Some(program) = find(name) {
                let root = self.dir.path().join(name);
                all.push(Contender::numbered(name, move |number| {
                    let mut command = Command::new(&program);
                    command
                        .arg("--root")
                        .arg(&root)
                        .args(["run", "--bundle"])
                        .arg(self.bundle())
                        .arg(format!("bench-{number}"));
                    command
                }));
            }
        }
        let root = self.dir.path().join("onggi-runtime");
        all.push(Contender::numbered("onggi runtime", move |number| {
            let mut command = Command::new(&self.onggi);
            command.args(["runtime", "--root"]).arg(&root).args(["run", "--bundle"]).arg(self.bundle());
            command.arg(format!("bench-{number}"));
            command
        }));
        Ok(all)
    }

    fn docker(&self) -> Result<Option<Docker>> {
        let docker = Docker::start()?;
        match &docker {
            Some(docker) => docker.import(&self.archive(), "bench")?,
            None => println!("docker: left out, not installed"),
        }
        Ok(docker)
    }

    fn podman(&self) -> Option<Command> {
        let mut command = Command::new(find("podman")?);
        let at = |name: &str| self.dir.path().join(name);
        command
            .arg("--root")
            .arg(at("podman"))
            .arg("--runroot")
            .arg(at("podman-run"))
            .arg("--tmpdir")
            .arg(at("podman-tmp"));
        command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        Some(command)
    }

    fn engines<'p>(&'p self, docker: Option<&'p Docker>) -> Result<Vec<Contender<'p>>> {
        let mut all = vec![Contender::floor("floor --net", move || {
            let mut command = Command::new(self.floor());
            command.args(["--net", "-n", "3"]).arg(self.rootfs());
            command
        })];
        if let Some(docker) = docker {
            all.push(Contender::plain("docker", move || {
                let mut command = docker.command();
                command.args(["run", "--rm", "bench", "/bin/true"]);
                command
            }));
        }
        if let Some(mut import) = self.podman() {
            captured(import.arg("import").arg(self.archive()).arg("bench"))?;
            all.push(Contender::plain("podman", move || {
                let mut command = self.podman().unwrap_or_else(|| Command::new("podman"));
                command.args([
                    "run",
                    "--rm",
                    "--ulimit",
                    "nofile=1024:1024",
                    "--ulimit",
                    "nproc=4096:4096",
                    "localhost/bench",
                    "/bin/true",
                ]);
                command
            }));
        } else {
            println!("podman: left out, not installed");
        }
        for (name, network) in [("onggi", "bridge"), ("onggi --network none", "none")] {
            all.push(Contender::plain(name, move || {
                self.onggi(&["run", "--rm", "--network", network, "bench", "/bin/true"])
            }));
        }
        Ok(all)
    }

    fn execs<'p>(&'p self, docker: Option<&'p Docker>) -> Result<Vec<Contender<'p>>> {
        let mut all = Vec::new();
        if let Some(docker) = docker {
            captured(docker.command().args(["run", "-d", "--name", "idle", "bench", "/bin/pause"]))?;
            all.push(Contender::plain("docker exec", move || {
                let mut command = docker.command();
                command.args(["exec", "idle", "/bin/true"]);
                command
            }));
        }
        captured(&mut self.onggi(&["run", "-d", "--name", "idle", "bench", "/bin/pause"]))?;
        all.push(Contender::plain("onggi exec", move || self.onggi(&["exec", "idle", "/bin/true"])));
        Ok(all)
    }

    fn versions(&self) -> Vec<Contender<'_>> {
        let mut all = vec![Contender::plain("/bin/true", || Command::new("/bin/true"))];
        for name in ["crun", "runc"] {
            if let Some(program) = find(name) {
                all.push(Contender::plain(name, move || {
                    let mut command = Command::new(&program);
                    command.arg("--version");
                    command
                }));
            }
        }
        all.push(Contender::plain("onggi", move || self.onggi(&["--version"])));
        all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(captured(&mut self.onggi(&["rm", "-f", "idle"])));
    }
}

/// crun wants every controller mounted; the kernel's hugetlb one is often left out.
fn hugetlb() -> Option<Mounted> {
    let at = PathBuf::from("/sys/fs/cgroup/hugetlb");
    if at.exists() || !Path::new("/sys/fs/cgroup/memory").exists() {
        return None;
    }
    std::fs::create_dir(&at).ok()?;
    let mounted = Mounted(at);
    captured(Command::new("mount").args(["-t", "cgroup", "-o", "hugetlb", "cgroup"]).arg(&mounted.0)).ok()?;
    Some(mounted)
}
