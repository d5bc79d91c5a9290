//! A newcomer's first minute: images out of this machine's own programs, run, and what a container shares with its host.
//!
//! Needs a Rust toolchain and a C linker; no network, and no root (an ordinary user sees the same, less the limit).

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use onggi_testkit::{busybox, captured};
use tempfile::TempDir;

use crate::run;

pub(crate) fn main(args: &[String]) -> Result<()> {
    let registry = registry_of(args)?;
    println!("Building onggi (the first time takes some minutes) ...");
    let demo = Demo::new(run::release_binary()?)?;
    demo.images()?;
    demo.kernels()?;
    demo.limit()?;
    match registry {
        Some(registry) => demo.registry(&registry)?,
        None => {
            demo.says(
                "A registry was not given; `cargo xtask demo --registry HOST:PORT` pushes to one and pulls back.",
            );
        }
    }
    demo.says("All of this lived in a scratch store, which is removed now. The binary stays:");
    println!("  {}", demo.onggi.display());
    Ok(())
}

fn registry_of(args: &[String]) -> Result<Option<String>> {
    match args {
        [] => Ok(None),
        [flag, host] if flag == "--registry" => Ok(Some(host.clone())),
        _ => anyhow::bail!("demo takes [--registry HOST:PORT]"),
    }
}

struct Demo {
    onggi: PathBuf,
    dir: TempDir,
    userlands: Vec<Userland>,
}

/// An image to show, and how it names its C library.
struct Userland {
    image: &'static str,
    libc: &'static [&'static str],
}

const TINY: Userland = Userland { image: "demo/tiny", libc: &["/bin/libc"] };
const BUSYBOX: Userland = Userland {
    image: "demo/busybox",
    libc: &["sh", "-c", "echo none of its own: $(busybox | head -n 1 | cut -d' ' -f1,2), static"],
};
/// glibc's shared object says what it is when it is run.
const GLIBC: Userland = Userland {
    image: "demo/glibc",
    libc: &[
        "sh",
        "-c",
        "for c in /lib/*/libc.so.6 /usr/lib/*/libc.so.6 /lib64/libc.so.6; do [ -e $c ] && exec $c; done",
    ],
};

impl Demo {
    fn new(onggi: PathBuf) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("onggi-demo-").tempdir()?;
        let mut userlands = vec![GLIBC, TINY];
        if busybox().is_some() {
            userlands.push(BUSYBOX);
        }
        Ok(Self { onggi, dir, userlands })
    }

    fn says(&self, text: &str) {
        println!("\n{text}");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.onggi);
        command.args(args);
        command.env("ONGGI_ROOT", self.dir.path().join("data")).env("ONGGI_RUN", self.dir.path().join("run"));
        command
    }

    /// Shows the command and what it prints.
    fn show(&self, args: &[&str]) -> Result<()> {
        println!("$ onggi {}", args.join(" "));
        run::visible(&mut self.command(args))
    }

    fn images(&self) -> Result<()> {
        self.says("1. An image of this machine's shell and a few programs, with exactly the libraries that they load:");
        self.show(&["image", "bootstrap", GLIBC.image, "sh", "cat", "uname", "ls", "echo"])?;
        self.says("2. An image of a userland without any C library, compiled just now:");
        let rootfs = self.tiny_rootfs()?;
        self.show(&["image", "bootstrap", TINY.image, "--rootfs", &rootfs.to_string_lossy()])?;
        if self.userlands.iter().any(|userland| userland.image == BUSYBOX.image) {
            self.says("3. An image in Alpine's spirit, of the static busybox that this machine has:");
            self.show(&["image", "bootstrap", BUSYBOX.image])?;
        }
        println!();
        self.show(&["images"])
    }

    fn tiny_rootfs(&self) -> Result<PathBuf> {
        let rootfs = self.dir.path().join("tiny");
        for name in ["bin", "etc", "dev", "proc", "sys"] {
            std::fs::create_dir_all(rootfs.join(name))?;
        }
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "--crate-type", "bin", "-O", "-C", "panic=abort", "-C", "strip=symbols"]);
        rustc.args(["-C", "relocation-model=static", "-C", "link-arg=-nostartfiles", "-C", "link-arg=-nostdlib"]);
        rustc.args(["-C", "link-arg=-static", "-o"]).arg(rootfs.join("bin/uname"));
        run::visible(rustc.arg(run::top().join("xtask/demo/tiny.rs")))?;
        for name in ["cat", "libc"] {
            std::fs::hard_link(rootfs.join("bin/uname"), rootfs.join("bin").join(name))?;
        }
        std::fs::write(rootfs.join("etc/os-release"), "ID=tiny\nPRETTY_NAME=\"Tiny, a userland of one program\"\n")?;
        Ok(rootfs)
    }

    fn run(&self, options: &[&str], image: &str, command: &[&str]) -> Result<String> {
        let args: Vec<&str> = ["run", "--rm", "--network", "none"]
            .iter()
            .chain(options)
            .chain([&image])
            .chain(command)
            .copied()
            .collect();
        captured(&mut self.command(&args))
    }

    fn kernels(&self) -> Result<()> {
        self.says("One kernel, several userlands (each line but the first comes out of a container):");
        let host = captured(Command::new("uname").arg("-r"))?;
        println!("  {:<14} {:<22} {:<52} C library", "", "uname -r", "/etc/os-release");
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        println!("  {:<14} {:<22} {:<52} -", "host", host.trim(), pretty_name(&release));
        for userland in &self.userlands {
            let kernel = self.run(&[], userland.image, &["uname", "-r"])?;
            let release = self.run(&[], userland.image, &["cat", "/etc/os-release"])?;
            let libc = self.run(&[], userland.image, userland.libc)?;
            let libc = libc.lines().next().unwrap_or_default();
            println!("  {:<14} {:<22} {:<52} {libc}", userland.image, kernel.trim(), pretty_name(&release));
            ensure!(kernel == host, "{} runs on another kernel than the host: {kernel}", userland.image);
        }
        Ok(())
    }

    fn limit(&self) -> Result<()> {
        self.says("A container with a memory limit of 32 MiB, whose shell doubles a string without end:");
        let hog = "x=0123456789abcdef; while :; do x=$x$x; done";
        let args = ["run", "--rm", "--network", "none", "--memory", "32m", GLIBC.image, "sh", "-c", hog];
        println!("$ onggi run --rm --memory 32m {} sh -c '{hog}'", GLIBC.image);
        let output = self.command(&args).output().context("onggi run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(137) => println!("  ended with 137: the kernel killed it at the limit; the host did not notice"),
            Some(125) => print!("  not on this machine, as this user:\n{said}"),
            other => anyhow::bail!("the memory-limited container ended with {other:?}: {said}"),
        }
        Ok(())
    }

    fn registry(&self, host: &str) -> Result<()> {
        let name = format!("{host}/demo/tiny:latest");
        self.says("To a registry and back:");
        self.show(&["tag", TINY.image, &name])?;
        self.show(&["push", &name])?;
        self.show(&["rmi", &name, TINY.image])?;
        self.show(&["pull", &name])?;
        println!("$ onggi run --rm {name} libc");
        print!("{}", self.run(&[], &name, &["libc"])?);
        Ok(())
    }
}

fn pretty_name(os_release: &str) -> String {
    let line = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("unnamed").trim_matches('"').to_owned()
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Containers were removed as they ended; what subordinate ids own, only onggi can take away.
        for userland in &self.userlands {
            drop(captured(&mut self.command(&["rmi", "--force", userland.image])));
        }
        drop(captured(&mut self.command(&["system", "prune", "--all", "--force"])));
    }
}
