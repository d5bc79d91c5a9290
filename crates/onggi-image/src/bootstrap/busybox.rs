//! A whole small system in one program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::elf::Elf;
use super::gather::{Gathered, Userland, look_up};
use super::tree::{Node, Tree};
use super::{BootstrapError, Reason, Taken};

/// Where Debian and Alpine keep the static one beside another.
const ELSEWHERE: [&str; 2] = ["/bin/busybox.static", "/usr/lib/busybox/busybox-static"];

/// The static busybox of this machine.
pub(super) fn find_static(search: &[PathBuf]) -> Result<Option<PathBuf>, BootstrapError> {
    let known = look_up("busybox", search).into_iter().chain(ELSEWHERE.map(PathBuf::from));
    for path in known.filter(|path| path.is_file()) {
        if Elf::read(&path)?.is_some_and(|elf| elf.is_static()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A system of nothing but busybox and a link for each of its applets.
pub(super) fn alone(path: &Path) -> Result<Gathered, BootstrapError> {
    const PLACE: &str = "/bin/busybox";
    let mut tree = Tree::default();
    for directory in ["bin", "sbin", "usr/bin", "usr/sbin"] {
        tree.add(Path::new(directory), Node::Directory { mode: 0o755 });
    }
    tree.place(path, PLACE)?;
    link_applets(&mut tree, path, Path::new(PLACE))?;
    let machine = Elf::read(path)?.map(|elf| elf.machine);
    let size = tree.size();
    let taken = vec![Taken { path: PLACE.into(), size, reason: Reason::Asked }];
    Ok(Gathered { tree, taken, userland: Userland { machine, dynamic: false, only: Some(path.into()) } })
}

/// Links every applet of the busybox at `path`, which is at `place` in the image; what is there already stays.
pub(super) fn link_applets(tree: &mut Tree, path: &Path, place: &Path) -> Result<(), BootstrapError> {
    let failed = |source| BootstrapError::Applets { path: path.to_owned(), source };
    for applet in applets(path).map_err(failed)? {
        tree.add(Path::new(&applet), Node::Symlink(place.to_owned()));
    }
    Ok(())
}

/// The paths of its applets, relative to the root. It knows them itself; a busybox built without the list of paths
/// still has that of names.
fn applets(path: &Path) -> io::Result<Vec<String>> {
    let paths = ask(path, "--list-full")?;
    if !paths.is_empty() {
        return Ok(paths);
    }
    let names = ask(path, "--list")?;
    if names.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it lists none"));
    }
    Ok(names.into_iter().map(|name| format!("bin/{name}")).collect())
}

#[expect(clippy::disallowed_methods, reason = "only busybox itself knows its applets and their places")]
fn ask(path: &Path, option: &str) -> io::Result<Vec<String>> {
    let output = Command::new(path).arg(option).env_clear().stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Ok(Vec::new());
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_plain =
        |line: &&str| !line.is_empty() && !line.starts_with('/') && !line.split('/').any(|part| part == "..");
    Ok(lines.lines().map(str::trim).filter(is_plain).map(str::to_owned).collect())
}
