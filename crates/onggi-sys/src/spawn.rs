//! A program started as nobody's child: what a process leaves behind when it ends.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use crate::{Error, Result};

/// A program and what it is given.
#[derive(Debug)]
pub struct Program<'a> {
    /// The executable.
    pub exe: BorrowedFd<'a>,
    /// Its arguments, the first being its name.
    pub args: &'a [CString],
    /// Its environment.
    pub env: &'a [CString],
    /// Its descriptors 0, 1, 2 and so on; it gets no others.
    pub fds: &'a [BorrowedFd<'a>],
}

/// Stack of each of the two short-lived processes: they make a dozen system calls.
const STACK: usize = 32 * 1024;

/// Starts `program` in a session of its own, as a child of init (or the nearest subreaper); returns its pid.
///
/// It begins with every signal blocked: none can end it before it has decided what to do with it. Two vfork-like
/// clones share our memory, so nothing is copied and the failure of execveat(2) comes back as a plain value; the one
/// in the middle ends at once, which is what makes the program nobody's child.
pub fn detached(program: &Program<'_>) -> Result<u32> {
    let mut job = Job::new(program);
    let mut stacks = vec![0_u8; 2 * STACK];
    let (middle_stack, last_stack) = stacks.split_at_mut(STACK);
    job.last_stack = top_of(last_stack);
    let blocked = AllBlocked::enter()?;
    // SAFETY: `run_middle` gets a pointer to `job`, which outlives the clone: CLONE_VFORK holds us here until the
    // middle process has exited, and that one is held the same way until the last has executed or exited. Its stack is
    // ours alone. With every signal blocked no handler of ours runs on it.
    let middle = unsafe {
        libc::clone(
            run_middle,
            top_of(middle_stack),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut job).cast::<c_void>(),
        )
    };
    let failed = (middle < 0).then(|| Error::last_os("clone", "VM|VFORK"));
    drop(blocked);
    match failed {
        Some(error) => Err(error),
        None => job.finish(middle),
    }
}

/// What the three processes share; made before the first clone, so that nothing after it allocates.
struct Job {
    exe: RawFd,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    fds: Vec<RawFd>,
    last_stack: *mut c_void,
    pid: c_int,
    errno: c_int,
    call: &'static str,
}

impl Job {
    fn new(program: &Program<'_>) -> Self {
        let pointers =
            |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
        Self {
            exe: program.exe.as_raw_fd(),
            argv: pointers(program.args),
            envp: pointers(program.env),
            fds: program.fds.iter().map(AsRawFd::as_raw_fd).collect(),
            last_stack: ptr::null_mut(),
            pid: 0,
            errno: 0,
            call: "clone",
        }
    }

    fn finish(&self, middle: c_int) -> Result<u32> {
        // SAFETY: waits for our own child; a null status pointer is allowed.
        while unsafe { libc::waitpid(middle, ptr::null_mut(), 0) } < 0 && last_errno() == libc::EINTR {}
        if self.errno != 0 {
            return Err(Error::new(self.call, "a detached program", Errno::from_raw_os_error(self.errno)));
        }
        Ok(self.pid.unsigned_abs())
    }

    /// Notes the failed call and ends this process.
    fn fail(&mut self, call: &'static str) -> c_int {
        self.errno = last_errno();
        self.call = call;
        127
    }
}

/// Between us and the program: its end makes the program an orphan.
extern "C" fn run_middle(job: *mut c_void) -> c_int {
    // SAFETY: `detached` passes its `Job` and is suspended while this runs.
    let job = unsafe { &mut *job.cast::<Job>() };
    let (stack, shared) = (job.last_stack, ptr::from_mut(job).cast::<c_void>());
    // SAFETY: as in `detached`: this process is suspended until the new one has executed or exited.
    let pid = unsafe { libc::clone(run_last, stack, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, shared) };
    if pid < 0 {
        return job.fail("clone");
    }
    job.pid = pid;
    0
}

