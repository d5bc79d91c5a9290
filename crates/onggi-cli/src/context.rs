//! What every command needs: the engine on the right directories, and a way to print.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use onggi_engine::rootless::{self, Entered, Surroundings, User};
use onggi_engine::{Engine, Paths};

use crate::args::Global;
use crate::error::{Error, Result};

/// The engine, and what was read from the environment once.
pub(crate) struct Context {
    pub(crate) engine: Engine,
    /// Where `registries.toml` may be.
    pub(crate) registries: Vec<PathBuf>,
    entered: Entered,
}

impl Context {
    /// Opens the store. An ordinary user becomes root in a user namespace first, which must happen while the process
    /// has one thread.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let registries = registries();
        let entered = rootless::enter().map_err(|error| Error::other("become root in a user namespace", &error))?;
        let engine = Engine::open(paths(global, &entered)?)?;
        Ok(Self { engine, registries, entered })
    }

    /// Tells an ordinary user who has one user id alone what that means for images.
    pub(crate) fn tell_of_ids(&self) {
        if let Entered::User(User { alone: Some(alone), .. }) = &self.entered {
            tell(&format!("warning: {alone}"));
        }
    }
}

fn paths(global: &Global, entered: &Entered) -> Result<Paths> {
    if let (Some(data), Some(run)) = (&global.root, &global.run) {
        // Both are given: whatever the environment lacks is not needed.
        return Ok(Paths { data: absolute(data)?, run: absolute(run)? });
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (data_home, runtime_dir, home) = (variable("XDG_DATA_HOME"), variable("XDG_RUNTIME_DIR"), variable("HOME"));
    let surroundings =
        Surroundings { data_home: data_home.as_deref(), runtime_dir: runtime_dir.as_deref(), home: home.as_deref() };
    let standard = rootless::paths(entered, &surroundings)
        .map_err(|error| Error::other("find this user's directories", &error))?;
    let data = global.root.as_deref().map(absolute).transpose()?;
    let run = global.run.as_deref().map(absolute).transpose()?;
    Ok(Paths { data: data.unwrap_or(standard.data), run: run.unwrap_or(standard.run) })
}

fn absolute(path: &Path) -> Result<PathBuf> {
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
