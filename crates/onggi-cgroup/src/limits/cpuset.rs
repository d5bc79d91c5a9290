//! `cpus` and `mems` of `linux.resources.cpu`.

use std::path::Path;

use onggi_oci::runtime::LinuxCpu;

use crate::attribute::Directory;
use crate::group::Part;
use crate::{Error, Result};

/// Whether processors or memory nodes are chosen.
pub(crate) fn asks(cpu: &LinuxCpu) -> bool {
    chosen(cpu).next().is_some()
}

/// Puts the choice on.
pub(crate) fn set(part: &Part, cpu: &LinuxCpu) -> Result<()> {
    chosen(cpu).try_for_each(|(name, list)| part.directory.write(name, list))
}

fn chosen(cpu: &LinuxCpu) -> impl Iterator<Item = (&'static str, &str)> {
    [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())]
        .into_iter()
        .filter_map(|(name, list)| Some((name, list.as_deref().filter(|list| !list.is_empty())?)))
}

/// Gives a new v1 group the processors and nodes of the group above it, which v1 leaves empty: no process could
/// enter. Groups on the way that are empty too get theirs first.
pub(crate) fn inherit(group: &Directory, mount: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        inherit_one(group, mount, name)?;
    }
    Ok(())
}

fn inherit_one(group: &Directory, mount: &Path, name: &str) -> Result<String> {
    let own = group.read(name)?;
    if !own.is_empty() || group.path == mount {
        return Ok(own);
    }
    let above = group.path.parent().unwrap_or(mount).to_owned();
    let above = Directory::open(above.clone()).map_err(|source| Error::Open { path: above, source })?;
    let inherited = inherit_one(&above, mount, name)?;
    group.write(name, &inherited)?;
    Ok(inherited)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "plain files stand for the kernel's")]
mod tests {
    use onggi_oci::runtime::LinuxCpuBuilder;

    use super::*;
    use crate::Controller;
    use crate::limits::fake::Fake;

    #[test]
    fn what_is_chosen_is_written() {
        let fake = Fake::new(&[("cpuset.cpus", ""), ("cpuset.mems", "")]);
        set(&fake.v2(Controller::Cpuset), &LinuxCpuBuilder::default().cpus("0-1").mems("").build().unwrap()).unwrap();
        assert_eq!((fake.read("cpuset.cpus"), fake.read("cpuset.mems")), ("0-1".into(), String::new()));
    }

    #[test]
    fn empty_groups_on_the_way_get_the_nearest_value_above() {
        let fake = Fake::new(&[("cpuset.cpus", "0-3\n"), ("cpuset.mems", "0\n")]);
        let (middle, leaf) = (fake.path().join("middle"), fake.path().join("middle/leaf"));
        std::fs::create_dir_all(&leaf).unwrap();
        for dir in [&middle, &leaf] {
            std::fs::write(dir.join("cpuset.cpus"), "").unwrap();
            std::fs::write(dir.join("cpuset.mems"), "").unwrap();
        }
        std::fs::write(middle.join("cpuset.cpus"), "2").unwrap();
        inherit(&Directory::open(leaf).unwrap(), fake.path()).unwrap();
        assert_eq!(fake.read("middle/leaf/cpuset.cpus"), "2");
        assert_eq!(fake.read("middle/leaf/cpuset.mems"), "0");
        assert_eq!(fake.read("middle/cpuset.mems"), "0");
    }
}
