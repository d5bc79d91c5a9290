//! How a monitor comes into the world.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use onggi_diag::{Diagnose, Record};
use onggi_fs::Lock;
use onggi_sys::file::{self, Mode, OFlags};
use onggi_sys::spawn::{Program, detached};
use onggi_sys::unix;

use crate::client::{Client, ClientError, Event, Result, Session};
use crate::launch::Launch;
use crate::message::{Answer, Request, Streams};

/// The name by which the binary knows that it is a monitor.
pub const ARGV0: &str = "onggi-monitor";

/// Where a monitor finds the connection to the one who started it.
pub(crate) const STARTER_FD: i32 = 3;

/// Where it finds the container's lock.
pub(crate) const LOCK_FD: i32 = 4;

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    /// Its first process, as the monitor sees it.
    pub pid: u32,
    /// The streams of the one who started it, if they were asked for.
    pub session: Option<Session>,
}

/// Starts the monitor of the container that `launch` describes, which has been saved, and with it the container.
///
/// `lock` is the container's, held exclusively: it becomes the monitor's, and is free when the monitor has ended,
/// however that came about. `attach` asks for the streams from the first byte on.
///
/// Returns when the user's program runs.
///
/// # Errors
/// [`ClientError::Refused`] with the monitor's reason and an exit code of 125, 126 or 127; the container is then
/// cleaned up and its state says so.
pub fn spawn(launch: &Launch, lock: Lock, attach: Option<Streams>) -> Result<Started> {
    let (ours, theirs) = unix::pair()?;
    // Asked before there is anybody to answer: the monitor finds it all when it first looks.
    let mut client = Client::over(ours, &launch.run_dir);
    if let Some(streams) = attach {
        client.send(&Request::Attach(streams))?;
    }
    client.send(&Request::Start)?;
    let exe = onggi_runtime::protect::exe().map_err(|error| refusal(&error))?;
    let null = file::open(file::CWD, "/dev/null", OFlags::RDWR, Mode::empty())?;
    let args = [ARGV0.as_bytes(), launch.dir.as_os_str().as_bytes()];
    let args: Vec<CString> = onggi_sys::spawn::c_strings(args)?;
    detached(&Program {
        exe: exe.as_fd(),
        args: &args,
        env: &[],
        fds: &[null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd(), lock.as_fd()],
    })?;
    // From here on only the monitor holds its end and the lock, so its death is seen by both.
    drop((theirs, lock));
    let pid = await_start(&mut client)?;
    Ok(Started { pid, session: attach.map(|_| Session::of_container(client)) })
}

fn await_start(client: &mut Client) -> Result<u32> {
    loop {
        match client.receive()? {
            // To the request to attach.
            Event::Answer(Answer::Done) => {}
            Event::Answer(Answer::Started { pid }) => return Ok(pid),
            Event::Answer(Answer::Failed { exit_code, error }) => {
                return Err(ClientError::Refused { exit_code, error });
            }
            other => return Err(ClientError::Garbled(format!("{other:?} before the start"))),
        }
    }
}

fn refusal(error: &dyn Diagnose) -> ClientError {
    ClientError::Refused { exit_code: 125, error: Record::new("start the monitor", error) }
}
