//! Asking a running container's monitor.

use std::time::Duration;

use oci_spec::runtime::Spec;
use onggi_monitor::client::{Client, ClientError, Session};
use onggi_monitor::{Exit, Patience, Streams};

use super::Containers;
use super::start::CONFIG_FILE;
use crate::error::Context;
use crate::host::Host;
use crate::record::Record;
use crate::{ContainerId, Error, RequestError, Result, config, spec};

/// Another process in a running container.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// The words that are executed.
    pub command: Vec<String>,
    /// `KEY=VALUE` beside the container's.
    pub env: Vec<String>,
    /// `user[:group]`; the container's own if not said.
    pub user: Option<String>,
    /// Where it starts; the container's own directory if not said.
    pub working_dir: Option<String>,
    /// Give it a terminal.
    pub terminal: bool,
    /// Rows and columns of that.
    pub terminal_size: Option<(u16, u16)>,
    /// Feed its standard input from the session.
    pub stdin: bool,
    /// Leave it alone once it runs.
    pub detach: bool,
    /// All the rights there are.
    pub privileged: bool,
}

impl Containers<'_> {
    /// Takes part in the streams of a running container.
    pub fn attach(self, id: &ContainerId, streams: Streams) -> Result<Session> {
        self.client(id)?.attach(streams).map_err(|error| self.explain(id, "attach to", error))
    }

    /// Runs another process in a running container.
    ///
    /// # Errors
    /// [`Error::Monitor`], whose exit code tells a missing program from one that cannot be executed.
    pub fn exec(self, id: &ContainerId, exec: &Exec) -> Result<Session> {
        let client = self.client(id)?;
        let request = self.process(id, exec)?;
        client.exec(request).map_err(|error| self.explain(id, "run a command in", error))
    }

    /// Asks the container to end, kills it when `patience` is over (the container's own if not said), and waits for
    /// its end. One that does not run is left as it is.
    pub fn stop(self, id: &ContainerId, signal: Option<i32>, patience: Patience) -> Result<()> {
        match self.client(id) {
            Err(Error::NotRunning(_)) => Ok(()),
            Err(error) => Err(error),
            Ok(mut client) => match client.stop(signal, patience) {
                Ok(_) => Ok(()),
                // It ended meanwhile, or its monitor was killed: then it did not outlive that.
                Err(ClientError::Gone | ClientError::NotRunning(_)) => self.settled(id),
                Err(error) => Err(self.explain(id, "stop", error)),
            },
        }
    }

    /// Sends `signal` to the first process of a running container.
    pub fn kill(self, id: &ContainerId, signal: i32) -> Result<()> {
        self.client(id)?.kill(signal).map_err(|error| self.explain(id, "signal", error))
    }

    /// Waits for the container's end; the exit code. One that does not run has ended already, or, if it never ran,
    /// answers 0 at once.
    pub fn wait(self, id: &ContainerId) -> Result<Exit> {
        match self.client(id) {
            Err(Error::NotRunning(_)) => self.last_exit(id),
            Err(error) => Err(error),
            Ok(mut client) => match client.wait() {
                Ok(exit) => Ok(exit),
                Err(ClientError::Gone | ClientError::NotRunning(_)) => self.last_exit(id),
                Err(error) => Err(self.explain(id, "wait for", error)),
            },
        }
    }

    /// Tells the container's terminal its size.
    pub fn resize(self, id: &ContainerId, rows: u16, columns: u16) -> Result<()> {
        self.client(id)?.resize(rows, columns).map_err(|error| self.explain(id, "resize the terminal of", error))
    }

    /// Where the container's log is, for [`onggi_monitor::logs`].
    pub fn log_dir(self, id: &ContainerId) -> Result<onggi_fs::Root> {
        self.dir(id)
    }

    /// Kills the container and waits for its end.
    pub(super) fn end_now(self, id: &ContainerId) -> Result<()> {
        /// SIGKILL
        const KILL: i32 = 9;
        self.stop(id, Some(KILL), Patience::Seconds(0))
    }

    /// A connection to the monitor.
    fn client(self, id: &ContainerId) -> Result<Client> {
        match Client::connect(&self.engine.paths().running_container(id)) {
            Ok(client) => Ok(client),
            Err(ClientError::NotRunning(_)) => {
                self.settled(id)?;
                Err(Error::NotRunning(id.clone()))
            }
            Err(error) => Err(self.explain(id, "reach the monitor of", error)),
        }
    }

    /// Waits out a container's end, or makes it one if its monitor was killed.
    fn settled(self, id: &ContainerId) -> Result<()> {
        /// From the end of its socket to that of a monitor: it has a state to write, and with --rm a tree to remove.
        const PATIENCE: Duration = Duration::from_secs(10);
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            match self.known(id) {
                Err(Error::NoSuchContainer(_)) => return Ok(()),
                Err(error) => return Err(error),
                Ok((_, state)) if !state.status.is_active() => return Ok(()),
                Ok(_) if std::time::Instant::now() >= deadline => return Err(Error::Busy(id.clone())),
                Ok(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn last_exit(self, id: &ContainerId) -> Result<Exit> {
        let (_, state) = self.known(id)?;
        Ok(Exit { code: state.exit_code.unwrap_or(0), oom_killed: state.oom_killed })
    }

    fn explain(self, id: &ContainerId, what: &'static str, source: ClientError) -> Error {
        match source {
            ClientError::NotRunning(_) => Error::NotRunning(id.clone()),
            source => Error::Monitor { what, id: id.clone(), source: Box::new(source) },
        }
    }

    /// The process of `exec`: the container's own with other words.
    fn process(self, id: &ContainerId, exec: &Exec) -> Result<onggi_monitor::Exec> {
        let dir = self.dir(id)?;
        let record = Record::load(&dir, id)?;
        let bytes = dir.read(CONFIG_FILE, 16 << 20).to(format!("read the specification of {}", id.short()))?;
        let spec: Spec = serde_json::from_slice(&bytes).map_err(|source| Error::Damaged {
            id: id.clone(),
            file: CONFIG_FILE,
            source,
        })?;
        let mut process = spec.process().clone().unwrap_or_default();
        if exec.command.is_empty() {
            return Err(RequestError::NoExec.into());
        }
        process.set_args(Some(exec.command.clone()));
        let env = config::process_environment(&record.config, record.hostname(), exec.terminal);
        process.set_env(Some(config::override_with(env, &exec.env)));
        process.set_terminal(Some(exec.terminal));
        if let Some(dir) = exec.working_dir.as_deref().filter(|dir| !dir.is_empty()) {
            if !dir.starts_with('/') {
                return Err(RequestError::WorkingDir(dir.escape_debug().to_string()).into());
            }
            process.set_cwd(dir.into());
        }
        if exec.privileged {
            process.set_capabilities(Some(spec::capability_sets(&Host::probe(self.engine.rootless()).bounding)));
        }
        let user = exec.user.as_ref().unwrap_or(&record.config.user);
        Ok(onggi_monitor::Exec {
            process,
            // To the monitor, nobody in particular is who the specification says, which knows no home.
            user: if user.is_empty() { "0".to_owned() } else { user.clone() },
            stdin: exec.stdin,
            detach: exec.detach,
            terminal_size: exec.terminal_size,
        })
    }
}
