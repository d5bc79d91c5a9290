//! A podman with a store of its own, for who loads, pulls and runs what onggi made.

use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::program::{captured, find};

/// A scratch podman; its images and containers go on drop.
#[derive(Debug)]
pub struct Podman {
    dir: TempDir,
}

/// podman raises limits as far as it may by itself, which takes a right that not every machine's root has.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

impl Podman {
    /// One with an empty store; nothing where it is not installed.
    pub fn new() -> Result<Option<Self>> {
        if find("podman").is_none() {
            return Ok(None);
        }
        Ok(Some(Self { dir: tempfile::Builder::new().prefix("onggi-podman-").tempdir()? }))
    }

    /// A command of it.
    pub fn command(&self) -> Command {
        let at = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(find("podman").unwrap_or_else(|| "podman".into()));
        command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run")).arg("--tmpdir").arg(at("tmp"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command.args(["--runtime", "runc"]);
        command
    }

    /// Runs a command of it and gives what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        captured(self.command().args(words))
    }

    /// Runs a container without a network, within limits that any root may set.
    pub fn run_container(&self, words: &[&str]) -> Result<String> {
        captured(self.command().args(["run", "--rm", "--network", "none"]).args(LIMITS).args(words))
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What is not there need not be removed.
        drop(self.run(&["rm", "-a", "-f"]));
        drop(self.run(&["rmi", "-a", "-f"]));
        crate::machine::remove_cgroups(&["libpod_parent"]);
    }
}
