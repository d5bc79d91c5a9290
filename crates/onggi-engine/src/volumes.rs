//! Volumes: directories that outlive containers, `volumes/NAME/_data`.

use std::path::{Path, PathBuf};

use onggi_fs::{Root, ensure_dir, remove_tree};
use onggi_sys::file::{self, Mode};
use onggi_sys::{Errno, Error as SysError};

use crate::engine::private_dir;
use crate::error::Context;
use crate::record::MountPoint;
use crate::{Engine, Paths, Result};

/// The part of a volume that containers see.
const DATA: &str = "_data";

/// What containers see of the volume `name`.
pub(crate) fn data_dir(paths: &Paths, name: &str) -> PathBuf {
    paths.volumes().join(name).join(DATA)
}

impl Engine {
    /// Makes what `mount` mounts, where there is nothing.
    pub(crate) fn provide(&self, mount: &MountPoint) -> Result<()> {
        match &mount.volume {
            None => provide_directory(&mount.source),
            Some(name) => self.provide_volume(name),
        }
    }

    fn provide_volume(&self, name: &str) -> Result<()> {
        let volumes = private_dir(&self.paths().volumes())?;
        let what = || format!("make the volume {name}");
        let volume = volumes.make_dir_all(name, 0o700).to(what())?;
        match file::mkdir(&volume, DATA, Mode::from_raw_mode(0o755)) {
            Err(error) if error.is(Errno::EXIST) => Ok(()),
            // The umask is the caller's; a volume's mode is ours until the image says otherwise.
            other => other.and_then(|()| file::chmod_at(&volume, DATA, Mode::from_raw_mode(0o755))).to(what()),
        }
    }

    /// The names of all volumes.
    pub(crate) fn volume_names(&self) -> Result<Vec<String>> {
        let volumes = private_dir(&self.paths().volumes())?;
        let entries = file::entries(&volumes).to("list the volumes")?;
        Ok(entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect())
    }

    /// Removes a volume that nobody uses.
    pub(crate) fn remove_volume(&self, name: &str) -> onggi_sys::Result<()> {
        match Root::open(self.paths().volumes()) {
            Err(error) if error.is(Errno::NOENT) => Ok(()),
            other => remove_tree(other?, Path::new(name)),
        }
    }
}

/// Docker makes the missing source of a `-v`, as root's directory; whoever would rather have an error uses `--mount`.
fn provide_directory(source: &Path) -> Result<()> {
    let there = file::open(file::CWD, source, file::OFlags::PATH, Mode::empty());
    match there {
        Ok(_) => Ok(()),
        Err(error) if error.is(Errno::NOENT) => {
            ensure_dir(source, 0o755).map(drop).to(format!("make the directory {}", source.display()))
        }
        Err(error) => Err::<(), SysError>(error).to(format!("mount {}", source.display())),
    }
}
