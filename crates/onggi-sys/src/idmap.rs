//! Which ids of a user namespace are which ids outside: user_namespaces(7), `/proc/PID/uid_map` and `gid_map`,
//! subuid(5), and the set-user-ID programs newuidmap(1) and newgidmap(1) for those who may not write them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use onggi_diag::{Diagnose, Kind};
use rustix::io::Errno;

use crate::file::{self, CWD, Mode, OFlags};
use crate::{Error, Result};

/// The most lines that the kernel takes in a map (since Linux 4.15).
pub const MOST_RANGES: usize = 340;
/// Directories in which set-user-ID programs are looked for. Not `$PATH`: what it names need not be the system's.
const HELPER_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];
/// The largest `/etc/passwd` or `/etc/subuid` that is read.
const LONGEST: usize = 10 << 20;

/// A run of ids: `count` of them, from `inside` in the namespace and from `outside` in its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id in the namespace.
    pub inside: u32,
    /// The first id in the namespace above.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl Range {
    /// The one id `outside` as `inside`.
    pub fn single(inside: u32, outside: u32) -> Self {
        Self { inside, outside, count: 1 }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

/// User or group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// User ids.
    Users,
    /// Group ids.
    Groups,
}

impl Ids {
    /// The program that writes such a map for an ordinary user.
    pub fn helper(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }

    /// The file that says which ids an ordinary user may map.
    pub fn subordinate_file(self) -> &'static str {
        match self {
            Self::Users => "/etc/subuid",
            Self::Groups => "/etc/subgid",
        }
    }

    fn map_file(self) -> &'static str {
        match self {
            Self::Users => "uid_map",
            Self::Groups => "gid_map",
        }
    }
}

/// Writes the map of the user namespace that process `pid` has just entered. Once per namespace.
///
/// The caller needs `CAP_SETUID` (`CAP_SETGID`) in the parent namespace, or may map its own effective id alone, for
/// groups after [`deny_setgroups`].
pub fn write(pid: i32, ids: Ids, map: &[Range]) -> Result<()> {
    let text: String = map.iter().map(|range| format!("{range}\n")).collect();
    write_whole(&format!("/proc/{pid}/{}", ids.map_file()), &text)
}

/// Takes setgroups(2) away from the namespace of process `pid`, for ever.
///
/// Without it a process could drop a group that a file denies something to, so the kernel demands it of an ordinary
/// user before it may map a group.
pub fn deny_setgroups(pid: i32) -> Result<()> {
    write_whole(&format!("/proc/{pid}/setgroups"), "deny")
}

/// The kernel takes a map in one write or not at all.
fn write_whole(path: &str, text: &str) -> Result<()> {
    let fd = file::open(CWD, path, OFlags::WRONLY, Mode::empty())?;
    let failed = |errno| Error::new("write", format!("{path}, \"{}\"", text.trim_end().replace('\n', ", ")), errno);
    match file::write_bare(fd, text.as_bytes()) {
        Ok(written) if written == text.len() => Ok(()),
        Ok(_) => Err(failed(Errno::IO)),
        Err(errno) => Err(failed(errno)),
    }
}

/// Why newuidmap(1) or newgidmap(1) did not write a map.
#[derive(Debug)]
pub enum HelperError {
    /// It is not installed.
    Missing(&'static str),
    /// It is there and not set-user-ID, nor has it file capabilities that we can see.
    Start(PathBuf, std::io::Error),
    /// It refused; what it said.
    Refused(PathBuf, String),
}

impl fmt::Display for HelperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(program) => write!(f, "there is no {program} on this machine"),
            Self::Start(path, _) => write!(f, "cannot run {}", path.display()),
            Self::Refused(path, said) => write!(f, "{} refused: {said}", path.display()),
        }
    }
}

impl std::error::Error for HelperError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(_, source) => Some(source),
            Self::Missing(_) | Self::Refused(..) => None,
        }
    }
}

impl Diagnose for HelperError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) => Kind::Unsupported,
            Self::Start(..) | Self::Refused(..) => Kind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) => Some("install it: the package is `uidmap` on Debian, `shadow-utils` on Fedora".into()),
            Self::Start(path, _) | Self::Refused(path, _) => Some(format!(
                "{} must be set-user-ID root, and /etc/subuid must give the ids to this user",
                path.display()
            )),
        }
    }
}

