//! A real dockerd to compare with, in network and mount namespaces of its own, so that its bridge, firewall rules and
//! mounts are never the machine's.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::program::{captured, find, wait_until};

/// A running dockerd; ended on drop with all it started.
#[derive(Debug)]
pub struct Docker {
    process: Child,
    dir: TempDir,
}

impl Docker {
    /// Starts one; nothing where dockerd, containerd or the client are not installed.
    ///
    /// # Errors
    /// It is there but does not come up.
    pub fn start() -> Result<Option<Self>> {
        if ["dockerd", "containerd", "docker", "unshare"].iter().any(|name| find(name).is_none()) {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("onggi-dockerd-").tempdir()?;
        let at = |name: &str| dir.path().join(name);
        let log = std::fs::File::create(at("log"))?;
        let process = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--kill-child", "--pid", "--fork", "--mount-proc"])
            .args(["sh", "-c", "ip link set lo up; exec dockerd \"$@\"", "dockerd"])
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("--pidfile")
            .arg(at("pid"))
            .arg("--host")
            .arg(format!("unix://{}", at("docker.sock").display()))
            .args(["--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("unshare dockerd")?;
        let docker = Self { process, dir };
        let ready = wait_until("dockerd answers", Duration::from_secs(60), || {
            captured(docker.command().arg("version")).is_ok()
        });
        ready.with_context(|| std::fs::read_to_string(docker.dir.path().join("log")).unwrap_or_default())?;
        Ok(Some(docker))
    }

    /// The docker client, speaking to this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new(find("docker").unwrap_or_else(|| "docker".into()));
        command.arg("--host").arg(format!("unix://{}", self.dir.path().join("docker.sock").display()));
        command.env("DOCKER_CONFIG", self.dir.path());
        command
    }

    /// Makes an image of a tar archive.
    pub fn import(&self, archive: &Path, name: &str) -> Result<()> {
        captured(self.command().arg("import").arg(archive).arg(name)).map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let running = captured(self.command().args(["ps", "-aq"])).unwrap_or_default();
        for id in running.lines() {
            drop(captured(self.command().args(["rm", "-f", id])));
        }
        // dockerd is pid 1 of its namespace (through --fork): SIGKILL of unshare takes the whole of it along.
        drop(self.process.kill());
        drop(self.process.wait());
        crate::machine::remove_cgroups(&["docker"]);
    }
}
