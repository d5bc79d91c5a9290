//! `config.json` from disk.

use std::path::Path;

use onggi_oci::runtime::Spec;
use onggi_sys::file::{self, CWD, Mode, OFlags};

use crate::{Error, Result};

const LARGEST: usize = 16 << 20;

/// Reads the specification of the bundle in `dir`, with its text.
pub(crate) fn load(dir: &Path) -> Result<(Spec, Vec<u8>)> {
    let path = dir.join("config.json");
    let step = || Error::step(format!("read {}", path.display()));
    let file = file::open(CWD, &path, OFlags::RDONLY, Mode::empty()).map_err(step())?;
    let text = file::read_all(file, LARGEST).map_err(step())?;
    Ok((parse(&text)?, text))
}

/// Reads a specification.
///
/// # Errors
/// Names the JSON path.
pub(crate) fn parse(text: &[u8]) -> Result<Spec> {
    onggi_oci::runtime::load(text).map_err(Error::Config)
}
