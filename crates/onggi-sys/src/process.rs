//! Processes: cloned, waited for, signalled by descriptor, turned into another program.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, RawPid, WaitId, WaitIdOptions};

use crate::{Error, Result};

pub use rustix::process::{Resource, Rlimit};

/// What clone3(2) is asked for.
#[derive(Debug, Default)]
pub struct CloneRequest<'a> {
    /// `CLONE_*` bits: namespaces, `CLONE_PARENT`. `CLONE_PIDFD` is added always.
    pub flags: u64,
    /// The cgroup v2 directory that the child is born in (`CLONE_INTO_CGROUP`).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of clone3(2) this is.
#[derive(Debug)]
pub enum Forked {
    /// The caller, with its new child.
    Parent {
        /// The child's pid in the caller's namespace.
        pid: i32,
        /// The child.
        pidfd: OwnedFd,
    },
    /// The child, a copy of the caller.
    Child,
}

/// Makes a child as fork(2) does, in new namespaces where asked. clone3(2).
///
/// # Errors
/// `EDEADLK` if the caller has threads: the child would hold copies of locks that nobody will ever release.
pub fn clone3(request: &CloneRequest<'_>) -> Result<Forked> {
    if !is_single_threaded() {
        return Err(Error::new("clone3", "the process has threads", Errno::DEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    let no_parent_signal = request.flags & u64::try_from(libc::CLONE_PARENT).unwrap_or(0) != 0;
    // CLONE_PARENT takes the exit signal of the caller itself and refuses another.
    let exit_signal = if no_parent_signal { 0 } else { libc::SIGCHLD };
    let into_cgroup = if request.cgroup.is_some() { 0x2_0000_0000 } else { 0 };
    let args = CloneArgs {
        flags: request.flags | 0x1000 | into_cgroup,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: u64::try_from(exit_signal).unwrap_or(0),
        cgroup: request.cgroup.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0)),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM or a stack the child is a copy of the caller on a copy of its stack; the caller is the
    // only thread, so no lock can be held by another. `pidfd` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(Error::last_os("clone3", format!("{:#x}", request.flags))),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel wrote a new descriptor there, which nobody else has seen.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid: i32::try_from(pid).unwrap_or(-1), pidfd })
        }
    }
}

/// `struct clone_args` of the kernel, version 2 (5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Whether the caller is its process's only thread. unshare(2) `CLONE_THREAD`, which does nothing but fail if not.
pub fn is_single_threaded() -> bool {
    // SAFETY: takes a number; there is nothing to unshare for a process of one thread.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Ends the process at once: no destructors, no exit handlers, which belong to the process that was copied. _exit(2).
pub fn exit_now(code: u8) -> ! {
    // SAFETY: the call takes a number and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Becomes the program at `path`; returns only with the reason why not. execve(2).
pub fn execute(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end in a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Error::last_os("execve", path.to_string_lossy())
}

/// Becomes the program that `fd` is open on; returns only with the reason why not. execveat(2) `AT_EMPTY_PATH`.
pub fn execute_fd(fd: impl AsFd, args: &[CString], env: &[CString]) -> Error {
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both arrays end in a null pointer and point to strings that outlive the call, as does the empty path.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error::last_os("execveat", "")
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Signals the process behind `pidfd` and no other; signal 0 only asks. pidfd_send_signal(2).
pub fn pidfd_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: takes numbers and a null pointer, which asks for the default siginfo.
    let answer =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0) };
    if answer == 0 { Ok(()) } else { Err(Error::last_os("pidfd_send_signal", signal.to_string())) }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By exit(2) with this code.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
}

impl Ended {
    /// The code by which a shell tells of it: the exit code, or 128 and the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(127)),
        }
    }
}

/// Waits until the child behind `pidfd` ends, and reaps it. waitid(2) `P_PIDFD`.
pub fn wait(pidfd: impl AsFd) -> Result<Ended> {
    wait_with(pidfd.as_fd(), WaitIdOptions::EXITED).map(|ended| ended.unwrap_or(Ended::Exited(0)))
}

/// Reaps the child behind `pidfd` if it has ended; `None` while it runs.
pub fn try_wait(pidfd: impl AsFd) -> Result<Option<Ended>> {
    wait_with(pidfd.as_fd(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Ended>> {
    let status = retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options))
        .map_err(|errno| Error::new("waitid", "P_PIDFD", errno))?;
    Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Ended::Signaled(signal),
        (None, None) => Ended::Exited(0),
    }))
}