/// Becomes the program.
extern "C" fn run_last(job: *mut c_void) -> c_int {
    // SAFETY: `run_middle` passes the `Job` on; it and `detached` are suspended while this runs.
    let job = unsafe { &mut *job.cast::<Job>() };
    let Ok(count) = c_int::try_from(job.fds.len()) else { return 127 };
    // Away from the numbers they are to have, so that no dup2 closes what a later one needs.
    for index in 0..job.fds.len() {
        // SAFETY: plain descriptor numbers; the table is this process' own.
        match unsafe { libc::fcntl(job.fds[index], libc::F_DUPFD_CLOEXEC, count + 1) } {
            moved if moved < 0 => return job.fail("fcntl"),
            moved => job.fds[index] = moved,
        }
    }
    // SAFETY: as above.
    let exe = unsafe { libc::fcntl(job.exe, libc::F_DUPFD_CLOEXEC, count + 1) };
    if exe < 0 {
        return job.fail("fcntl");
    }
    for number in 0..count {
        // SAFETY: as above; `number` is an index of `fds` by construction.
        if unsafe { libc::dup2(job.fds[number.unsigned_abs() as usize], number) } < 0 {
            return job.fail("dup2");
        }
    }
    // SAFETY: marks descriptors of this process' own table; what is open in the parent is untouched.
    unsafe {
        libc::syscall(libc::SYS_close_range, count.unsigned_abs(), u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::setsid();
    }
    // SAFETY: both vectors end in a null pointer and point to strings that the suspended caller holds.
    unsafe {
        let (argv, envp) = (job.argv.as_ptr(), job.envp.as_ptr());
        libc::syscall(libc::SYS_execveat, exe, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH);
    }
    job.fail("execveat")
}

/// Every signal blocked until dropped.
struct AllBlocked {
    before: libc::sigset_t,
}

impl AllBlocked {
    fn enter() -> Result<Self> {
        // SAFETY: both sets are plain memory that the calls fill.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) {
                0 => Ok(Self { before }),
                errno => Err(Error::new("pthread_sigmask", "all", Errno::from_raw_os_error(errno))),
            }
        }
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled by `enter`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

fn top_of(stack: &mut [u8]) -> *mut c_void {
    let end = stack.as_mut_ptr_range().end;
    // The ABI wants sixteen bytes' alignment.
    end.wrapping_sub(end.addr() % 16).cast::<c_void>()
}

fn last_errno() -> c_int {
    // SAFETY: the location is the calling thread's, always valid.
    unsafe { *libc::__errno_location() }
}

/// Takes over a descriptor that this process was started with; it closes itself at the next exec from now on.
///
/// # Errors
/// `EBADF` if there is none of this number, or if it has been taken before.
pub fn inherited(number: RawFd) -> Result<OwnedFd> {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let bad = || Error::new("fcntl", format!("{number}, F_SETFD"), Errno::BADF);
    let bit = u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)).ok_or_else(bad)?;
    // SAFETY: takes plain numbers.
    let exists = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    if !exists || TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return Err(bad());
    }
    // SAFETY: it is open, and the bit makes sure that it is handed out once; who starts a program gives it descriptors
    // for the program to own.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The strings as the kernel takes them.
///
/// # Errors
/// `EINVAL` for one with a NUL byte.
pub fn c_strings<I: AsRef<[u8]>>(strings: impl IntoIterator<Item = I>) -> Result<Vec<CString>> {
    strings
        .into_iter()
        .map(|string| CString::new(string.as_ref()).map_err(|_| Error::new("string", "a NUL byte", Errno::INVAL)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::file::{self, CWD, Mode, OFlags};
    use crate::{event, unix};

    fn start(exe: &str, script: &str) -> (Result<u32>, std::os::fd::OwnedFd) {
        let exe = file::open(CWD, exe, OFlags::RDONLY, Mode::empty()).unwrap();
        let null = file::open(CWD, "/dev/null", OFlags::RDWR, Mode::empty()).unwrap();
        let (ours, theirs) = unix::pair().unwrap();
        let args = c_strings(["sh", "-c", script]).unwrap();
        let pid = detached(&Program {
            exe: exe.as_fd(),
            args: &args,
            env: &[],
            fds: &[null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd()],
        });
        (pid, ours)
    }

    #[test]
    fn has_its_own_session_and_only_its_descriptors() {
        let (pid, socket) = start(
            "/bin/sh",
            "read -r _ _ _ parent _ session _ < /proc/$$/stat; echo $$ $session $parent $(ls /proc/$$/fd | tr '\\n' ' ') >&3",
        );
        let pid = pid.unwrap();
        assert!(event::readable(&socket, Duration::from_secs(10)).unwrap());
        let text = String::from_utf8(file::read_all(&socket, 1000).unwrap()).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words[0], pid.to_string());
        assert_eq!(words[1], pid.to_string());
        assert_ne!(words[2], std::process::id().to_string());
        assert!(words[3..].starts_with(&["0", "1", "2", "3"]), "{text}");
    }

    #[test]
    fn what_cannot_be_executed_is_told() {
        let (pid, _socket) = start("/etc/passwd", "");
        let error = pid.unwrap_err();
        assert!(error.is(Errno::ACCESS), "{error}");
    }
}
