//! Starting a container: everything that its monitor needs is made of the record again, and the lock is handed over.

use std::path::Path;
use std::time::Instant;

use onggi_fs::{Durability, Root, write_atomic};
use onggi_monitor::client::{Client, Session};
use onggi_monitor::{CopyUp, Hosts, LAUNCH_FILE, Launch, Network, Rootfs, State, Stdin};
use serde::Serialize;

use super::layout::{self, Locked};
use super::{Containers, recover, remove};
use crate::error::Context;
use crate::host::Host;
use crate::record::Record;
use crate::spec::{HOSTNAME_FILE, HOSTS_FILE, RESOLV_FILE};
use crate::{ContainerId, Error, NetworkMode, Result, defaults, signal, spec};

/// The OCI specification in a container's directory.
pub(super) const CONFIG_FILE: &str = "config.json";

/// How a container is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartContainer {
    /// Take part in its streams from the first byte on.
    pub attach: Option<onggi_monitor::Streams>,
    /// Rows and columns of its terminal.
    pub terminal_size: Option<(u16, u16)>,
}

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    /// Its streams, if they were asked for.
    pub session: Option<Session>,
    /// Whether it ran before.
    pub already: bool,
}

impl Containers<'_> {
    /// Runs the container; one that runs already is left as it is.
    ///
    /// # Errors
    /// [`Error::Start`] if it could not be put together or its program not be executed; its exit code is then the
    /// command's.
    pub fn start(self, id: &ContainerId, options: &StartContainer) -> Result<Started> {
        let Some(locked) = self.locked_to_start(id)? else { return self.join(id, options) };
        let record = Record::load(&locked.dir, id)?;
        let launch = self.prepare(&record, &locked.dir, options)?;
        let started = onggi_monitor::spawn(&launch, locked.lock, options.attach);
        let started = started.map_err(|source| Error::Start { id: id.clone(), source: Box::new(source) })?;
        Ok(Started { session: started.session, already: false })
    }

    /// Takes part in the streams of a running container.
    fn join(self, id: &ContainerId, options: &StartContainer) -> Result<Started> {
        let session = options.attach.map(|streams| self.attach(id, streams)).transpose()?;
        Ok(Started { session, already: true })
    }

    /// The container's lock; `None` if it runs.
    fn locked_to_start(self, id: &ContainerId) -> Result<Option<Locked>> {
        let deadline = Instant::now() + remove::PATIENCE;
        loop {
            let dir = self.dir(id)?;
            let tried = layout::try_lock(dir.try_clone().to("open a container")?, id);
            if let Some(locked) = tried.to(format!("lock container {}", id.short()))? {
                let settled = recover::settle(self.engine, locked)?;
                return settled.map(Some).ok_or_else(|| Error::NoSuchContainer(id.to_string()));
            }
            let state = State::load(&dir).to(format!("read the state of container {}", id.short()))?;
            if Client::connect(&self.engine.paths().running_container(id)).is_ok() && state.status.is_active() {
                return Ok(None);
            }
            if Instant::now() >= deadline {
                return Err(Error::Busy(id.clone()));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Writes what the monitor reads. Nothing needs to reach the disk: the next start writes it again.
    fn prepare(self, record: &Record, dir: &Root, options: &StartContainer) -> Result<Launch> {
        let paths = self.engine.paths();
        let place = paths.container(&record.id);
        for mount in &record.mounts {
            self.engine.provide(mount)?;
        }
        write_names(record, dir)?;
        let spec = spec::build(record, &place, &Host::probe(self.engine.rootless()))?;
        write_json(dir, CONFIG_FILE, &spec)?;
        let run_dir = paths.running_container(&record.id);
        crate::engine::private_dir(&run_dir)?;
        let launch = Launch {
            id: record.id.to_string(),
            run_dir,
            rootfs: Rootfs::Snapshot { dir: paths.layers(), id: record.id.to_string() },
            user: record.config.user.clone(),
            groups: Vec::new(),
            stdin: stdin(record, options),
            terminal_size: options.terminal_size,
            log: record.log,
            network: self.network(record),
            hosts: hosts(record, &place),
            copy_up: copy_up(record),
            stop_signal: stop_signal(record),
            stop_timeout_secs: record.stop_timeout_secs.unwrap_or(defaults::STOP_TIMEOUT_SECS),
            auto_remove: record.auto_remove,
            dir: place,
        };
        write_json(dir, LAUNCH_FILE, &launch)?;
        Ok(launch)
    }

    fn network(self, record: &Record) -> Network {
        match record.network {
            NetworkMode::None => Network::None,
            NetworkMode::Host => Network::Host,
            NetworkMode::Bridge => {
                Network::Bridge { state: self.engine.paths().data.clone(), run: self.engine.paths().run.clone() }
            }
        }
    }
}

/// The three files that are mounted into `/etc`.
fn write_names(record: &Record, dir: &Root) -> Result<()> {
    let host = record.network == NetworkMode::Host;
    // With an address of its own, the monitor adds the container's name when it knows that.
    let named = if record.network == NetworkMode::Bridge { "" } else { record.hostname() };
    let hosts = if host { host_hosts() } else { onggi_net::dns::hosts(named, None, &[]) };
    let resolv = if host { onggi_net::dns::host_resolv_conf() } else { onggi_net::dns::resolv_conf() };
    let resolv = resolv.to("read the host's /etc/resolv.conf")?;
    let name = if host && record.hostname.is_none() { host_name() } else { record.hostname().to_owned() };
    for (file, text) in [(HOSTS_FILE, hosts), (RESOLV_FILE, resolv), (HOSTNAME_FILE, format!("{name}\n"))] {
        // Readable for the container's users, in a directory that the host's users cannot enter.
        write_atomic(dir, file, text.as_bytes(), 0o644, Durability::Volatile).to(format!("write {file}"))?;
    }
    Ok(())
}

/// The host's own `/etc/hosts`, for a container that is at its addresses.
fn host_hosts() -> String {
    std::fs::read_to_string("/etc/hosts").unwrap_or_else(|_| onggi_net::dns::hosts("", None, &[]))
}

/// The host's own name.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

fn write_json(dir: &Root, file: &'static str, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).expect("text keys and plain values are always JSON");
    write_atomic(dir, file, &bytes, 0o600, Durability::Volatile).to(format!("write {file}"))
}

/// A command that attaches takes its standard input away with it, as Docker's `StdinOnce`.
fn stdin(record: &Record, options: &StartContainer) -> Stdin {
    match (record.open_stdin, options.attach.is_some_and(|streams| streams.stdin)) {
        (false, _) => Stdin::Null,
        (true, true) => Stdin::Once,
        (true, false) => Stdin::Open,
    }
}

fn hosts(record: &Record, place: &Path) -> Option<Hosts> {
    let own = record.network == NetworkMode::Bridge;
    own.then(|| Hosts { file: place.join(HOSTS_FILE), names: vec![record.hostname().to_owned()] })
}

fn copy_up(record: &Record) -> Vec<CopyUp> {
    let fresh = record.mounts.iter().filter(|mount| mount.copy_up);
    fresh.map(|mount| CopyUp { from: mount.destination.clone(), volume: mount.source.clone() }).collect()
}

fn stop_signal(record: &Record) -> i32 {
    /// SIGTERM
    const TERMINATE: i32 = 15;
    let text = record.config.stop_signal.as_deref().unwrap_or(defaults::STOP_SIGNAL);
    // Checked when the container was created.
    signal::parse_signal(text).unwrap_or(TERMINATE)
}