/// Makes the caller the leader of a new session without a terminal. setsid(2).
pub fn set_session() -> Result<()> {
    rustix::process::setsid().map(drop).map_err(|errno| Error::new("setsid", "", errno))
}

/// Makes the caller the leader of a new process group. setpgid(2).
pub fn lead_group() -> Result<()> {
    rustix::process::setpgid(None, None).map_err(|errno| Error::new("setpgid", "0, 0", errno))
}

/// Kills every process of the group that the caller's unreaped child `pid` leads. kill(2) of `-pid`.
pub fn kill_group(pid: i32) -> Result<()> {
    let group =
        Pid::from_raw(pid).filter(|_| pid > 1).ok_or_else(|| Error::new("kill", pid.to_string(), Errno::SRCH))?;
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
        .map_err(|errno| Error::new("kill", format!("-{pid}, KILL"), errno))
}

/// Makes the descriptors from `first` on close themselves at the next exec. close_range(2) `CLOSE_RANGE_CLOEXEC`.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: closes nothing now; takes numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == 0 { Ok(()) } else { Err(Error::last_os("close_range", format!("{first}.."))) }
}

/// Makes the number of `old` another name of `by`, closing what it stood for. dup3(2) `O_CLOEXEC`.
///
/// For a clone's child, whose copy of a descriptor has an owner that never drops it there.
pub fn replace(old: impl AsFd, by: impl AsFd) -> Result<()> {
    let (old, by) = (old.as_fd().as_raw_fd(), by.as_fd().as_raw_fd());
    // SAFETY: takes numbers; both stay open, so no owner of either is left without one.
    let answer = unsafe { libc::dup3(by, old, libc::O_CLOEXEC) };
    if answer == old { Ok(()) } else { Err(Error::last_os("dup3", format!("{by}, {old}"))) }
}

/// Makes `number` (0, 1 or 2) another name of `fd`, kept over exec. dup3(2).
pub fn install_standard(fd: impl AsFd, number: i32) -> Result<()> {
    let from = fd.as_fd().as_raw_fd();
    if !(0..=2).contains(&number) {
        return Err(Error::new("dup2", number.to_string(), Errno::INVAL));
    }
    // SAFETY: nothing in this program owns the standard streams, so replacing one takes no descriptor from its owner.
    if unsafe { libc::dup2(from, number) } == number {
        Ok(())
    } else {
        Err(Error::last_os("dup2", format!("{from}, {number}")))
    }
}

/// Sets real, effective and saved user. setresuid(2), for this thread.
pub fn set_user(uid: u32) -> Result<()> {
    let uid_ = rustix::process::Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid_, uid_, uid_)
        .map_err(|errno| Error::new("setresuid", uid.to_string(), errno))
}

/// Sets real, effective and saved group. setresgid(2), for this thread.
pub fn set_group(gid: u32) -> Result<()> {
    let gid_ = rustix::process::Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid_, gid_, gid_)
        .map_err(|errno| Error::new("setresgid", gid.to_string(), errno))
}

/// Sets the additional groups. setgroups(2), for this thread.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    let raw: Vec<_> = groups.iter().map(|&gid| rustix::process::Gid::from_raw(gid)).collect();
    rustix::thread::set_thread_groups(&raw).map_err(|errno| Error::new("setgroups", format!("{groups:?}"), errno))
}

/// Sets the file mode creation mask and answers the one before. umask(2).
pub fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)).bits()
}

/// What a resource limit is now; `None` is no limit. getrlimit(2).
pub fn resource_limit(resource: Resource) -> Rlimit {
    rustix::process::getrlimit(resource)
}

/// Sets a resource limit. setrlimit(2).
pub fn set_resource_limit(resource: Resource, limit: Rlimit) -> Result<()> {
    let shown = format!("{resource:?}, {:?}:{:?}", limit.current, limit.maximum);
    rustix::process::setrlimit(resource, limit).map_err(|errno| Error::new("setrlimit", shown, errno))
}

/// Makes the directory `fd` the working directory. fchdir(2).
pub fn change_dir(fd: impl AsFd) -> Result<()> {
    rustix::process::fchdir(&fd)
        .map_err(|errno| Error::new("fchdir", crate::file::name_of(&fd).display().to_string(), errno))
}

