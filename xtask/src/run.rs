//! Running programs and finding one's way about the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use onggi_testkit::captured;

/// The checkout's top directory.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Runs `command` with the terminal as it is.
pub(crate) fn visible(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Builds the release binary and says where it is.
pub(crate) fn release_binary() -> Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(top()).args(["build", "--release", "--package", "onggi"]);
    visible(&mut build)?;
    let found = target_dir()?.join(host()?).join("release/onggi");
    if !found.is_file() {
        bail!("cargo built no {}", found.display());
    }
    Ok(found)
}

fn target_dir() -> Result<PathBuf> {
    Ok(PathBuf::from(metadata()?["target_directory"].as_str().context("cargo metadata names no target directory")?))
}

fn host() -> Result<String> {
    let version = captured(Command::new("rustc").arg("-vV"))?;
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc -vV names no host")?.to_owned())
}

/// What cargo knows of the workspace, without its dependencies' dependencies.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let text = captured(Command::new(env!("CARGO")).current_dir(top()).args(["metadata", "--format-version", "1"]))?;
    Ok(serde_json::from_str(&text)?)
}
