//! A real registry: Debian's `docker-registry` on a loopback port.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::program::{find, wait_until};

/// A running registry with a directory of its own; ended on drop.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Registry {
    /// Starts one that lets everybody in; nothing where the program is not installed.
    pub fn start() -> Result<Option<Self>> {
        Self::start_with("")
    }

    /// Starts one that lets in only the user `user` with the password `secret`.
    pub fn start_guarded() -> Result<Option<Self>> {
        Self::start_with("auth:\n  htpasswd:\n    realm: tests\n    path: HTPASSWD\n")
    }

    /// Starts one that speaks TLS with this certificate and key (PEM files); `more` is further configuration.
    pub fn start_secure(certificate: &Path, key: &Path, more: &str) -> Result<Option<Self>> {
        let (certificate, key) = (certificate.display(), key.display());
        Self::start_with(&format!("  tls:\n    certificate: {certificate}\n    key: {key}\n{more}"))
    }

    fn start_with(more: &str) -> Result<Option<Self>> {
        let Some(program) = find("docker-registry") else { return Ok(None) };
        let dir = tempfile::Builder::new().prefix("onggi-registry-").tempdir()?;
        let port = free_port()?;
        let config = dir.path().join("config.yml");
        let users = dir.path().join("htpasswd");
        // bcrypt of `secret`, the only form that the registry takes.
        std::fs::write(&users, "user:$2y$04$onggitestsonggitestsoe8TNL9Bf2Nuq3B8IpDNQdrRL15xqzQlq\n")?;
        let more = more.replace("HTPASSWD", &users.display().to_string());
        let mut file = std::fs::File::create(&config)?;
        write!(
            file,
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
            dir.path().join("data").display()
        )?;
        let process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry")?;
        let registry = Self { process, port, _dir: dir };
        wait_until("docker-registry listens", Duration::from_secs(20), || {
            std::net::TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(200)).is_ok()
        })?;
        Ok(Some(registry))
    }

    /// Where it listens, as image names begin: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have died by itself; then there is nothing to end.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
