//! An ordinary user's way in: root in a user namespace of its own, where everything else runs as it does for root.
//!
//! The process enters once, at its start and while it has one thread; it keeps its pid and its terminal. Ids beyond
//! the user's own come from `/etc/subuid` and `/etc/subgid` by newuidmap(1) and newgidmap(1), which a child has to
//! run, left behind in the namespace that we leave.

mod directories;
mod helper;

use onggi_diag::{Diagnose, Kind, Record};
use onggi_sys::idmap::{self, Ids, Range};
use onggi_sys::mount::FsContext;
use onggi_sys::{Errno, namespace, prctl, process};

pub use directories::{Surroundings, paths};
use helper::Helper;

/// Who we are after [`enter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// Root before and root now; nothing was done.
    Root,
    /// An ordinary user, root in a user namespace.
    User(User),
}

/// An ordinary user and what of him is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user id outside.
    pub uid: u32,
    /// The group id outside.
    pub gid: u32,
    /// Why there are no ids but the user's own, if that is so.
    pub alone: Option<Alone>,
}

/// There is one user and one group in the namespace: the user's own, as root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// What keeps the others out.
    pub why: String,
}

impl std::fmt::Display for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "only your own user id is mapped, because {}: images with files of several users cannot be unpacked, and \
             containers cannot run as another user than root",
            self.why
        )
    }
}

/// Why an ordinary user could not enter.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// Too late in the process's life.
    #[error("cannot enter a user namespace: the process has threads already")]
    Threads,
    /// The kernel gave no namespace.
    #[error("cannot make a user namespace: {why}")]
    Namespace {
        /// What the kernel or its settings say.
        why: &'static str,
        /// What to do about it.
        remedy: &'static str,
        /// The kernel's answer.
        source: onggi_sys::Error,
    },
    /// The namespace gives no rights.
    #[error("the user namespace gives no rights in it: {why}")]
    Restricted {
        /// Who takes them.
        why: &'static str,
        /// What to do about it.
        remedy: &'static str,
        /// The kernel's answer.
        source: onggi_sys::Error,
    },
    /// Something on the way failed.
    #[error("cannot {what}")]
    Step {
        /// What was being done.
        what: &'static str,
        /// The kernel's answer.
        source: onggi_sys::Error,
    },
    /// The directory for sockets is not one to put them in.
    #[error("the runtime directory {} {why}", path.display())]
    RuntimeDirectory {
        /// The directory.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: &'static str,
        /// Whether it looks made by somebody else.
        hostile: bool,
    },
    /// There is nowhere to keep things.
    #[error("no directory to keep images and containers in: neither XDG_DATA_HOME nor HOME is set to an absolute path")]
    NoHome,
}

impl Diagnose for RootlessError {
    fn kind(&self) -> Kind {
        match self {
            Self::Threads => Kind::Internal,
            Self::Namespace { .. } | Self::Restricted { .. } => Kind::Denied,
            Self::Step { source, .. } => source.kind(),
            Self::RuntimeDirectory { hostile: true, .. } => Kind::Hostile,
            Self::RuntimeDirectory { .. } | Self::NoHome => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Namespace { remedy, .. } | Self::Restricted { remedy, .. } => Some((*remedy).to_owned()),
            Self::RuntimeDirectory { .. } => Some(
                "XDG_RUNTIME_DIR must be a directory of your own with mode 0700; a login by systemd makes one".into(),
            ),
            Self::NoHome => Some("set HOME, or give --root and --run".into()),
            Self::Threads | Self::Step { .. } => None,
        }
    }
}

type Result<T> = std::result::Result<T, RootlessError>;

/// Makes an ordinary user root in a new user and mount namespace. Does nothing for root.
///
/// Call it at the start of the process, before there is any thread. Supplementary groups are kept: giving one up
/// could open what a file denies to it.
///
/// # Errors
/// The process may be in the new namespaces then; the only thing left to do is report and exit.
pub fn enter() -> Result<Entered> {
    let (uid, gid) = (process::effective_user(), process::effective_group());
    if uid == 0 {
        return Ok(Entered::Root);
    }
    if !process::is_single_threaded() {
        return Err(RootlessError::Threads);
    }
    let alone = match Plan::of(uid, gid)? {
        Plan::Helped { users, groups } => enter_helped(&users, &groups, uid, gid)?,
        Plan::Alone { why } => {
            leave()?;
            map_own(Ids::Users, uid)?;
            map_own(Ids::Groups, gid)?;
            Some(why)
        }
    };
    check_rights()?;
    Ok(Entered::User(User { uid, gid, alone: alone.map(|why| Alone { why }) }))
}

/// Which ids there are to be.
enum Plan {
    Helped { users: Vec<Range>, groups: Vec<Range> },
    Alone { why: String },
}