/// Has newuidmap(1) or newgidmap(1) write the map of the namespace that process `pid` has just entered.
pub fn write_by_helper(pid: i32, ids: Ids, map: &[Range]) -> std::result::Result<(), HelperError> {
    let path = find_helper(ids)?;
    let words =
        map.iter().flat_map(|range| [range.inside, range.outside, range.count]).map(|number| number.to_string());
    #[expect(clippy::disallowed_methods, reason = "the one place that runs newuidmap and newgidmap")]
    let output = Command::new(&path)
        .arg(pid.to_string())
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| HelperError::Start(path.clone(), error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(HelperError::Refused(path, if said.is_empty() { output.status.to_string() } else { said }))
}

/// Where the helper for such ids is installed.
pub fn find_helper(ids: Ids) -> std::result::Result<PathBuf, HelperError> {
    HELPER_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(ids.helper()))
        .find(|path| file::stat_at(CWD, path).is_ok())
        .ok_or(HelperError::Missing(ids.helper()))
}

/// The runs of ids that `/etc/subuid` or `/etc/subgid` gives to the user `uid`, as (first, count), in its order.
///
/// None where there is no such file. Lines name a user by name or by number.
pub fn subordinates(ids: Ids, uid: u32) -> Result<Vec<(u32, u32)>> {
    let Some(text) = read_if_there(ids.subordinate_file())? else { return Ok(Vec::new()) };
    let user = user(uid)?;
    Ok(parse_subordinates(&text, user.as_ref().map(|user| user.name.as_str()), uid))
}

/// A line of `/etc/passwd`, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
}

/// The user `uid` in `/etc/passwd`. Users that only a directory service knows are not there.
pub fn user(uid: u32) -> Result<Option<User>> {
    Ok(read_if_there("/etc/passwd")?.and_then(|text| parse_user(&text, uid)))
}

fn read_if_there(path: &str) -> Result<Option<String>> {
    match file::open(CWD, path, OFlags::RDONLY, Mode::empty()) {
        Ok(fd) => Ok(Some(String::from_utf8_lossy(&file::read_all(fd, LONGEST)?).into_owned())),
        Err(error) if error.is(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `name:100000:65536` or `1000:100000:65536`; lines that say something else give nothing.
fn parse_subordinates(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let parse = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let (first, count): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let ours = Some(who) == name || who == uid;
        // The last id, -1, names nobody; and a run that starts at 0 would give root away.
        let sane = first > 0 && count > 0 && first.checked_add(count).is_some() && fields.next().is_none();
        (ours && sane).then_some((first, count))
    };
    text.lines().filter_map(parse).take(MOST_RANGES).collect()
}

fn parse_user(text: &str, uid: u32) -> Option<User> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let found = fields.nth(1)?.parse::<u32>().ok()? == uid;
        let home = fields.nth(2).unwrap_or_default();
        found.then(|| User { name: name.to_owned(), home: home.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_by_name_and_by_number() {
        let text = "# none\nann:100000:65536\n1000:300000:10\nbob:200000:65536\nann:x:1\nann:0:5\nann:4294967290:10\n\nann:7\n";
        assert_eq!(parse_subordinates(text, Some("ann"), 1000), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(parse_subordinates(text, None, 1000), [(300_000, 10)]);
        assert_eq!(parse_subordinates(text, Some("carl"), 7), []);
        assert_eq!(parse_subordinates("ann:5:0\n", Some("ann"), 1), []);
    }

    #[test]
    fn names_of_users() {
        let text = "root:x:0:0::/root:/bin/sh\nbroken\n:x:5:5::/:\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(parse_user(text, 1000), Some(User { name: "ann".into(), home: "/home/ann".into() }));
        assert_eq!(parse_user(text, 5), None);
        assert_eq!(user(0).unwrap().unwrap().name, "root");
    }

    #[test]
    fn a_refused_map_names_itself() {
        // The first namespace has its map, and a map is written once.
        let error =
            write(1, Ids::Users, &[Range::single(0, 0), Range { inside: 1, outside: 5, count: 9 }]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/proc/1/uid_map"), "{text}");
    }
}
