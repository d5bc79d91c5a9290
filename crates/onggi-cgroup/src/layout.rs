//! Which hierarchies this machine has, where they are mounted and where in them we are.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use onggi_sys::file::{self, CWD, Mode, OFlags};

use crate::{Controller, Error, Result};

const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
/// Ten thousand mounts of a kilobyte each; a longer table is no machine we know.
const LONGEST_TABLE: usize = 64 << 20;

/// What kind of cgroup system the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller or set of controllers.
    V1,
    /// Controllers on v1 and a v2 hierarchy beside them.
    Hybrid,
    /// One hierarchy.
    V2,
}

/// The mounted hierarchies of this machine as the calling process sees them.
///
/// Taken from `/proc/self/mountinfo` and `/proc/self/cgroup`, so the mount points may be anywhere, several v1
/// controllers may share a hierarchy, and we may sit in a container that shows only a part of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(crate) hierarchies: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// The caller's own group, relative to the mount point.
    pub(crate) own: PathBuf,
    /// What it is.
    pub(crate) kind: HierarchyKind,
}

/// The two sorts of hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HierarchyKind {
    /// A v1 hierarchy: its controllers, or none and a name (`name=systemd`).
    V1 { controllers: Vec<Controller>, key: String },
    /// The v2 hierarchy; which controllers it has may differ from group to group.
    V2,
}

impl Layout {
    /// Asks the kernel.
    ///
    /// On a machine with v2 alone this is one statfs(2), one access(2) and one small file; the mount table is read
    /// only elsewhere.
    pub fn detect() -> Result<Self> {
        let detect = |source| Error::Detect { source };
        let own = read("/proc/self/cgroup").map_err(detect)?;
        match unified_at_the_usual_place(&own) {
            Some(hierarchy) => Ok(Self { hierarchies: vec![hierarchy] }),
            None => Ok(Self::parse(&read("/proc/self/mountinfo").map_err(detect)?, &own)),
        }
    }

    /// The hierarchies in the text of a `mountinfo` and a `cgroup` file, see proc(5).
    pub(crate) fn parse(mountinfo: &[u8], own: &[u8]) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.split(|&byte| byte == b'\n') {
            let Some(found) = Mount::parse(line).and_then(|mount| mount.hierarchy(own)) else { continue };
            match hierarchies.iter_mut().find(|known| known.kind == found.kind) {
                // Mounted twice: the mount that shows our own group is the one to use.
                Some(known) if !known.mount.join(&known.own).exists() => *known = found,
                Some(_) => {}
                None => hierarchies.push(found),
            }
        }
        Self { hierarchies }
    }

    /// What kind of system it is.
    pub fn version(&self) -> Version {
        let v2 = self.hierarchies.iter().any(|hierarchy| hierarchy.kind == HierarchyKind::V2);
        match (v2, self.hierarchies.len()) {
            (true, 1) => Version::V2,
            (true, _) => Version::Hybrid,
            (false, _) => Version::V1,
        }
    }

    /// Where each v1 hierarchy is mounted and the key (`cpu,cpuacct`, `name=systemd`) that the kernel has for it.
    pub fn v1_mounts(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.hierarchies.iter().filter_map(|hierarchy| match &hierarchy.kind {
            HierarchyKind::V1 { key, .. } => Some((key.as_str(), hierarchy.mount.as_path())),
            HierarchyKind::V2 => None,
        })
    }

    /// Where the v2 hierarchy is mounted.
    pub fn v2_mount(&self) -> Option<&Path> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.kind == HierarchyKind::V2)
            .map(|hierarchy| hierarchy.mount.as_path())
    }
}

/// What a line of `mountinfo` says about a mount of type `cgroup` or `cgroup2`.
struct Mount {
    root: PathBuf,
    at: PathBuf,
    v2: bool,
    options: String,
}

impl Mount {
    /// `31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755`
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let root = fields.nth(3)?;
        let at = fields.next()?;
        let mut after = fields.skip_while(|field| field != b"-").skip(1);
        let v2 = match after.next()? {
            b"cgroup" => false,
            b"cgroup2" => true,
            _ => return None,
        };
        let options = String::from_utf8(after.nth(1)?.to_vec()).ok()?;
        Some(Self { root: unescape(root), at: unescape(at), v2, options })
    }

    fn hierarchy(self, own: &[u8]) -> Option<Hierarchy> {
        let kind = if self.v2 {
            HierarchyKind::V2
        } else {
            let keys: Vec<&str> = self.options.split(',').filter(|option| is_v1_key(option)).collect();
            if keys.is_empty() {
                return None;
            }
            HierarchyKind::V1 {
                controllers: keys.iter().filter_map(|key| Controller::from_v1(key)).collect(),
                key: keys.join(","),
            }
        };
        let own = own_group(own, &kind)?;
        let own = own.strip_prefix(&self.root).unwrap_or(Path::new("")).to_owned();
        Some(Hierarchy { mount: self.at, own, kind })
    }
}

