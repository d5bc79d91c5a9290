//! What every command needs: the engine on the right directories, and a way to print.

use std::io::Write as _;
use std::path::PathBuf;

use onggi_engine::{Engine, Paths};

use crate::args::Global;
use crate::error::{Error, Result};

/// The engine, and what was read from the environment once.
pub(crate) struct Context {
    pub(crate) engine: Engine,
    /// Where `registries.toml` may be.
    pub(crate) registries: Vec<PathBuf>,
}

impl Context {
    /// Opens the store. An ordinary user becomes root in a user namespace first, which must happen while the process
    /// has one thread.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let registries = registries();
        let paths = paths(global)?;
        Ok(Self { engine: Engine::open(paths)?, registries })
    }
}

fn paths(global: &Global) -> Result<Paths> {
    let standard = match (&global.root, &global.run) {
        // Both are given: whatever the environment lacks is not needed.
        (Some(data), Some(run)) => return Ok(Paths { data: absolute(data)?, run: absolute(run)? }),
        _ => standard_paths()?,
    };
    let data = global.root.as_ref().map(absolute).transpose()?;
    let run = global.run.as_ref().map(absolute).transpose()?;
    Ok(Paths { data: data.unwrap_or(standard.data), run: run.unwrap_or(standard.run) })
}

fn standard_paths() -> Result<Paths> {
    Ok(Paths::system())
}

fn absolute(path: &PathBuf) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(format!("make {} absolute", path.display())))
}

/// The machine's settings, then the user's, which win.
fn registries() -> Vec<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let named = std::env::var_os("ONGGI_REGISTRIES").map(PathBuf::from);
    let own = config.map(|dir| dir.join("onggi/registries.toml"));
    [Some("/etc/onggi/registries.toml".into()), own, named].into_iter().flatten().collect()
}

/// Writes to standard output. A reader that went away is no failure of the command's.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::io("write to standard output")),
    }
}

/// Writes a line to standard error, for the user.
pub(crate) fn tell(text: &str) {
    // Nobody is left to be told that telling failed.
    drop(writeln!(std::io::stderr(), "{text}"));
}
