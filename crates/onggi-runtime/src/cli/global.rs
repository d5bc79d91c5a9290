//! What stands before the command.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{Flag, Parsed, switch, value};
use crate::store::Store;
use crate::{Error, Result};

/// The flags that every command has.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) root: PathBuf,
    pub(crate) log: Option<PathBuf>,
    pub(crate) json_log: bool,
    pub(crate) debug: bool,
    /// As it was typed, for the second execution of ourselves.
    pub(crate) all_args: Vec<OsString>,
}

const FLAGS: [Flag; 10] = [
    value("root", "root"),
    value("log", "log"),
    value("log-format", "log-format"),
    switch("debug", "debug"),
    switch("systemd-cgroup", "systemd-cgroup"),
    value("rootless", "rootless"),
    value("criu", "criu"),
    switch("help", "h"),
    switch("version", "v"),
    value("log-level", "log-level"),
];

impl Global {
    /// Reads the flags; the command and what follows it is the rest.
    pub(crate) fn parse(all: &[OsString]) -> Result<(Self, Vec<String>)> {
        let text = |arg: &OsString| {
            arg.to_str().map(str::to_owned).ok_or_else(|| Error::invalid("arguments", "one is not UTF-8"))
        };
        let args = all.iter().map(text).collect::<Result<Vec<_>>>()?;
        let parsed = Parsed::parse(&args, &FLAGS, false)?;
        if parsed.is_on("systemd-cgroup")? {
            return Err(Error::Unsupported {
                at: "--systemd-cgroup".into(),
                why: "this version drives control groups through their files only".into(),
            });
        }
        let mut rest = parsed.rest.clone();
        for (name, command) in [("help", "help"), ("version", "--version")] {
            if parsed.is_on(name)? {
                rest = vec![command.into()];
            }
        }
        let json_log = match parsed.value("log-format") {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(other) => {
                return Err(Error::invalid("--log-format", format!("`{}` is not text or json", other.escape_debug())));
            }
        };
        let global = Self {
            root: parsed.value("root").map_or_else(default_root, PathBuf::from),
            log: parsed.value("log").filter(|path| !path.is_empty()).map(PathBuf::from),
            json_log,
            debug: parsed.is_on("debug")?,
            all_args: all.to_vec(),
        };
        Ok((global, rest))
    }

    pub(crate) fn store(&self) -> Result<Store> {
        Store::open(&self.root)
    }
}

/// `/run/onggi/runtime`, or an ordinary user's own.
fn default_root() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    match own {
        Some(dir) if onggi_sys::process::effective_user() != 0 => PathBuf::from(dir).join("onggi/runtime"),
        _ => PathBuf::from("/run/onggi/runtime"),
    }
}
