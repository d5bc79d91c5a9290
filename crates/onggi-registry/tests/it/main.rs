//! The client against registries: a real one, and ones that lie.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests run programs")]

mod auth;
mod content;
mod helper;
mod mirror;
mod reach;
mod real;
mod tls;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use onggi_diag::Diagnose;
use onggi_oci::Reference;
use onggi_registry::{Client, Config, Credentials, Error, Patience};

/// As patient as a test can be.
fn quick() -> Patience {
    Patience {
        connect: Duration::from_secs(2),
        answer: Duration::from_millis(500),
        idle: Duration::from_millis(500),
        retries: 2,
        pause: Duration::from_millis(10),
        longest_pause: Duration::from_secs(2),
    }
}

fn client() -> Client {
    Client::new(Config { patience: quick(), ..Config::default() })
}

/// A client that finds credentials in a `config.json` with this text, written into `dir`.
fn client_with(dir: &Path, config_json: &str) -> Client {
    let path = dir.join("config.json");
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, config_json.as_bytes()))
        .unwrap();
    Client::new(Config { patience: quick(), credentials: Credentials::in_files([path]), ..Config::default() })
}

fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn image(host: &str) -> Reference {
    format!("{host}/team/app:1").parse().unwrap()
}

/// The error with its causes and its hint, as a user would read it.
fn told(error: &Error) -> String {
    let mut lines = onggi_diag::chain(error);
    lines.extend(error.hint().map(|hint| format!("hint: {hint}")));
    lines.join("\n")
}
