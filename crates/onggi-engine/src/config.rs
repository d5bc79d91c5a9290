//! What an image says and what a request says, made one: Docker's rules of precedence.

use onggi_oci::image::Config;

use crate::{CreateContainer, RequestError, Volume, defaults};

/// The configuration that a container of `request` runs with, as `inspect` shows it.
///
/// # Errors
/// When nobody says what to run, or what is said cannot be.
pub(crate) fn merge(request: &CreateContainer, image: &Config) -> Result<Config, RequestError> {
    let (entrypoint, cmd) = command(request, image)?;
    let mut labels = image.labels.clone();
    labels.extend(request.labels.clone());
    Ok(Config {
        user: request.user.clone().unwrap_or_else(|| image.user.clone()),
        exposed_ports: image.exposed_ports.clone(),
        env: environment(&request.env, &image.env)?,
        entrypoint,
        cmd,
        volumes: image.volumes.clone(),
        working_dir: working_dir(request, image)?,
        labels,
        stop_signal: request.stop_signal.clone().or_else(|| image.stop_signal.clone()),
        healthcheck: image.healthcheck.clone(),
        shell: image.shell.clone(),
        on_build: Vec::new(),
        args_escaped: None,
        extra: serde_json::Map::default(),
    })
}

/// A list of words, if there is one.
type Words = Option<Vec<String>>;

/// Entry point and command: a new entry point makes the image's command meaningless, a new command only replaces it.
fn command(request: &CreateContainer, image: &Config) -> Result<(Words, Words), RequestError> {
    let given = Some(&request.command).filter(|command| !command.is_empty()).cloned();
    let (entrypoint, cmd) = match &request.entrypoint {
        // `--entrypoint ""` arrives as one empty word and means none at all.
        Some(words) if words.iter().all(String::is_empty) => (None, given),
        Some(words) => (Some(words.clone()), given),
        None => (image.entrypoint.clone(), given.or_else(|| image.cmd.clone())),
    };
    let entrypoint = entrypoint.filter(|words| words.iter().any(|word| !word.is_empty()));
    let cmd = cmd.filter(|words| !words.is_empty());
    if entrypoint.is_none() && cmd.is_none() {
        return Err(RequestError::NoCommand(request.image.clone()));
    }
    Ok((entrypoint, cmd))
}

/// The request's variables, then those of the image's that it does not name.
fn environment(request: &[String], image: &[String]) -> Result<Vec<String>, RequestError> {
    if let Some(nameless) = request.iter().find(|entry| key(entry).is_empty()) {
        return Err(RequestError::Env(nameless.escape_debug().to_string()));
    }
    let replaced = |entry: &&String| request.iter().any(|other| key(other) == key(entry));
    Ok(request.iter().chain(image.iter().filter(|entry| !replaced(entry))).cloned().collect())
}

fn key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

fn working_dir(request: &CreateContainer, image: &Config) -> Result<String, RequestError> {
    match request.working_dir.as_deref().filter(|dir| !dir.is_empty()) {
        Some(dir) if !dir.starts_with('/') => Err(RequestError::WorkingDir(dir.escape_debug().to_string())),
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(image.working_dir.clone()),
    }
}

/// The environment of the first process: what every container has, overridden by `config`'s.
///
/// An entry without `=` takes a variable away.
pub(crate) fn process_environment(config: &Config, hostname: &str, terminal: bool) -> Vec<String> {
    let mut env = vec![format!("PATH={}", defaults::PATH), format!("HOSTNAME={hostname}")];
    if terminal {
        env.push(format!("TERM={}", defaults::TERM));
    }
    override_with(env, &config.env)
}

/// `env` with `entries` in place of those of the same names, or behind them.
pub(crate) fn override_with(mut env: Vec<String>, entries: &[String]) -> Vec<String> {
    for entry in entries {
        let place = env.iter().position(|other| key(other) == key(entry));
        match (place, entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (None, true) => env.push(entry.clone()),
            (Some(at), false) => drop(env.remove(at)),
            (None, false) => {}
        }
    }
    env
}

/// The words that are executed.
pub(crate) fn arguments(config: &Config) -> Vec<String> {
    config.entrypoint.iter().chain(&config.cmd).flatten().cloned().collect()
}

/// The request's volumes, then those of the image's whose place the request leaves free.
pub(crate) fn volumes(request: &CreateContainer, image: &Config) -> Result<Vec<Volume>, RequestError> {
    let mut volumes: Vec<Volume> = Vec::new();
    for volume in &request.volumes {
        if volumes.iter().any(|other| other.destination == volume.destination) {
            return Err(RequestError::DuplicateMount(volume.destination.clone()));
        }
        volumes.push(volume.clone());
    }
    for destination in image.volumes.keys() {
        let volume: Volume = destination.parse()?;
        if volumes.iter().all(|other| other.destination != volume.destination) {
            volumes.push(volume);
        }
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests;