/// The working directory's path, which begins with `(unreachable)` if it is outside the root. getcwd(2), the call
/// itself: the C library's hides that case.
pub fn current_dir() -> Result<Vec<u8>> {
    let mut buffer = vec![0_u8; 4096];
    // SAFETY: the buffer is writable for the length that is passed.
    let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    if length < 0 {
        return Err(Error::last_os("getcwd", ""));
    }
    buffer.truncate(usize::try_from(length).unwrap_or(1).saturating_sub(1));
    Ok(buffer)
}

/// Makes the working directory the root. chroot(2).
pub fn change_root_here() -> Result<()> {
    rustix::process::chroot(".").map_err(|errno| Error::new("chroot", ".", errno))
}

/// Sets the host name of the UTS namespace. sethostname(2).
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).map_err(|errno| Error::new("sethostname", name, errno))
}

/// Sets the NIS domain name of the UTS namespace. setdomainname(2).
pub fn set_domainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).map_err(|errno| Error::new("setdomainname", name, errno))
}

/// Joins a session keyring of this name, made if there is none; without a name a new one that nobody else can join.
/// keyctl(2) `KEYCTL_JOIN_SESSION_KEYRING`.
pub fn join_session_keyring(name: Option<&CStr>) -> Result<i32> {
    const JOIN: libc::c_long = 1;
    // SAFETY: the string outlives the call, and the kernel takes a null pointer for no name.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name.map_or(std::ptr::null(), CStr::as_ptr)) };
    if key < 0 {
        return Err(Error::last_os("keyctl", format!("JOIN_SESSION_KEYRING, {name:?}")));
    }
    Ok(i32::try_from(key).unwrap_or(0))
}

/// Sets the execution domain. personality(2).
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: takes a number.
    match unsafe { libc::personality(persona) } {
        -1 => Err(Error::last_os("personality", format!("{persona:#x}"))),
        _ => Ok(()),
    }
}

/// Sets the caller's I/O class and priority. ioprio_set(2).
pub fn set_io_priority(class: u16, priority: u16) -> Result<()> {
    let value = (u32::from(class) << 13) | u32::from(priority);
    // SAFETY: takes numbers; 1 is IOPRIO_WHO_PROCESS and 0 the caller.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, value) } {
        0 => Ok(()),
        _ => Err(Error::last_os("ioprio_set", format!("{class}, {priority}"))),
    }
}

/// When the process `pid` started, in clock ticks after boot, and its state letter: fields 22 and 3 of `/proc/PID/stat`.
///
/// # Errors
/// `ESRCH` if there is no such process.
pub fn start_time(pid: i32) -> Result<(u64, char)> {
    let path = format!("/proc/{pid}/stat");
    let gone = || Error::new("read", path.clone(), Errno::SRCH);
    let opened = crate::file::open(crate::file::CWD, Path::new(&path), rustix::fs::OFlags::RDONLY, 0.into());
    let text = crate::file::read_all(opened.map_err(|_| gone())?, 4096).map_err(|_| gone())?;
    // The command in field 2 may hold anything, parentheses too; its end is the last one.
    let after = text.iter().rposition(|&byte| byte == b')').ok_or_else(gone)?;
    let text = String::from_utf8_lossy(&text[after + 1..]).into_owned();
    let mut fields = text.split_ascii_whitespace();
    let state = fields.next().and_then(|field| field.chars().next()).ok_or_else(gone)?;
    let ticks = fields.nth(18).and_then(|field| field.parse().ok()).ok_or_else(gone)?;
    Ok((ticks, state))
}

/// Raw pid of the caller. getpid(2).
pub fn own_pid() -> RawPid {
    Pid::as_raw(Some(rustix::process::getpid()))
}

/// Effective user of the caller. geteuid(2).
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Effective group of the caller. getegid(2).
pub fn effective_group() -> u32 {
    rustix::process::getegid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_itself() {
        let (ticks, state) = start_time(own_pid()).unwrap();
        assert!(ticks > 0 && (state == 'R' || state == 'S'));
        assert!(start_time(0x3fff_ffff).unwrap_err().is(Errno::SRCH));
    }

    #[test]
    fn refuses_to_clone_among_threads() {
        let (keep, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().is_ok());
        let error = clone3(&CloneRequest::default()).unwrap_err();
        assert!(error.is(Errno::DEADLK));
        drop(keep);
        assert!(!thread.join().unwrap());
    }
}
