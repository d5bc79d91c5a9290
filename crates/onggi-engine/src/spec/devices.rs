//! Device nodes and the rules for them.

use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};
use onggi_fs::Root;
use onggi_sys::file::{self, FileType};

use super::COMPLETE;
use crate::defaults::devices::{ALLOWED, NOT_FROM_HOST, Rule};

/// The device controller's rules: nothing but the defaults, or everything.
pub(super) fn rules(privileged: bool) -> Vec<LinuxDeviceCgroup> {
    let everything = |allow| {
        let builder = LinuxDeviceCgroupBuilder::default().allow(allow).typ(LinuxDeviceType::A).access("rwm");
        builder.build().expect(COMPLETE)
    };
    if privileged {
        return vec![everything(true)];
    }
    std::iter::once(everything(false)).chain(ALLOWED.iter().map(allowed)).collect()
}

fn allowed(rule: &Rule) -> LinuxDeviceCgroup {
    let typ = if rule.kind == 'b' { LinuxDeviceType::B } else { LinuxDeviceType::C };
    let mut built =
        LinuxDeviceCgroupBuilder::default().allow(true).typ(typ).access(rule.access).build().expect(COMPLETE);
    built.set_major(rule.major).set_minor(rule.minor);
    built
}

/// Every device of the host's `/dev`, as a privileged container gets them; what vanishes meanwhile is left out.
pub(super) fn of_host() -> Vec<LinuxDevice> {
    let mut found = Vec::new();
    if let Ok(dev) = Root::open("/dev") {
        collect(&dev, "/dev", &mut found);
    }
    found
}

fn collect(dir: &Root, path: &str, found: &mut Vec<LinuxDevice>) {
    for entry in file::entries(dir).unwrap_or_default() {
        let Some(name) = entry.name.to_str().filter(|name| !NOT_FROM_HOST.contains(name)) else { continue };
        let path = format!("{path}/{name}");
        let Ok(stat) = file::stat_at(dir, name) else { continue };
        match file::type_of(&stat) {
            FileType::Directory => {
                if let Ok(below) = dir.child_dir(name) {
                    collect(&below, &path, found);
                }
            }
            FileType::CharacterDevice => found.push(device(path, LinuxDeviceType::C, &stat)),
            FileType::BlockDevice => found.push(device(path, LinuxDeviceType::B, &stat)),
            _ => {}
        }
    }
}

fn device(path: String, typ: LinuxDeviceType, stat: &file::Stat) -> LinuxDevice {
    LinuxDeviceBuilder::default()
        .path(path)
        .typ(typ)
        .major(i64::from(file::major(stat.st_rdev)))
        .minor(i64::from(file::minor(stat.st_rdev)))
        .file_mode(stat.st_mode & 0o7777)
        .uid(stat.st_uid)
        .gid(stat.st_gid)
        .build()
        .expect(COMPLETE)
}
