//! One entry of `mounts`: its words turned into the kernel's bits.

use std::path::{Path, PathBuf};

use onggi_oci::runtime::{LinuxIdMapping, Mount};
use onggi_sys::mount::{Depth, Propagation};

use crate::{Error, Result};

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or directory of the host's.
    Bind {
        /// Where it is there.
        path: PathBuf,
        /// With or without what is mounted below it.
        depth: Depth,
    },
    /// The container's own control groups.
    Cgroup,
    /// A new file system.
    Filesystem {
        /// Its type.
        kind: String,
        /// Its source, as `/proc/mounts` shows it.
        source: Option<String>,
    },
}

/// One mount.
#[derive(Debug)]
pub(crate) struct MountPlan {
    /// For messages: `mounts[3]`.
    pub(crate) at: String,
    pub(crate) destination: PathBuf,
    pub(crate) source: Source,
    pub(crate) attributes: Bits,
    /// What holds for the mounts below it as well.
    pub(crate) recursive: Bits,
    pub(crate) propagation: Option<(Propagation, Depth)>,
    /// Options of the file system itself.
    pub(crate) data: Vec<(String, Option<String>)>,
    /// Fill a new tmpfs with what the image has there.
    pub(crate) copy_up: bool,
    /// Owners of files shown as others.
    pub(crate) id_map: Option<IdMap>,
}

/// Which users and groups a mount shows a file's owners as; empty lists are the container's own maps.
#[derive(Debug, Clone)]
pub(crate) struct IdMap {
    pub(crate) users: Vec<LinuxIdMapping>,
    pub(crate) groups: Vec<LinuxIdMapping>,
    pub(crate) depth: Depth,
}

impl Default for IdMap {
    fn default() -> Self {
        Self { users: Vec::new(), groups: Vec::new(), depth: Depth::Single }
    }
}

/// Mount attributes to set and to clear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

pub(crate) const READ_ONLY: u64 = 0x1;
const NO_SUID: u64 = 0x2;
const NO_DEVICES: u64 = 0x4;
const NO_EXEC: u64 = 0x8;
const ACCESS_TIME: u64 = 0x70;
const RELATIVE_TIME: u64 = 0x00;
const NO_ACCESS_TIME: u64 = 0x10;
const STRICT_TIME: u64 = 0x20;
const NO_DIR_TIME: u64 = 0x80;
const NO_SYMLINKS: u64 = 0x20_0000;

/// Words that are attributes of a mount; with an `r` before them, of those below it too.
const ATTRIBUTES: [(&str, u64, u64); 19] = [
    ("ro", READ_ONLY, 0),
    ("rw", 0, READ_ONLY),
    ("nosuid", NO_SUID, 0),
    ("suid", 0, NO_SUID),
    ("nodev", NO_DEVICES, 0),
    ("dev", 0, NO_DEVICES),
    ("noexec", NO_EXEC, 0),
    ("exec", 0, NO_EXEC),
    // The access time modes are one field: setting one clears the rest of it.
    ("noatime", NO_ACCESS_TIME, ACCESS_TIME),
    ("atime", RELATIVE_TIME, ACCESS_TIME),
    ("relatime", RELATIVE_TIME, ACCESS_TIME),
    ("norelatime", STRICT_TIME, ACCESS_TIME),
    ("strictatime", STRICT_TIME, ACCESS_TIME),
    ("nostrictatime", RELATIVE_TIME, ACCESS_TIME),
    ("nodiratime", NO_DIR_TIME, 0),
    ("diratime", 0, NO_DIR_TIME),
    ("nosymfollow", NO_SYMLINKS, 0),
    ("symfollow", 0, NO_SYMLINKS),
    ("defaults", 0, 0),
];

/// Words that are flags of the file system, as fsconfig(2) takes them.
const SUPERBLOCK: [&str; 5] = ["sync", "dirsync", "lazytime", "mand", "silent"];
/// Words that say what holds anyway.
const DEFAULTS: [&str; 6] = ["async", "nolazytime", "nomand", "loud", "iversion", "noiversion"];

