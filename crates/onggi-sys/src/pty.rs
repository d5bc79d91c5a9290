//! Pseudoterminals and terminal settings.

use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};

use crate::{Error, Result};

/// Lets the other side of the master `master` be opened. ioctl `TIOCSPTLCK`.
pub fn unlock(master: impl AsFd) -> Result<()> {
    rustix::pty::unlockpt(&master).map_err(|errno| Error::new("ioctl", "TIOCSPTLCK", errno))
}

/// The other side of the master `master`, opened in the devpts that the master is of, whatever its path says.
/// ioctl `TIOCGPTPEER`.
pub fn peer(master: impl AsFd) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(&master, flags).map_err(|errno| Error::new("ioctl", "TIOCGPTPEER", errno))
}

/// Makes `terminal` the controlling terminal of the session that the caller leads. ioctl `TIOCSCTTY`.
pub fn set_controlling(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(&terminal).map_err(|errno| Error::new("ioctl", "TIOCSCTTY", errno))
}

/// Rows and columns of a terminal. ioctl `TIOCGWINSZ`.
pub fn size(terminal: impl AsFd) -> Result<(u16, u16)> {
    rustix::termios::tcgetwinsize(&terminal)
        .map(|size| (size.ws_row, size.ws_col))
        .map_err(|errno| Error::new("ioctl", "TIOCGWINSZ", errno))
}

/// Sets rows and columns; the foreground process group gets `SIGWINCH`. ioctl `TIOCSWINSZ`.
pub fn set_size(terminal: impl AsFd, (rows, columns): (u16, u16)) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal, size)
        .map_err(|errno| Error::new("ioctl", format!("TIOCSWINSZ, {rows}x{columns}"), errno))
}

/// Whether `fd` is a terminal. isatty(3).
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(&fd)
}

/// A terminal's settings, to be given back later.
#[derive(Debug, Clone)]
pub struct Settings(Termios);

/// Puts a terminal into raw mode and answers the settings before. tcsetattr(3).
pub fn make_raw(terminal: impl AsFd) -> Result<Settings> {
    let before = rustix::termios::tcgetattr(&terminal).map_err(|errno| Error::new("ioctl", "TCGETS", errno))?;
    let mut raw = before.clone();
    raw.make_raw();
    restore(&terminal, &Settings(raw))?;
    Ok(Settings(before))
}

/// Gives a terminal settings that it had before. tcsetattr(3).
pub fn restore(terminal: impl AsFd, settings: &Settings) -> Result<()> {
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &settings.0)
        .map_err(|errno| Error::new("ioctl", "TCSETS", errno))
}
