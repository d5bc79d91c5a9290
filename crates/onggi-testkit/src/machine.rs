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
    /// Takes the picture. Processes and cgroups count when `mark` occurs in their arguments or path.
    pub fn now(mark: &str) -> Self {
        Self { mounts: mounts(), links: links(), cgroups: cgroups(mark), processes: processes(mark) }
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

fn mounts() -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Without the mount's own number, which a remount changes.
    table.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned()).collect()
}

fn links() -> BTreeSet<String> {
    names(Path::new("/sys/class/net")).collect()
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn cgroups(mark: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if path.to_string_lossy().contains(mark) {
                    found.insert(path.clone());
                }
                pending.push(path);
            }
        }
    }
    found
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