/// Every word that is not a file system's own, for `features`.
pub(crate) fn known_options() -> Vec<String> {
    let plain = ATTRIBUTES.iter().map(|(word, ..)| (*word).to_owned());
    let recursive = ATTRIBUTES.iter().filter(|(word, ..)| *word != "defaults").map(|(word, ..)| format!("r{word}"));
    let propagations =
        ["private", "slave", "shared", "unbindable"].into_iter().flat_map(|w| [w.into(), format!("r{w}")]);
    let rest = ["bind", "rbind", "tmpcopyup", "idmap", "ridmap"]
        .into_iter()
        .chain(SUPERBLOCK)
        .chain(DEFAULTS)
        .map(str::to_owned);
    let mut all: Vec<_> = plain.chain(recursive).chain(propagations).chain(rest).collect();
    all.sort_unstable();
    all
}

impl MountPlan {
    pub(crate) fn new(mount: &Mount, index: usize, bundle: &Path) -> Result<Self> {
        let at = format!("mounts[{index}]");
        let destination = Path::new("/").join(mount.destination());
        if mount.destination().as_os_str().is_empty() || destination.parent().is_none() {
            return Err(Error::invalid(format!("{at}.destination"), "is the root itself"));
        }
        let mut plan = Self {
            at,
            destination,
            source: Source::Cgroup,
            attributes: Bits::default(),
            recursive: Bits::default(),
            propagation: None,
            data: Vec::new(),
            copy_up: false,
            id_map: None,
        };
        let bind = plan.read_options(mount.options().as_deref().unwrap_or_default())?;
        plan.source = plan.read_source(mount, bind, bundle)?;
        if plan.source != Source::Cgroup && !matches!(plan.source, Source::Filesystem { .. }) && !plan.data.is_empty() {
            let (word, _) = &plan.data[0];
            return Err(Error::invalid(
                format!("{}.options", plan.at),
                format!("`{word}` is no option of a bind mount"),
            ));
        }
        plan.read_maps(mount)?;
        if plan.copy_up && !matches!(&plan.source, Source::Filesystem { kind, .. } if kind == "tmpfs") {
            return Err(Error::invalid(format!("{}.options", plan.at), "`tmpcopyup` is for a tmpfs"));
        }
        Ok(plan)
    }

    /// Reads the options; answers how deep a bind mount is asked for, if one is.
    fn read_options(&mut self, options: &[String]) -> Result<Option<Depth>> {
        let mut bind = None;
        for option in options {
            match option.as_str() {
                "bind" => bind = bind.or(Some(Depth::Single)),
                "rbind" => bind = Some(Depth::Recursive),
                "tmpcopyup" => self.copy_up = true,
                "idmap" => self.id_map = Some(IdMap { depth: Depth::Single, ..IdMap::default() }),
                "ridmap" => self.id_map = Some(IdMap { depth: Depth::Recursive, ..IdMap::default() }),
                word if DEFAULTS.contains(&word) => {}
                word if SUPERBLOCK.contains(&word) => self.data.push((word.into(), None)),
                word => self.read_word(word)?,
            }
        }
        Ok(bind)
    }

    fn read_word(&mut self, word: &str) -> Result<()> {
        if let Some(found) = propagation(word) {
            self.propagation = Some(found);
        } else if let Some((_, set, clear)) = ATTRIBUTES.iter().find(|(known, ..)| *known == word) {
            self.attributes.add(*set, *clear);
        } else if let Some((_, set, clear)) = word
            .strip_prefix('r')
            .and_then(|rest| ATTRIBUTES.iter().find(|(known, ..)| *known == rest && rest != "defaults"))
        {
            self.recursive.add(*set, *clear);
        } else {
            match word.split_once('=') {
                _ if word.is_empty() || word.starts_with('=') => {
                    return Err(Error::invalid(format!("{}.options", self.at), "has an empty word"));
                }
                Some((key, value)) => self.data.push((key.into(), Some(value.into()))),
                None => self.data.push((word.into(), None)),
            }
        }
        Ok(())
    }

