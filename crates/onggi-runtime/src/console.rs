//! A terminal of the container's own.

use std::os::fd::OwnedFd;
use std::path::Path;

use onggi_fs::Root;
use onggi_sys::file::{self, FileType, Mode, OFlags};
use onggi_sys::{Errno, Error, Result, process, pty, socket};

use crate::failure::{During, Outcome};

const DEVPTS_MAGIC: u64 = 0x1cd1;

/// Opens a new terminal in the devpts that is mounted in `root`: master and the other side.
///
/// Both are reached through descriptors alone; no name under `/dev/pts`, which the container can replace, is looked up
/// (CVE-2025-52565).
pub(crate) fn open(root: &Root) -> Outcome<(OwnedFd, OwnedFd)> {
    let stage = || "open a terminal in the container's /dev/pts";
    let pts = root.dir(Path::new("/dev/pts")).during(stage)?;
    if u64::try_from(file::statfs(&pts).during(stage)?.f_type) != Ok(DEVPTS_MAGIC) {
        return Err(Error::new("statfs", "/dev/pts, not a devpts", Errno::NODEV)).during(stage);
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW;
    let master = file::open(&pts, "ptmx", flags, Mode::empty()).during(stage)?;
    let found = file::stat(&master).during(stage)?;
    if file::type_of(&found) != FileType::CharacterDevice || found.st_rdev != file::makedev(5, 2) {
        return Err(Error::new("open", "/dev/pts/ptmx, not a terminal multiplexer", Errno::NODEV)).during(stage);
    }
    pty::unlock(&master).during(stage)?;
    let peer = pty::peer(&master).during(stage)?;
    Ok((master, peer))
}

/// Makes `peer` the terminal of the session that the caller leads, its standard streams, and the property of `owner`.
pub(crate) fn take(peer: &OwnedFd, size: Option<(u16, u16)>, owner: u32) -> Outcome<()> {
    let stage = || "take the terminal";
    if let Some(size) = size {
        pty::set_size(peer, size).during(stage)?;
    }
    if owner != 0 {
        // The group is devpts' own doing (its gid= option); the user has to be able to open it again.
        let group = file::stat(peer).during(stage)?.st_gid;
        match file::chown(peer, owner, group) {
            // A user namespace whose maps do not hold the group.
            Err(error) if error.is(Errno::INVAL) || error.is(Errno::PERM) => {}
            other => other.during(stage)?,
        }
    }
    pty::set_controlling(peer).during(stage)?;
    install(peer, peer, peer).during(stage)
}

/// Makes the three descriptors the standard streams.
pub(crate) fn install(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<()> {
    // Away from 0 to 2 first, so that none is overwritten before it is installed.
    let (stdin, stdout, stderr) = (file::dup(stdin)?, file::dup(stdout)?, file::dup(stderr)?);
    process::install_standard(&stdin, 0)?;
    process::install_standard(&stdout, 1)?;
    process::install_standard(&stderr, 2)
}

/// Sends the master to who listens at `path`, with the name that the terminal has inside (runc's console socket).
pub(crate) fn send_master(path: &Path, master: &OwnedFd) -> Result<()> {
    use std::os::fd::AsFd;
    let socket = socket::connect_stream(path)?;
    socket::send(&socket, b"/dev/ptmx", &[master.as_fd()])
}
