//! The default profile in the kernel: what a process under it is told by real system calls, 64-bit and 32-bit.
//!
//! Needs x86_64 and a C compiler; says so and passes where they are not.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![expect(clippy::disallowed_methods, reason = "the process under the filter is a program")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use onggi_seccomp::{Architecture, Environment, compile, default_profile};
use onggi_sys::{prctl, seccomp};

const UNDER: &str = "ONGGI_TEST_UNDER_FILTER";
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Builds the program that asks; `None` where it cannot be built or does not run.
fn probe(name: &str, options: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let built = Command::new("cc").args(options).arg("-o").arg(&program).arg(source).stderr(Stdio::null()).status();
    let runs = || Command::new(&program).status().is_ok_and(|status| status.success());
    (built.is_ok_and(|status| status.success()) && runs()).then_some(program)
}

/// What the calls answer under the default profile without capabilities.
fn under_filter(program: &Path, calls: &[&str]) -> Vec<i32> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_under_the_filter", "--nocapture", "--quiet"])
        .env(UNDER, format!("{} {}", program.display(), calls.join(" ")))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<i32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert_eq!(answers.len(), calls.len(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    answers
}

/// Not a test by itself: the process that [`under_filter`] starts. A filter is for good, so it cannot be this one.
#[test]
fn a_process_under_the_filter() {
    let Ok(words) = std::env::var(UNDER) else { return };
    let mut words = words.split(' ');
    let environment = Environment { architecture: Architecture::X86_64, capabilities: &[], kernel: (6, 1) };
    let program = compile(&default_profile(&environment), Architecture::X86_64).unwrap();
    let instructions: Vec<seccomp::Instruction> = program
        .instructions
        .iter()
        .map(|one| seccomp::Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect();
    prctl::set_no_new_privileges().unwrap();
    seccomp::load(&instructions, program.flags).unwrap();
    let error = Command::new(words.next().unwrap()).args(words).exec();
    panic!("{error}");
}

fn check(program: &Path, cases: &[(&str, i32)]) {
    let calls: Vec<&str> = cases.iter().map(|(call, _)| *call).collect();
    for (answer, (call, expected)) in under_filter(program, &calls).into_iter().zip(cases) {
        assert_eq!(answer, *expected, "{call}");
    }
}

#[test]
fn calls_of_64_bits() {
    let Some(program) = probe("seccomp-probe-64", &[]) else {
        return onggi_testkit::skip("seccomp in the kernel", "needs a C compiler");
    };
    check(
        &program,
        &[
            ("39", 0),                    // getpid
            ("41,1,1,0", 0),              // socket(AF_UNIX)
            ("41,38,5,0", EPERM),         // socket(AF_ALG)
            ("41,4294967334,5,0", EPERM), // the same with a bit that the kernel does not see
            ("41,40,1,0", EPERM),         // socket(AF_VSOCK)
            ("272,268435456", EPERM),     // unshare(CLONE_NEWUSER)
            ("56,268435473", EPERM),      // clone(CLONE_NEWUSER | SIGCHLD)
            ("435,0,0", ENOSYS),          // clone3
            ("425,1,0", EPERM),           // io_uring_setup
            ("323,0", EPERM),             // userfaultfd
            ("250,0,0", EPERM),           // keyctl
            ("321,0,0,0", EPERM),         // bpf
            ("246,0,0,0,0", EPERM),       // kexec_load
            ("165,0,0,0,0,0", EPERM),     // mount
            ("430,0,0", EPERM),           // fsopen
            ("298,0,0,0,0,0", EPERM),     // perf_event_open
            ("135,262144", EPERM),        // personality(ADDR_NO_RANDOMIZE)
            ("135,4294967295", 0),        // personality, asking
            ("5000", ENOSYS),             // no call
        ],
    );
}

#[test]
fn calls_of_32_bits() {
    let options = ["-m32", "-nostdlib", "-static", "-fno-stack-protector", "-fno-pie", "-no-pie"];
    let Some(program) = probe("seccomp-probe-32", &options) else {
        return onggi_testkit::skip(
            "seccomp of 32-bit programs",
            "needs a C compiler for them, and a kernel that runs them",
        );
    };
    check(
        &program,
        &[
            ("20", 0),                // getpid
            ("359,1,1,0", 0),         // socket(AF_UNIX)
            ("359,38,5,0", EPERM),    // socket(AF_ALG)
            ("359,40,1,0", EPERM),    // socket(AF_VSOCK)
            ("310,268435456", EPERM), // unshare(CLONE_NEWUSER)
            ("425,1,0", EPERM),       // io_uring_setup
            ("288,0,0", EPERM),       // keyctl
            ("435,0,0", ENOSYS),      // clone3
            ("5000", ENOSYS),         // no call
        ],
    );
}