fn is_v1_key(option: &str) -> bool {
    option.starts_with("name=") || Controller::from_v1(option).is_some()
}

/// The group of the calling process in the hierarchy `kind`, as `/proc/self/cgroup` has it.
fn own_group(text: &[u8], kind: &HierarchyKind) -> Option<PathBuf> {
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (number, keys, path) = (fields.next()?, fields.next()?, fields.next()?);
        let fits = match kind {
            HierarchyKind::V2 => number == b"0" && keys.is_empty(),
            // The two files agree on the set of controllers of a hierarchy but not on their order.
            HierarchyKind::V1 { key, .. } => {
                !keys.is_empty()
                    && keys.split(|&byte| byte == b',').all(|one| key.split(',').any(|k| k.as_bytes() == one))
            }
        };
        fits.then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
    })
}

fn unified_at_the_usual_place(own: &[u8]) -> Option<Hierarchy> {
    let mount = Path::new("/sys/fs/cgroup");
    let dir = file::open(CWD, mount, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).ok()?;
    if u64::try_from(file::statfs(&dir).ok()?.f_type) != Ok(CGROUP2_SUPER_MAGIC) {
        return None;
    }
    let own = own_group(own, &HierarchyKind::V2)?;
    let own = own.strip_prefix("/").ok()?.to_owned();
    // In a container without a cgroup namespace the mount shows only a part, and the mount table says which.
    file::stat_at(&dir, own.join("cgroup.procs")).ok()?;
    Some(Hierarchy { mount: mount.to_owned(), own, kind: HierarchyKind::V2 })
}

fn read(path: &str) -> onggi_sys::Result<Vec<u8>> {
    file::read_all(file::open(CWD, path, OFlags::RDONLY, Mode::empty())?, LONGEST_TABLE)
}

/// Undoes the octal escapes (`\040`) of `mountinfo`.
fn unescape(text: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = (byte == b'\\').then(|| tail.get(..3)).flatten().and_then(octal);
        plain.push(code.unwrap_or(byte));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(plain))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(mountinfo: &str, own: &str) -> Layout {
        Layout::parse(mountinfo.as_bytes(), own.as_bytes())
    }

    #[test]
    fn a_hybrid_machine_with_co_mounted_and_named_hierarchies() {
        let found = layout(
            "25 20 0:22 / /sys/fs/cgroup ro,nosuid shared:8 - tmpfs tmpfs ro,mode=755\n\
             26 25 0:23 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
             27 25 0:24 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd\n\
             30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:13 - cgroup cgroup rw,cpu,cpuacct\n\
             31 25 0:28 / /cg\\040roup rw - cgroup cgroup rw,memory\n",
            "5:memory:/a\n4:cpuacct,cpu:/user/me\n1:name=systemd:/user.slice\n0::/user.slice/x\n",
        );
        assert_eq!(found.version(), Version::Hybrid);
        let cpu = &found.hierarchies[2];
        assert_eq!(cpu.own, Path::new("user/me"));
        assert_eq!(
            cpu.kind,
            HierarchyKind::V1 { controllers: vec![Controller::Cpu, Controller::Cpuacct], key: "cpu,cpuacct".into() }
        );
        assert_eq!(found.hierarchies[3].mount, Path::new("/cg roup"));
        assert_eq!(found.hierarchies[0].own, Path::new("user.slice/x"));
    }

    #[test]
    fn a_container_that_sees_a_part_of_its_hierarchy() {
        let found = layout(
            "31 25 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            "5:memory:/docker/abc/sub\n",
        );
        assert_eq!(found.hierarchies[0].own, Path::new("sub"));
        assert_eq!(found.version(), Version::V1);
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        assert!(layout("x\n\n1 2 3\n1 2 0:1 / /x rw - cgroup\n", "zz\n").hierarchies.is_empty());
    }
}
