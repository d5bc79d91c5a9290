//! Where an ordinary user's things are.

use std::path::{Path, PathBuf};

use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::{Errno, idmap, process};

use super::{Entered, Result, RootlessError, User};
use crate::Paths;

/// What the environment says about directories; the caller has read it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// `$XDG_DATA_HOME`.
    pub data_home: Option<&'a Path>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<&'a Path>,
    /// `$HOME`.
    pub home: Option<&'a Path>,
}

/// The two trees: the machine's for root, the user's own for others.
///
/// A user's are `$XDG_DATA_HOME/onggi` (`~/.local/share/onggi`) and `$XDG_RUNTIME_DIR/onggi`; without a runtime
/// directory of the session it is `/run/user/UID`, and where that is missing one in `/tmp`, which others can take the
/// name of but not the place of. Relative paths count as not set, as the XDG specification wants it.
///
/// # Errors
/// [`RootlessError::RuntimeDirectory`] if the directory is a link, somebody else's or open to others: sockets in it
/// would be theirs.
pub fn paths(entered: &Entered, surroundings: &Surroundings<'_>) -> Result<Paths> {
    let Entered::User(user) = entered else { return Ok(Paths::system()) };
    let data = data_home(user, surroundings)?;
    Ok(Paths::rootless(&data, &runtime_dir(user, surroundings)?))
}

fn data_home(user: &User, surroundings: &Surroundings<'_>) -> Result<PathBuf> {
    let absolute = |path: Option<&Path>| path.filter(|path| path.is_absolute()).map(Path::to_owned);
    if let Some(data) = absolute(surroundings.data_home) {
        return Ok(data);
    }
    let passwd = || idmap::user(user.uid).ok().flatten().map(|user| user.home).filter(|home| home.is_absolute());
    let home = absolute(surroundings.home).or_else(passwd).ok_or(RootlessError::NoHome)?;
    Ok(home.join(".local/share"))
}

fn runtime_dir(user: &User, surroundings: &Surroundings<'_>) -> Result<PathBuf> {
    if let Some(named) = surroundings.runtime_dir.filter(|path| path.is_absolute()) {
        check(named)?;
        return Ok(named.to_owned());
    }
    let session = PathBuf::from(format!("/run/user/{}", user.uid));
    if file::stat_at(CWD, &session).is_ok() {
        check(&session)?;
        return Ok(session);
    }
    let own = PathBuf::from(format!("/tmp/onggi-{}", user.uid));
    match file::mkdir(CWD, &own, Mode::RWXU) {
        Err(source) if !source.is(Errno::EXIST) => {
            return Err(RootlessError::Step { what: "make a runtime directory", source });
        }
        _ => {}
    }
    check(&own)?;
    Ok(own)
}

/// Ours, for nobody else, and the directory itself.
fn check(path: &Path) -> Result<()> {
    let refuse = |why, hostile| Err(RootlessError::RuntimeDirectory { path: path.to_owned(), why, hostile });
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let stat = match file::open(CWD, path, flags, Mode::empty()).and_then(file::stat) {
        Ok(stat) => stat,
        Err(source) if source.is(Errno::NOENT) => return refuse("does not exist", false),
        Err(source) if source.is(Errno::NOTDIR) || source.is(Errno::LOOP) => {
            return refuse("is a link or no directory", true);
        }
        Err(source) => return Err(RootlessError::Step { what: "look at the runtime directory", source }),
    };
    match stat.st_mode & 0o077 {
        _ if stat.st_uid != process::effective_user() => refuse("belongs to another user", true),
        0 => Ok(()),
        _ => refuse("is open to other users", false),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use onggi_diag::{Diagnose, Kind};

    use super::*;

    fn user() -> Entered {
        Entered::User(User { uid: 4242, gid: 4242, alone: None })
    }

    #[test]
    fn root_has_the_machines_trees() {
        assert_eq!(paths(&Entered::Root, &Surroundings::default()).unwrap(), Paths::system());
    }

    #[test]
    fn a_users_trees_are_where_the_environment_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let found = |data_home, home| {
            paths(&user(), &Surroundings { data_home, home, runtime_dir: Some(dir.path()) }).unwrap().data
        };
        let (data, home) = (Path::new("/data"), Path::new("/home/ann"));
        assert_eq!(found(Some(data), Some(home)), Path::new("/data/onggi"));
        assert_eq!(found(None, Some(home)), Path::new("/home/ann/.local/share/onggi"));
        assert_eq!(found(Some(Path::new("data")), Some(home)), Path::new("/home/ann/.local/share/onggi"));
    }

    #[test]
    fn a_runtime_directory_that_others_can_reach_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| check(path).unwrap_err();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(refused(dir.path()).kind(), Kind::Invalid);
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        check(dir.path()).unwrap();
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        assert_eq!(refused(&link).kind(), Kind::Hostile);
        assert_eq!(refused(&dir.path().join("none")).kind(), Kind::Invalid);
    }
}
