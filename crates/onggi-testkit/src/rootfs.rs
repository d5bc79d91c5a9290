//! Root file systems to run.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::program::{captured, find};

/// A directory that can be a container's root, removed on drop.
#[derive(Debug)]
pub struct Rootfs {
    dir: TempDir,
}

impl Rootfs {
    /// An empty one with the directories that a runtime mounts on.
    pub fn empty() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("onggi-rootfs-").tempdir()?;
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
            std::fs::create_dir(dir.path().join(name))?;
        }
        std::fs::set_permissions(dir.path().join("tmp"), PermissionsExt::from_mode(0o1777))?;
        std::fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        )?;
        std::fs::write(dir.path().join("etc/group"), "root:x:0:\nstaff:x:50:nobody\nnogroup:x:65534:\n")?;
        Ok(Self { dir })
    }

    /// A static busybox with its applets; nothing where the machine has none.
    pub fn busybox() -> Result<Option<Self>> {
        let Some(program) = busybox() else { return Ok(None) };
        let rootfs = Self::empty()?;
        let bin = rootfs.path().join("bin");
        std::fs::copy(&program, bin.join("busybox"))?;
        for applet in captured(Command::new(&program).arg("--list"))?.lines().filter(|name| *name != "busybox") {
            symlink("busybox", bin.join(applet))?;
        }
        Ok(Some(rootfs))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The whole as a tar archive in a file beside it, which goes with it.
    pub fn tar(&self) -> Result<PathBuf> {
        let archive = self.dir.path().with_extension("tar");
        captured(Command::new("tar").arg("-C").arg(self.path()).arg("-cf").arg(&archive).arg("."))?;
        Ok(archive)
    }
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        // The archive may never have been made.
        drop(std::fs::remove_file(self.dir.path().with_extension("tar")));
    }
}

/// A busybox that needs no library.
pub fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"].map(PathBuf::from).into_iter().find(|program| {
        captured(Command::new("file").arg("-L").arg(program)).map_or_else(
            // `file` is not everywhere; Debian's busybox-static is the one that names no loader.
            |_| std::fs::read(program).is_ok_and(|data| !data.windows(9).any(|part| part == b"ld-linux-")),
            |text| text.contains("statically linked"),
        )
    })
}

/// Compiles a C program to a static executable at `out`.
///
/// # Errors
/// There is no compiler, or it refuses.
pub fn compile_static(source: &str, out: &Path) -> Result<()> {
    let compiler = find("cc").or_else(|| find("gcc")).context("no C compiler")?;
    let input = out.with_extension("c");
    std::fs::write(&input, source)?;
    captured(Command::new(compiler).args(["-O1", "-static", "-o"]).arg(out).arg(&input))?;
    std::fs::remove_file(&input)?;
    Ok(())
}
