//! What the kernel holds: to be the same after a test as before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A picture of the machine's mounts, links, cgroups, namespaces' owners and processes, as far as onggi makes such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    processes: BTreeSet<String>,
}

impl Machine {
    /// Takes the picture. Mounts and processes count when `mark` occurs in them.
    pub fn now(mark: &str) -> Self {
        Self { mounts: mounts(mark), links: links(), cgroups: cgroups(), processes: processes(mark) }
    }

    /// What is here now and was not then, a line each; empty if nothing leaked.
    pub fn leaked_since(&self, then: &Self) -> Vec<String> {
        let mut leaks = Vec::new();
        leaks.extend(self.mounts.difference(&then.mounts).map(|mount| format!("mount {mount}")));
        leaks.extend(self.links.difference(&then.links).map(|link| format!("link {link}")));
        leaks.extend(self.cgroups.difference(&then.cgroups).map(|cgroup| format!("cgroup {}", cgroup.display())));
        leaks.extend(self.processes.difference(&then.processes).map(|process| format!("process {process}")));
        leaks
    }
}

/// Other tests mount too, elsewhere: an overlay of ours names its layers, which are in the scratch directory.
fn mounts(mark: &str) -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Without the mount's own number, which a remount changes.
    table
        .lines()
        .filter(|line| line.contains(mark))
        .map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned())
        .collect()
}

fn links() -> BTreeSet<String> {
    names(Path::new("/sys/class/net")).collect()
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Cgroups of containers that no scratch store knows. Other tests run at the same time, so those that do have a
/// container are theirs.
fn cgroups() -> BTreeSet<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let tops = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]).map(|hierarchy| hierarchy.join("onggi"));
    let groups = tops.flat_map(|top| std::fs::read_dir(top).into_iter().flatten().flatten());
    groups
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !is_known(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether a container of that id is in a scratch store.
fn is_known(id: &str) -> bool {
    names(&std::env::temp_dir()).filter(|name| name.starts_with(crate::onggi::PREFIX)).any(|scratch| {
        let containers = std::env::temp_dir().join(scratch).join("data/containers");
        ["", ".making", ".removing"].iter().any(|place| containers.join(place).join(id).exists())
    })
}

fn processes(mark: &str) -> BTreeSet<String> {
    let pids = names(Path::new("/proc")).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    pids.filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(mark).then(|| format!("{pid} {line}"))
    })
    .collect()
}

/// Removes the cgroups of these names, directly below a controller's top, with what is in them; empty ones only.
pub(crate) fn remove_cgroups(tops: &[&str]) {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies {
        for top in tops {
            remove_empty(&hierarchy.join(top));
        }
    }
}

fn remove_empty(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // Somebody else may still be in it.
    drop(std::fs::remove_dir(dir));
}
