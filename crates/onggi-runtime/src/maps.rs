//! Users and groups of a new user namespace.

use std::os::fd::OwnedFd;

use onggi_oci::runtime::LinuxIdMapping;
use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::idmap::{self, Ids, Range};
use onggi_sys::process::{self, CloneRequest, Forked};
use onggi_sys::{capability, namespace as ns, socket};

use crate::plan::NamespacePlan;
use crate::{Error, Result};

const SETGID_AND_SETUID: u64 = 1 << 6 | 1 << 7;

/// Writes the maps of the user namespace that the process `pid` was born in: itself where it may, by `newuidmap` and
/// `newgidmap` where not.
pub(crate) fn write(pid: i32, plan: &NamespacePlan) -> Result<()> {
    let (users, groups) = (ranges(&plan.uid_map), ranges(&plan.gid_map));
    let privileged = capability::get().is_ok_and(|sets| sets.effective & SETGID_AND_SETUID == SETGID_AND_SETUID);
    let failed = |name: &str| Error::step(format!("write the {name} map of the user namespace"));
    if !privileged && !is_only_self(&users, &groups) {
        idmap::write_by_helper(pid, Ids::Users, &users).map_err(Error::Maps)?;
        return idmap::write_by_helper(pid, Ids::Groups, &groups).map_err(Error::Maps);
    }
    if !privileged {
        idmap::deny_setgroups(pid).map_err(failed("group"))?;
    }
    idmap::write(pid, Ids::Users, &users).map_err(failed("user"))?;
    idmap::write(pid, Ids::Groups, &groups).map_err(failed("group"))
}

/// A user namespace with these maps and nobody in it, as a mount takes it.
pub(crate) fn namespace(users: &[LinuxIdMapping], groups: &[LinuxIdMapping]) -> onggi_sys::Result<OwnedFd> {
    let (ours, theirs) = socket::message_pair()?;
    let request = CloneRequest { flags: ns::USER, ..CloneRequest::default() };
    let (pid, pidfd) = match process::clone3(&request)? {
        Forked::Child => {
            drop(ours);
            // It only has to be there until we have opened its namespace, and not longer than us.
            drop(socket::receive(&theirs, &mut [0]));
            process::exit_now(0)
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    let opened = idmap::write(pid, Ids::Users, &ranges(users))
        .and_then(|()| idmap::write(pid, Ids::Groups, &ranges(groups)))
        .and_then(|()| file::open(CWD, format!("/proc/{pid}/ns/user"), OFlags::RDONLY, Mode::empty()));
    drop(ours);
    process::wait(&pidfd)?;
    opened
}

fn ranges(map: &[LinuxIdMapping]) -> Vec<Range> {
    map.iter().map(|one| Range { inside: one.container_id(), outside: one.host_id(), count: one.size() }).collect()
}

/// What anybody may map: himself and nobody else.
fn is_only_self(users: &[Range], groups: &[Range]) -> bool {
    let one = |map: &[Range], own: u32| matches!(map, [range] if range.count == 1 && range.outside == own);
    one(users, onggi_sys::process::effective_user()) && one(groups, onggi_sys::process::effective_group())
}