    /// `uidMappings` and `gidMappings`, which go together and are for a bind mount.
    fn read_maps(&mut self, mount: &Mount) -> Result<()> {
        match (mount.uid_mappings(), mount.gid_mappings()) {
            (None, None) => {}
            (Some(users), Some(groups)) => {
                let map = self.id_map.get_or_insert_default();
                (map.users, map.groups) = (users.clone(), groups.clone());
            }
            _ => {
                return Err(Error::invalid(
                    format!("{}.uidMappings", self.at),
                    "needs gidMappings beside it, and they it",
                ));
            }
        }
        if self.id_map.is_some() && !matches!(self.source, Source::Bind { .. }) {
            return Err(Error::invalid(format!("{}.options", self.at), "`idmap` is for a bind mount"));
        }
        Ok(())
    }

    fn read_source(&self, mount: &Mount, bind: Option<Depth>, bundle: &Path) -> Result<Source> {
        let kind = mount.typ().as_deref().unwrap_or_default();
        let source = mount.source().as_deref();
        // The kernel ignores the type of a bind mount, and so do runc and Docker, who write "bind" or "none" there.
        let depth = bind.or((kind == "bind").then_some(Depth::Single));
        if let Some(depth) = depth {
            let source = source.filter(|source| !source.as_os_str().is_empty());
            let source = source.ok_or_else(|| Error::invalid(format!("{}.source", self.at), "is missing"))?;
            return Ok(Source::Bind { path: bundle.join(source), depth });
        }
        match kind {
            "" | "none" => Err(Error::invalid(format!("{}.type", self.at), "is missing")),
            "cgroup" | "cgroup2" => Ok(Source::Cgroup),
            kind => Ok(Source::Filesystem { kind: kind.into(), source: source.map(|path| path.display().to_string()) }),
        }
    }
}

impl Bits {
    fn add(&mut self, set: u64, clear: u64) {
        self.set = (self.set & !clear) | set;
        self.clear = (self.clear & !set) | clear;
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// A propagation by its mount option, and whether it holds for the mounts below too.
pub(crate) fn propagation(word: &str) -> Option<(Propagation, Depth)> {
    let kind = |word| match word {
        "private" => Some(Propagation::Private),
        "slave" => Some(Propagation::Slave),
        "shared" => Some(Propagation::Shared),
        "unbindable" => Some(Propagation::Unbindable),
        _ => None,
    };
    let recursive = word.strip_prefix('r').and_then(kind).map(|found| (found, Depth::Recursive));
    recursive.or_else(|| kind(word).map(|found| (found, Depth::Single)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<MountPlan> {
        MountPlan::new(&serde_json::from_str(json).unwrap(), 0, Path::new("/bundle"))
    }

    #[test]
    fn words_become_bits() {
        let plan =
            plan(r#"{"destination":"data","source":"src","options":["rbind","rro","nosuid","rslave"]}"#).unwrap();
        assert_eq!(plan.destination, Path::new("/data"));
        assert_eq!(plan.source, Source::Bind { path: "/bundle/src".into(), depth: Depth::Recursive });
        assert_eq!(plan.recursive, Bits { set: READ_ONLY, clear: 0 });
        assert_eq!(plan.attributes, Bits { set: NO_SUID, clear: 0 });
        assert_eq!(plan.propagation, Some((Propagation::Slave, Depth::Recursive)));
    }

    #[test]
    fn the_last_word_counts() {
        let plan =
            plan(r#"{"destination":"/t","type":"tmpfs","options":["ro","rw","noatime","strictatime","size=1k"]}"#);
        let plan = plan.unwrap();
        assert_eq!(plan.attributes.set, STRICT_TIME);
        assert_eq!(plan.data, [("size".to_owned(), Some("1k".to_owned()))]);
    }

    #[test]
    fn what_cannot_be_mounted_is_named() {
        for (json, at) in [
            (r#"{"destination":"/x","options":["rbind"]}"#, "mounts[0].source"),
            (r#"{"destination":"/x"}"#, "mounts[0].type"),
            (r#"{"destination":"/","type":"tmpfs"}"#, "mounts[0].destination"),
            (r#"{"destination":"/x","source":"/y","options":["bind","sized"]}"#, "mounts[0].options"),
        ] {
            let error = plan(json).unwrap_err();
            assert!(matches!(&error, Error::Invalid { at: found, .. } if found == at), "{error}");
        }
    }
}
