//! Who a user is: looked up in the container's own `/etc/passwd` and `/etc/group`, which its image wrote.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use onggi_diag::{Diagnose, Kind};
use onggi_fs::Root;
use onggi_sys as sys;
use onggi_sys::{Errno, file};

/// The highest user or group number: beyond it some interface or other takes them for negative.
const HIGHEST: u32 = i32::MAX.unsigned_abs();

/// The largest passwd or group file that is read, and the longest line.
const FILE_LIMIT: u64 = 10 << 20;
const LINE_LIMIT: u64 = 1 << 20;

/// The longest user or group name that is looked up.
const NAME_LIMIT: usize = 256;

/// The most supplementary groups the kernel takes.
const GROUPS: usize = 65536;

/// What a user's name or number comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Why a user or group cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("`{0}` is not a user: it takes `USER` or `USER:GROUP`, each a name or a number up to {HIGHEST}")]
    Malformed(String),
    #[error("the container's /etc/passwd has no user `{0}`")]
    NoUser(String),
    #[error("the container's /etc/group has no group `{0}`")]
    NoGroup(String),
    #[error("cannot read the container's {path}")]
    Read { path: &'static str, source: sys::Error },
}

impl Diagnose for UserError {
    fn kind(&self) -> Kind {
        match self {
            Self::Malformed(_) => Kind::Invalid,
            Self::NoUser(_) | Self::NoGroup(_) => Kind::NotFound,
            Self::Read { source, .. } => source.kind(),
        }
    }
}

/// Looks `user` up in `root`; the empty one is user 0. `extra` are supplementary groups beyond the user's own.
///
/// A number is never taken for a name, be there an entry of that name; without an entry it has group 0, no
/// supplementary groups but that and `/` for a home. Where `user` names a group, that is the only one, as Docker has it.
pub(crate) fn resolve(root: &Root, user: &str, extra: &[String]) -> Result<Identity, UserError> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(Wanted::parse(group)?)),
        None => (user, None),
    };
    let user = if user.is_empty() { Wanted::Number(0) } else { Wanted::parse(user)? };
    let entry = find_user(root, &user)?;
    let (uid, own_gid) = match (&entry, &user) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Wanted::Number(uid)) => (*uid, 0),
        (None, Wanted::Name(name)) => return Err(UserError::NoUser(name.clone())),
    };
    let mut groups = Vec::new();
    let gid = match &group {
        Some(group) => find_group(root, group)?,
        None => {
            let name = entry.as_ref().map(|entry| entry.name.as_str());
            groups = name.map_or(Ok(Vec::new()), |name| groups_of(root, name))?;
            own_gid
        }
    };
    for group in extra {
        groups.push(find_group(root, &Wanted::parse(group)?)?);
    }
    // Among the supplementary ones too, as initgroups(3) has it: a process that changes its group alone must not lose
    // what files deny to that group (CVE-2022-36109).
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(GROUPS);
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or_else(|| "/".to_owned());
    Ok(Identity { uid, gid, groups, home })
}

/// One side of the colon.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Number(u32),
    Name(String),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, UserError> {
        let malformed = || UserError::Malformed(text.chars().take(64).collect::<String>().escape_debug().to_string());
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(text).map(Self::Number).ok_or_else(malformed);
        }
        let odd = |symbol: char| symbol.is_control() || symbol.is_whitespace() || matches!(symbol, ':' | '/' | ',');
        if text.len() > NAME_LIMIT || text.starts_with(['-', '+']) || text.contains(odd) {
            return Err(malformed());
        }
        Ok(Self::Name(text.to_owned()))
    }
}

/// Decimal digits and nothing else, up to [`HIGHEST`].
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number <= HIGHEST)
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

fn find_user(root: &Root, wanted: &Wanted) -> Result<Option<User>, UserError> {
    find(root, "/etc/passwd", |line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
        let home = fields.nth(1).unwrap_or_default();
        let found = match wanted {
            Wanted::Number(number) => uid == *number,
            Wanted::Name(wanted) => name == wanted,
        };
        found.then(|| User { name: name.to_owned(), uid, gid, home: home.to_owned() })
    })
}

fn find_group(root: &Root, wanted: &Wanted) -> Result<u32, UserError> {
    let name = match wanted {
        Wanted::Number(gid) => return Ok(*gid),
        Wanted::Name(name) => name,
    };
    find(root, "/etc/group", |line| group(line).filter(|group| group.name == name).map(|group| group.gid))?
        .ok_or_else(|| UserError::NoGroup(name.clone()))
}

/// The groups that list `user` as a member.
fn groups_of(root: &Root, user: &str) -> Result<Vec<u32>, UserError> {
    let mut found = Vec::new();
    find(root, "/etc/group", |line| {
        if let Some(group) = group(line).filter(|group| group.members.split(',').any(|member| member == user)) {
            found.push(group.gid);
        }
        (found.len() > GROUPS).then_some(())
    })?;
    Ok(found)
}

struct Group<'l> {
    name: &'l str,
    gid: u32,
    members: &'l str,
}

fn group(line: &str) -> Option<Group<'_>> {
    let mut fields = line.split(':');
    let (name, _password, gid) = (fields.next()?, fields.next()?, number(fields.next()?)?);
    Some(Group { name, gid, members: fields.next().unwrap_or_default() })
}