impl Plan {
    fn of(uid: u32, gid: u32) -> Result<Self> {
        let step = |what| move |source| RootlessError::Step { what, source };
        let users = idmap::subordinates(Ids::Users, uid).map_err(step("read /etc/subuid"))?;
        let groups = idmap::subordinates(Ids::Groups, uid).map_err(step("read /etc/subgid"))?;
        for (ids, runs) in [(Ids::Users, &users), (Ids::Groups, &groups)] {
            if runs.is_empty() {
                return Ok(Self::Alone { why: format!("{} gives no ids to user {uid}", ids.subordinate_file()) });
            }
            if let Err(missing) = idmap::find_helper(ids) {
                return Ok(Self::Alone { why: missing.to_string() });
            }
        }
        Ok(Self::Helped { users: from_zero(uid, &users), groups: from_zero(gid, &groups) })
    }
}

/// The own id as 0 and the subordinate ones in a row behind it.
fn from_zero(own: u32, runs: &[(u32, u32)]) -> Vec<Range> {
    let mut map = vec![Range::single(0, own)];
    let mut inside = 1u32;
    for &(outside, count) in runs.iter().take(idmap::MOST_RANGES - 1) {
        let Some(next) = inside.checked_add(count) else { break };
        map.push(Range { inside, outside, count });
        inside = next;
    }
    map
}

/// Answers why the user is alone in the namespace, if the helpers refused.
fn enter_helped(users: &[Range], groups: &[Range], uid: u32, gid: u32) -> Result<Option<String>> {
    // The helpers look at who owns /proc/PID, which is root where a process may not be dumped.
    prctl::set_dumpable(true).map_err(|source| RootlessError::Step { what: "become dumpable", source })?;
    let helper =
        Helper::start(users, groups).map_err(|source| RootlessError::Step { what: "start a helper", source })?;
    leave()?;
    let refusals = helper.map_ids().map_err(|source| RootlessError::Step { what: "wait for the helper", source })?;
    let mut why = None;
    for (ids, own, refusal) in [(Ids::Users, uid, refusals.users), (Ids::Groups, gid, refusals.groups)] {
        if let Some(refusal) = refusal {
            map_own(ids, own)?;
            why = why.or_else(|| Some(told(&refusal)));
        }
    }
    Ok(why)
}

fn told(refusal: &Record) -> String {
    refusal.chain.join(": ")
}

fn leave() -> Result<()> {
    namespace::unshare(namespace::USER | namespace::MOUNT).map_err(no_namespace)
}

/// What everybody may do: the own id as root, and no other.
fn map_own(ids: Ids, own: u32) -> Result<()> {
    let pid = process::own_pid();
    if ids == Ids::Groups {
        idmap::deny_setgroups(pid).map_err(|source| RootlessError::Step { what: "deny setgroups", source })?;
    }
    let what = match ids {
        Ids::Users => "map the own user id",
        Ids::Groups => "map the own group id",
    };
    idmap::write(pid, ids, &[Range::single(0, own)]).map_err(|source| RootlessError::Step { what, source })
}

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const APPARMOR_WHY: &str =
    "AppArmor restricts user namespaces on this machine (kernel.apparmor_restrict_unprivileged_userns is 1)";
const APPARMOR_REMEDY: &str = "give onggi an AppArmor profile with `userns,`, for instance in /etc/apparmor.d/onggi: \
    `profile onggi /usr/local/bin/onggi flags=(unconfined) { userns, }`, then `apparmor_parser -r` it";

/// Finds out who refused, from the settings that can.
fn no_namespace(source: onggi_sys::Error) -> RootlessError {
    let (why, remedy) = if setting(APPARMOR) == Some(1) {
        (APPARMOR_WHY, APPARMOR_REMEDY)
    } else if setting("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        ("kernel.unprivileged_userns_clone is 0", "as root: `sysctl kernel.unprivileged_userns_clone=1`")
    } else if setting("/proc/sys/user/max_user_namespaces") == Some(0) {
        ("user.max_user_namespaces is 0", "as root: `sysctl user.max_user_namespaces=15000`")
    } else if source.is(Errno::NOSPC) || source.is(Errno::USERS) {
        ("there are too many, or they are nested too deeply", "as root: raise `sysctl user.max_user_namespaces`")
    } else {
        ("the kernel refuses", "in a container, its seccomp profile must allow unshare(2)")
    };
    RootlessError::Namespace { why, remedy, source }
}

/// AppArmor lets the namespace be made and takes its rights away afterwards, so they are tried where it may.
fn check_rights() -> Result<()> {
    if setting(APPARMOR) != Some(1) {
        return Ok(());
    }
    let probe = FsContext::open("tmpfs").map(drop);
    probe.map_err(|source| RootlessError::Restricted { why: APPARMOR_WHY, remedy: APPARMOR_REMEDY, source })
}

fn setting(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_stand_in_a_row_behind_the_own_one() {
        assert_eq!(
            from_zero(1000, &[(100_000, 65_536), (300_000, 10)]),
            [
                Range::single(0, 1000),
                Range { inside: 1, outside: 100_000, count: 65_536 },
                Range { inside: 65_537, outside: 300_000, count: 10 },
            ]
        );
        assert_eq!(from_zero(7, &[(1, u32::MAX)]), [Range::single(0, 7)]);
    }
}
