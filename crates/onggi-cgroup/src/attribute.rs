//! The files of a group: one value each, written whole.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use onggi_sys::Errno;
use onggi_sys::file::{self, Mode, OFlags};

use crate::{Error, Result};

/// The largest file of a group that is read (a `memory.stat` of the largest machines stays far below).
const LONGEST: usize = 4 << 20;

/// A group's directory and its path, which is for messages only.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// Opens the directory at `path`.
    pub(crate) fn open(path: PathBuf) -> onggi_sys::Result<Self> {
        // Not O_PATH: clone3(2) takes the descriptor as CLONE_INTO_CGROUP only if it is open for reading.
        let fd = file::open(file::CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { fd, path })
    }

    /// Writes `value` to the file `name`.
    pub(crate) fn write(&self, name: &str, value: impl AsRef<str>) -> Result<()> {
        let value = value.as_ref();
        self.try_write(name, value).map_err(|source| self.not_written(name, value, source))
    }

    /// The same, leaving the kernel's answer as it is for a caller that can do something about it.
    pub(crate) fn try_write(&self, name: &str, value: &str) -> onggi_sys::Result<()> {
        file::write_all(self.open_file(name)?, value.as_bytes())
    }

    /// The error for a write that failed with `source`.
    pub(crate) fn not_written(&self, name: &str, value: &str, source: onggi_sys::Error) -> Error {
        Error::Write { value: value.to_owned(), file: self.path.join(name), source }
    }

    /// Opens the file `name` for writing.
    pub(crate) fn open_file(&self, name: &str) -> onggi_sys::Result<OwnedFd> {
        file::open(&self.fd, name, OFlags::WRONLY, Mode::empty())
    }

    /// The content of the file `name`, without white space around it.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        self.try_read(name).map_err(|source| Error::Read { file: self.path.join(name), source })
    }

    /// The same, or `None` where there is no such file.
    pub(crate) fn read_if_there(&self, name: &str) -> Result<Option<String>> {
        match self.try_read(name) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.is(Errno::NOENT) => Ok(None),
            Err(source) => Err(Error::Read { file: self.path.join(name), source }),
        }
    }

    fn try_read(&self, name: &str) -> onggi_sys::Result<String> {
        let data = file::read_all(file::open(&self.fd, name, OFlags::RDONLY, Mode::empty())?, LONGEST)?;
        Ok(String::from_utf8_lossy(&data).trim().to_owned())
    }

    /// The number in the file `name`, or `None` where there is no such file; `max` is `u64::MAX`.
    pub(crate) fn number_if_there(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.read_if_there(name)? else { return Ok(None) };
        if text == "max" {
            return Ok(Some(u64::MAX));
        }
        text.parse().map(Some).map_err(|_| Error::Odd { file: self.path.join(name), text })
    }

    /// Whether the file `name` is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        file::stat_at(&self.fd, name).is_ok()
    }

    /// The number after `key` in a file of `key number` lines.
    pub(crate) fn keyed(&self, name: &str, keys: &[&str]) -> Result<Vec<Option<u64>>> {
        let text = self.read_if_there(name)?.unwrap_or_default();
        Ok(keys.iter().map(|key| value_of(&text, key)).collect())
    }
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
