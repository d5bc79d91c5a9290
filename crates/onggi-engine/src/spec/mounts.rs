//! What is mounted, in order.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder};

use super::COMPLETE;
use crate::NetworkMode;
use crate::defaults::mounts::{DEFAULT, Entry, SYS_OF_HOST, TERMINAL_GROUP};
use crate::host::Host;
use crate::record::{MountPoint, Record};

/// In the container's directory, mounted as `/etc/hostname`.
pub(crate) const HOSTNAME_FILE: &str = "hostname";
/// In the container's directory, mounted as `/etc/hosts`.
pub(crate) const HOSTS_FILE: &str = "hosts";
/// In the container's directory, mounted as `/etc/resolv.conf`.
pub(crate) const RESOLV_FILE: &str = "resolv.conf";

/// The default file systems, the three files of `/etc`, and the user's mounts, which take the place of any of these.
pub(super) fn all(record: &Record, dir: &Path, host: &Host) -> Vec<Mount> {
    let taken = |path: &Path| record.mounts.iter().any(|mount| mount.destination == path);
    let system = DEFAULT.iter().map(|entry| of_system(choose(entry, record, host), record, host));
    let files = [(HOSTNAME_FILE, "/etc/hostname"), (HOSTS_FILE, "/etc/hosts"), (RESOLV_FILE, "/etc/resolv.conf")];
    let files = files.map(|(name, destination)| of_file(dir.join(name), destination, record.security.read_only));
    let ours = system.chain(files).filter(|mount| !taken(mount.destination()));
    let mut mounts: Vec<Mount> = ours.chain(record.mounts.iter().map(of_user)).collect();
    // Parents first, whosever they are: a volume at /etc must not hide the files that belong into it.
    mounts.sort_by_key(|mount| mount.destination().components().count());
    mounts
}

fn choose<'e>(entry: &'e Entry, record: &Record, host: &Host) -> &'e Entry {
    let foreign_network = host.rootless && record.network == NetworkMode::Host;
    if entry.destination == "/sys" && foreign_network { &SYS_OF_HOST } else { entry }
}

fn of_system(entry: &Entry, record: &Record, host: &Host) -> Mount {
    // A privileged container may write to what the others only read.
    let writable = record.security.privileged && !record.security.read_only;
    let unwanted = |option: &str| {
        (writable && matches!(option, "ro" | "rro")) || (!host.terminal_group && option == TERMINAL_GROUP)
    };
    let options = entry.options.iter().filter(|option| !unwanted(option));
    build(entry.destination, entry.kind, entry.source, options.map(|&option| option.to_owned()).collect())
}

fn of_file(source: PathBuf, destination: &str, read_only: bool) -> Mount {
    let access = if read_only { "ro" } else { "rw" };
    build(destination, "bind", source, ["rbind", access, "rprivate"].map(str::to_owned).to_vec())
}

fn of_user(mount: &MountPoint) -> Mount {
    // `rro` reaches the mounts below the source too; `ro` would leave them writable.
    let access = if mount.read_only { "rro" } else { "rw" };
    let options = ["rbind", access, &mount.propagation].map(str::to_owned).to_vec();
    build(&mount.destination, "bind", &mount.source, options)
}

fn build(destination: impl Into<PathBuf>, kind: &str, source: impl Into<PathBuf>, options: Vec<String>) -> Mount {
    MountBuilder::default().destination(destination).typ(kind).source(source).options(options).build().expect(COMPLETE)
}