/// The first line of a file in `root` that `pick` makes something of; a file that is not there has no lines.
fn find<T>(root: &Root, path: &'static str, mut pick: impl FnMut(&str) -> Option<T>) -> Result<Option<T>, UserError> {
    let failed = |source| UserError::Read { path, source };
    let opened = match root.open_file(path) {
        Err(error) if error.is(Errno::NOENT) || error.is(Errno::NOTDIR) => return Ok(None),
        other => other.map_err(failed)?,
    };
    let too_long = || failed(sys::Error::new("read", path, Errno::FBIG));
    if file::stat(&opened).map_err(failed)?.st_size.unsigned_abs() > FILE_LIMIT {
        return Err(too_long());
    }
    let mut lines = BufReader::new(File::from(opened).take(FILE_LIMIT));
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = lines.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line);
        match count.map_err(|error| failed(io_error(path, &error)))? {
            0 => return Ok(None),
            _ if line.len() as u64 >= LINE_LIMIT => return Err(too_long()),
            _ => {}
        }
        // A line that is not text is nobody's.
        let found = std::str::from_utf8(&line).ok().and_then(|line| pick(line.trim_end_matches('\n')));
        if found.is_some() {
            return Ok(found);
        }
    }
}

fn io_error(path: &'static str, error: &std::io::Error) -> sys::Error {
    sys::Error::new("read", path, error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_sys::file::{FileType, Mode};
    use std::os::unix::fs::symlink;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n\
        broken\n\
        huge:x:4294967296:0::/:/bin/sh\n\
        99999999999:x:0:0::/:/bin/sh\n\
        4711:x:5:6::/five:/bin/sh\n\
        nohome:x:7:7:::\n";
    const GROUP: &str = "root:x:0:root\nwheel:x:10:root,app\naudio:x:29:app\nappg:x:1001:\n";

    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("passwd.real", dir.path().join("etc/passwd")).unwrap();
        put(&dir, "passwd.real", PASSWD);
        put(&dir, "group", GROUP);
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn put(dir: &tempfile::TempDir, name: &str, text: &str) {
        let etc = Root::open(dir.path().join("etc")).unwrap();
        onggi_fs::write_atomic(etc, name, text.as_bytes(), 0o644, onggi_fs::Durability::Volatile).unwrap();
    }

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
        Identity { uid, gid, groups: groups.to_vec(), home: home.into() }
    }

    #[test]
    fn names_and_numbers() {
        let (_dir, root) = scratch();
        for (user, expected) in [
            ("", identity(0, 0, &[0, 10], "/root")),
            ("root", identity(0, 0, &[0, 10], "/root")),
            ("app", identity(1000, 1001, &[10, 29, 1001], "/home/app")),
            ("1000", identity(1000, 1001, &[10, 29, 1001], "/home/app")),
            ("app:wheel", identity(1000, 10, &[10], "/home/app")),
            ("app:0", identity(1000, 0, &[0], "/home/app")),
            (":wheel", identity(0, 10, &[10], "/root")),
            ("12345", identity(12345, 0, &[0], "/")),
            ("12345:67", identity(12345, 67, &[67], "/")),
            ("2147483647", identity(2_147_483_647, 0, &[0], "/")),
            ("nohome", identity(7, 7, &[7], "/")),
            // A number is a number, whatever the image calls its users.
            ("4711", identity(4711, 0, &[0], "/")),
        ] {
            assert_eq!(resolve(&root, user, &[]).unwrap(), expected, "{user}");
        }
        let extra = ["audio".to_owned(), "77".to_owned()];
        assert_eq!(resolve(&root, "12345", &extra).unwrap().groups, [0, 29, 77]);
    }

    #[test]
    fn nothing_is_guessed() {
        let (_dir, root) = scratch();
        for user in [
            "1:",
            ":",
            "0x1",
            "1 2",
            " 1",
            "1\n",
            "-1",
            "+1",
            "4294967296",
            "4294967296:0",
            "2147483648",
            "99999999999",
            "0:4294967296",
            "huge",
            "broken",
            "app:nosuch",
            "nosuch",
            "app:wheel:x",
            "a/b",
            "root\n",
            "１",
        ] {
            assert!(resolve(&root, user, &[]).is_err(), "{user:?}");
        }
        assert!(resolve(&root, "root", &["".to_owned()]).is_err());
    }

    #[test]
    fn hostile_files_are_errors_at_once() {
        let (dir, root) = scratch();
        let etc = dir.path().join("etc");
        let replace = |name: &str| drop(std::fs::remove_file(etc.join(name)));
        replace("group");
        let sparse = std::fs::File::create(etc.join("group")).unwrap();
        sparse.set_len(5 << 30).unwrap();
        assert!(matches!(resolve(&root, "app", &[]), Err(UserError::Read { .. })));
        sparse.set_len(9 << 20).unwrap();
        assert!(matches!(resolve(&root, "app", &[]), Err(UserError::Read { .. })));
        replace("passwd");
        let handle = Root::open(&etc).unwrap();
        file::mknod(&handle, "passwd", FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        assert!(matches!(resolve(&root, "app", &[]), Err(UserError::Read { .. })));
        replace("passwd");
        symlink("/proc/self/root/etc/passwd", etc.join("passwd")).unwrap();
        assert!(matches!(resolve(&root, "root:0", &[]), Err(UserError::NoUser(_))));
        replace("passwd");
        assert_eq!(resolve(&root, "5:6", &[]).unwrap(), identity(5, 6, &[6], "/"));
        assert!(matches!(resolve(&root, "app", &[]), Err(UserError::NoUser(_))));
    }
}
