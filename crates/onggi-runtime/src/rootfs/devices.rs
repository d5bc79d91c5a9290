//! Device nodes and the links that go with them.

use std::os::fd::OwnedFd;
use std::path::Path;

use onggi_fs::Root;
use onggi_oci::runtime::{LinuxDevice, LinuxDeviceType};
use onggi_sys::file::{self, AtFlags, CWD, FileType, Mode};
use onggi_sys::mount::{self, Depth};
use onggi_sys::{Errno, Result};

use super::Builder;
use crate::failure::{During, Failure, Outcome};

/// What every container has (runtime-spec, config-linux, "Default Devices").
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that programs expect (runtime-spec, runtime-linux, "Dev symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// One node to be made.
struct Node<'a> {
    path: &'a Path,
    kind: FileType,
    number: u64,
    mode: u32,
    owner: (u32, u32),
}

impl Builder<'_> {
    pub(super) fn make_devices(&self) -> Outcome<()> {
        let dev = self.root.make_dir_all("/dev", 0o755).during(|| "open /dev")?;
        for (path, major, minor) in DEFAULTS {
            if self.plan.devices.iter().any(|device| device.path() == Path::new(path)) {
                continue;
            }
            let number = file::makedev(major, minor);
            let path = Path::new(path);
            self.make_node(&dev, &Node { path, kind: FileType::CharacterDevice, number, mode: 0o666, owner: (0, 0) })?;
        }
        for (index, device) in self.plan.devices.iter().enumerate() {
            self.make_node(&dev, &node(device, index)?)?;
        }
        for (target, path) in LINKS {
            let name = path.trim_start_matches("/dev/");
            link(&dev, target, name).during(|| format!("link {path}"))?;
        }
        Ok(())
    }

    fn make_node(&self, dev: &Root, node: &Node<'_>) -> Outcome<()> {
        let stage = || format!("make device {}", node.path.display());
        let (parent, name) = match node.path.strip_prefix("/dev") {
            // Right below /dev, as nearly all are: the directory is open already.
            Ok(name) if name.components().count() == 1 => (dev.try_clone().during(stage)?, name.as_os_str()),
            _ => self.root.parent_or_make(node.path, 0o755).during(stage)?,
        };
        if self.may_make_nodes {
            match made(&parent, name.as_ref(), node) {
                Err(error) if error.is(Errno::PERM) => {}
                other => return other.during(stage),
            }
        }
        self.bind_node(node).during(stage)
    }

    /// In a user namespace nobody may make nodes; the host's own is shown instead.
    fn bind_node(&self, node: &Node<'_>) -> Result<()> {
        let host = mount::clone_tree(CWD, node.path, Depth::Single)?;
        let found = file::stat(&host)?;
        if file::type_of(&found) != node.kind || found.st_rdev != node.number {
            return Err(onggi_sys::Error::new(
                "open_tree",
                format!("{}, another device", node.path.display()),
                Errno::NODEV,
            ));
        }
        let target = self.file_target(node.path)?;
        mount::attach(&host, &target)
    }
}

fn node<'d>(device: &'d LinuxDevice, index: usize) -> Outcome<Node<'d>> {
    let at = format!("make device linux.devices[{index}]");
    let invalid = |why: &str| Failure::new(at.clone(), onggi_diag::Kind::Invalid, why);
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return Err(invalid("type `a` is for cgroup rules, not for nodes")),
    };
    let number = match kind {
        FileType::Fifo => 0,
        _ => {
            let part = |value| u32::try_from(value).map_err(|_| invalid("major and minor must not be negative"));
            file::makedev(part(device.major())?, part(device.minor())?)
        }
    };
    if device.path().file_name().is_none() || !device.path().is_absolute() {
        return Err(invalid("path is not an absolute file name"));
    }
    let owner = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    Ok(Node { path: device.path(), kind, number, mode: device.file_mode().unwrap_or(0o666) & 0o7777, owner })
}

/// Makes the node; one that the image brought under that name gives way unless it is the same.
fn made(parent: &Root, name: &Path, node: &Node<'_>) -> Result<()> {
    let make = || file::mknod(parent, name, node.kind, Mode::from_raw_mode(node.mode), node.number);
    match make() {
        Err(error) if error.is(Errno::EXIST) => {
            let found = file::stat_at(parent, name)?;
            if file::type_of(&found) == node.kind && found.st_rdev == node.number {
                return Ok(());
            }
            file::unlink(parent, name, AtFlags::empty())?;
            make()?;
        }
        other => other?,
    }
    match node.owner {
        (0, 0) => Ok(()),
        (uid, gid) => file::chown_at(parent, name, uid, gid),
    }
}

fn link(dev: &Root, target: &str, name: &str) -> Result<()> {
    match file::symlink(target, dev, name) {
        Err(error) if error.is(Errno::EXIST) => {
            let found = file::stat_at(dev, name)?;
            if file::type_of(&found) == FileType::Directory
                || file::read_link(dev, name).is_ok_and(|to| to == Path::new(target))
            {
                return Ok(());
            }
            file::unlink(dev, name, AtFlags::empty())?;
            file::symlink(target, dev, name)
        }
        // A read-only /dev of the image's own has what it has.
        Err(error) if error.is(Errno::ROFS) => Ok(()),
        other => other,
    }
}

/// The host's null device, checked to be it.
pub(super) fn host_null() -> Result<OwnedFd> {
    let null = mount::clone_tree(CWD, "/dev/null", Depth::Single)?;
    let found = file::stat(&null)?;
    if file::type_of(&found) != FileType::CharacterDevice || found.st_rdev != file::makedev(1, 3) {
        return Err(onggi_sys::Error::new("open_tree", "/dev/null, not the null device", Errno::NODEV));
    }
    Ok(null)
}
