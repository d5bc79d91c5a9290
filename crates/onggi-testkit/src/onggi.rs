//! The built binary with directories of its own.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::program::{captured, find, wait_until};

/// Scratch directories' names begin with this. It is short, since a unix socket's path has little room.
pub(crate) const PREFIX: &str = "og-";

/// Who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// As the test itself.
    Same,
    /// As this ordinary user, by number, who has no subordinate ids.
    Ordinary(u32),
    /// As this ordinary user, with the subordinate ids 100000 to 165535.
    Subordinate(u32),
}

/// A scratch onggi: its store, its run directory and, where asked for, its network namespace go on drop, with every
/// container in it.
#[derive(Debug)]
pub struct Onggi {
    binary: PathBuf,
    dir: TempDir,
    netns: Option<String>,
    user: User,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; 128 + n if signal n ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Outcome {
    /// The same, if it ended well.
    ///
    /// # Errors
    /// It did not: with all it said.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.code == 0, "ended with {}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }

    /// The first line of what it printed.
    pub fn line(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        let text = |data: Vec<u8>| String::from_utf8_lossy(&data).into_owned();
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Onggi {
    /// A scratch store for the binary at `binary`, on the machine's own network.
    pub fn new(binary: impl Into<PathBuf>) -> Result<Self> {
        Self::make(binary.into(), None, User::Same)
    }

    /// The same in a network namespace of its own, where a bridge may be made.
    pub fn in_netns(binary: impl Into<PathBuf>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("onggi-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        captured(Command::new("ip").args(["netns", "add", &name]))?;
        let onggi = Self::make(binary.into(), Some(name.clone()), User::Same)?;
        captured(Command::new("ip").args(["-n", &name, "link", "set", "lo", "up"]))?;
        Ok(onggi)
    }

    /// The same as an ordinary user.
    pub fn as_user(binary: impl Into<PathBuf>, user: User) -> Result<Self> {
        Self::make(binary.into(), None, user)
    }

    fn make(binary: PathBuf, netns: Option<String>, user: User) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir()?;
        let mut onggi = Self { binary, dir, netns, user };
        if let User::Ordinary(uid) | User::Subordinate(uid) = user {
            std::fs::write(onggi.subordinates(), format!("{uid}:100000:65536\n"))?;
            // Where the binary was built, the user may not be able to look.
            let copy = onggi.dir.path().join("onggi");
            std::fs::copy(&onggi.binary, &copy)?;
            onggi.binary = copy;
            std::os::unix::fs::chown(onggi.dir.path(), Some(uid), Some(uid))?;
        }
        Ok(onggi)
    }

    /// The directory that holds its store and run directories.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The run directory.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The name of its network namespace.
    pub fn netns(&self) -> Option<&str> {
        self.netns.as_deref()
    }

    /// What stands for /etc/subuid and /etc/subgid.
    fn subordinates(&self) -> PathBuf {
        self.dir.path().join("subordinates")
    }

    /// A command of it, ready to run.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Command {
        let mut words: Vec<std::ffi::OsString> = Vec::new();
        if let Some(name) = &self.netns {
            words.extend(["nsenter".into(), format!("--net=/run/netns/{name}").into()]);
        }
        if let User::Ordinary(uid) | User::Subordinate(uid) = self.user {
            // The machine's own files are left alone: these are laid over them in a mount namespace of the command's.
            let list = if matches!(self.user, User::Subordinate(_)) { self.subordinates() } else { "/dev/null".into() };
            let script = format!(
                "touch /etc/subuid /etc/subgid 2>/dev/null; mount --bind {0} /etc/subuid && mount --bind {0} /etc/subgid && \
                 exec setpriv --reuid {uid} --regid {uid} --clear-groups \"$@\"",
                list.display()
            );
            words.extend(["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"].map(Into::into));
        }
        words.push(self.binary.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(args);
        command.env("ONGGI_ROOT", self.data()).env("ONGGI_RUN", self.run_dir());
        if self.user != User::Same {
            command.env("HOME", self.dir.path()).env("XDG_RUNTIME_DIR", self.dir.path()).env_remove("XDG_DATA_HOME");
        }
        command
    }

    /// Runs it to its end without input.
    pub fn run<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Outcome {
        self.feed(args, b"")
    }

    /// Runs it to its end with `input`.
    pub fn feed<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I, input: &[u8]) -> Outcome {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary under test can be started");
        let mut stdin = child.stdin.take().expect("it was asked for");
        let input = input.to_vec();
        // It may end without reading; that is its right.
        let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("a child can be waited for");
        drop(feeder.join());
        output.into()
    }

    /// Runs it to its end and gives what it printed, byte for byte.
    pub fn run_bytes<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Vec<u8> {
        let output = self.command(args).stdin(Stdio::null()).output().expect("the binary under test can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes the image `name` of the machine's busybox.
    ///
    /// # Errors
    /// There is none, or onggi refuses.
    pub fn busybox(&self, name: &str) -> Result<()> {
        let rootfs = crate::Rootfs::busybox()?.context("needs a static busybox")?;
        let archive = rootfs.tar()?;
        let words = ["import", "-c", "CMD [\"sh\"]"].map(OsStr::new);
        self.run(words.into_iter().chain([archive.as_os_str(), OsStr::new(name)])).ok().map(drop)
    }

    /// Waits until the container's state is `status`.
    ///
    /// # Errors
    /// It is not within ten seconds.
    pub fn wait_for(&self, container: &str, status: &str) -> Result<()> {
        wait_until(&format!("{container} is {status}"), Duration::from_secs(10), || {
            self.run(["inspect", "-f", "{{.State.Status}}", container]).line() == status
        })
    }
}

impl Drop for Onggi {
    fn drop(&mut self) {
        let all = self.run(["ps", "-aq", "--no-trunc"]);
        for id in all.stdout.lines() {
            drop(self.run(["rm", "-f", "-v", id]));
        }
        if let Some(name) = &self.netns {
            drop(captured(Command::new("ip").args(["netns", "del", name])));
        }
        if self.user != User::Same && find("rm").is_some() {
            // What subordinate ids own only root can take away.
            drop(captured(Command::new("rm").args(["-rf", "--one-file-system"]).arg(self.dir.path())));
        }
    }
}
