//! `--log`: where failures and warnings go, as lines of text or JSON that runc's callers read.

use std::io::Write;

use onggi_diag::{Diagnose, chain};
use serde::Serialize;

use super::eprint_line;
use super::global::Global;
use crate::Error;

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: String,
}

/// Tells of the failure that ends the command: a person on standard error, a caller in the log.
pub(crate) fn error(global: &Global, error: &Error) {
    // runc's callers look for the causes in one line.
    let message = chain(error).join(": ");
    write(global, "error", &message);
    eprint_line(&format!("error: {message}"));
    if let Some(hint) = error.hint() {
        eprint_line(&format!("hint: {hint}"));
    }
}

/// Tells of what was asked for and could not be given.
pub(crate) fn warnings(global: &Global, warnings: &[String]) {
    for warning in warnings {
        write(global, "warning", warning);
        if global.log.is_none() {
            eprint_line(&format!("warning: {warning}"));
        }
    }
}

/// For `--debug`.
pub(crate) fn debug(global: &Global, message: &str) {
    if global.debug {
        write(global, "debug", message);
        if global.log.is_none() {
            eprint_line(&format!("debug: {message}"));
        }
    }
}

fn write(global: &Global, level: &str, message: &str) {
    let Some(path) = &global.log else { return };
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let line = match global.json_log {
        true => serde_json::to_string(&Line { level, msg: message, time }).unwrap_or_default(),
        false => format!("time=\"{time}\" level={level} msg={message:?}"),
    };
    // A log that cannot be written must not hide the failure, which is on standard error too.
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    drop(opened.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())));
}
