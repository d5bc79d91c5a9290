//! Hooks: programs of the host's that the specification has run at six moments.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use onggi_diag::Kind;
use onggi_oci::runtime::{Hook, Hooks};
use onggi_sys::process::{self, CloneRequest, Ended, Forked};
use onggi_sys::{file, memory_file, pidfd};

use crate::failure::{During, Failure, Outcome};

/// Every list of `hooks` with its name, in the order of a container's life.
pub(crate) fn all(hooks: &Hooks) -> [(&'static str, &[Hook]); 6] {
    fn list(hooks: &Option<Vec<Hook>>) -> &[Hook] {
        hooks.as_deref().unwrap_or_default()
    }
    [
        ("prestart", list(hooks.prestart())),
        ("createRuntime", list(hooks.create_runtime())),
        ("createContainer", list(hooks.create_container())),
        ("startContainer", list(hooks.start_container())),
        ("poststart", list(hooks.poststart())),
        ("poststop", list(hooks.poststop())),
    ]
}

/// The hooks called `name`.
pub(crate) fn named<'h>(hooks: Option<&'h Hooks>, name: &str) -> &'h [Hook] {
    hooks.and_then(|hooks| all(hooks).into_iter().find(|(known, _)| *known == name)).map_or(&[], |(_, list)| list)
}

/// Runs `hooks` in their order, each with `state` (JSON) on its standard input; stops at the first that fails.
pub(crate) fn run_all(name: &str, hooks: &[Hook], state: &[u8]) -> Outcome<()> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run(&format!("run hook {name}[{index}]"), hook, state))
}

fn run(stage: &str, hook: &Hook, state: &[u8]) -> Outcome<()> {
    let c_string = |text: &str| {
        CString::new(text).map_err(|_| Failure::new(stage, Kind::Invalid, "a word of it holds a NUL byte"))
    };
    let path = c_string(&hook.path().to_string_lossy())?;
    let args = match hook.args().as_deref() {
        Some(args) if !args.is_empty() => args.iter().map(|arg| c_string(arg)).collect::<Outcome<Vec<_>>>()?,
        _ => vec![path.clone()],
    };
    // The hook's own and nothing else: what the image says about its environment is not the hook's.
    let env = hook.env().iter().flatten().map(|entry| c_string(entry)).collect::<Outcome<Vec<_>>>()?;
    let input = memory_file(state).during(|| stage)?;
    let output = memory_file(b"").during(|| stage)?;
    let (pidfd, pid) = match process::clone3(&CloneRequest::default()).during(|| stage)? {
        Forked::Child => become_hook(&input, &output, &path, &args, &env),
        Forked::Parent { pidfd, pid } => (pidfd, pid),
    };
    let limit = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let ended = wait_at_most(pidfd.as_fd(), pid, limit).during(|| stage)?;
    let shown = hook.path().display();
    let said = || said(&output);
    match ended {
        Some(Ended::Exited(0)) => Ok(()),
        Some(Ended::Exited(code)) => {
            Err(Failure::new(stage, Kind::Internal, format!("{shown} exited with {code}{}", said())))
        }
        Some(Ended::Signaled(signal)) => {
            Err(Failure::new(stage, Kind::Internal, format!("{shown} was ended by signal {signal}{}", said())))
        }
        None => Err(Failure::new(
            stage,
            Kind::Unavailable,
            format!("{shown} did not end within {} s", hook.timeout().unwrap_or_default()),
        )),
    }
}

/// Waits for the hook; `None` if it had to be killed because its time was over.
fn wait_at_most(
    child: std::os::fd::BorrowedFd<'_>,
    pid: i32,
    limit: Option<Duration>,
) -> onggi_sys::Result<Option<Ended>> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if pidfd::wait_exited(child, left)? {
        return process::wait(child).map(Some);
    }
    // The hook leads a process group of its own, so that what it started ends with it.
    drop(process::kill_group(pid));
    drop(process::pidfd_signal(child, 9));
    process::wait(child).map(|_| None)
}

fn become_hook(input: &OwnedFd, output: &OwnedFd, path: &CString, args: &[CString], env: &[CString]) -> ! {
    let prepared = process::lead_group()
        .and_then(|()| process::install_standard(input, 0))
        .and_then(|()| process::install_standard(output, 1))
        .and_then(|()| process::install_standard(output, 2))
        .and_then(|()| process::close_on_exec_from(3));
    let error = match prepared {
        Ok(()) => process::execute(path, args, env),
        Err(error) => error,
    };
    drop(file::write_all(output, error.to_string().as_bytes()));
    process::exit_now(127)
}

/// A file in memory with this content, at its beginning: unlike a pipe it holds any state without a reader.
fn memory_file(content: &[u8]) -> onggi_sys::Result<OwnedFd> {
    let file = memory_file::create(c"hook")?;
    file::write_all(&file, content)?;
    file::rewind(&file)?;
    Ok(file)
}

/// The beginning of what a hook wrote.
fn said(output: &OwnedFd) -> String {
    let mut buffer = [0; 1024];
    let length = file::rewind(output).and_then(|()| file::read(output, &mut buffer)).unwrap_or(0);
    match String::from_utf8_lossy(&buffer[..length]).trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
