//! F, J, L: directories, the kernel's surface, exhaustion.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use onggi_testkit::{compile_static, needs};

use crate::{evil, script};

const PROBE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static void tell(const char *what, long result) { printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "OK"); }
int main(void) {
    tell("socket-alg", socket(38, SOCK_SEQPACKET, 0));
    tell("socket-vsock", socket(40, SOCK_STREAM, 0));
    tell("socket-inet", socket(AF_INET, SOCK_STREAM, 0));
    tell("unshare-user", unshare(CLONE_NEWUSER));
    tell("clone3", syscall(SYS_clone3, 0, 0));
    tell("bpf", syscall(SYS_bpf, 0, 0, 0));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
    tell("userfaultfd", syscall(SYS_userfaultfd, 0));
    tell("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
    tell("mount", syscall(SYS_mount, "none", "/", "tmpfs", 0, 0));
    tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    tell("open_by_handle_at", syscall(SYS_open_by_handle_at, -100, 0, 0));
    tell("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    tell("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    tell("init_module", syscall(SYS_init_module, 0, 0, 0));
    tell("settimeofday", syscall(SYS_settimeofday, 0, 0));
    tell("swapon", syscall(SYS_swapon, 0, 0));
    tell("x32", syscall(0x40000000 + SYS_getpid));
    return 0;
}
"#;

#[test]
fn j01_j03_what_the_default_profile_denies() {
    needs!("root", "cc");
    let onggi = evil(|root| compile_static(PROBE, &root.join("bin/probe")).unwrap());
    let seen = onggi.run(["run", "--rm", "--network", "none", "evil", "probe"]).ok().unwrap().stdout;
    let expected = "\
socket-alg EPERM
socket-vsock EPERM
socket-inet OK
unshare-user EPERM
clone3 ENOSYS
bpf EPERM
keyctl EPERM
io_uring_setup EPERM
userfaultfd EPERM
perf_event_open EPERM
mount EPERM
fsopen EPERM
open_by_handle_at EPERM
kexec_load EPERM
reboot EPERM
init_module EPERM
settimeofday EPERM
swapon EPERM
";
    let (known, x32) = seen.rsplit_once("x32 ").unwrap();
    assert_eq!(known, expected);
    assert!(["EPERM\n", "ENOSYS\n"].contains(&x32), "the other numbering of system calls is open: {x32}");
}

#[test]
fn j04_no_way_to_the_kernels_own_files() {
    needs!("root");
    let onggi = evil(|_| {});
    let text = "for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom \
                /proc/irq/default_smp_affinity /sys/kernel/uevent_helper /sys/power/state /proc/kcore /proc/sys/kernel/hostname; do \
                [ -e $f ] && (: > $f) 2>/dev/null && echo $f; done; ls /sys/kernel/debug /sys/kernel/tracing /sys/firmware 2>/dev/null";
    let outcome = script(&onggi, &[], text);
    let written: Vec<&str> =
        outcome.stdout.lines().filter(|line| line.starts_with("/proc") && !line.ends_with(':')).collect();
    // A masked file is a null device, which takes anything and does nothing.
    assert!(written.iter().all(|path| *path == "/proc/kcore"), "{outcome:?}");
}

#[test]
fn j02_side_channels_are_masked() {
    needs!("root");
    let onggi = evil(|_| {});
    let text = "for f in /proc/interrupts /proc/keys /proc/latency_stats /proc/sched_debug /proc/timer_list /proc/timer_stats; do \
                [ -e $f ] && [ $(cat $f | wc -c) != 0 ] && echo $f; done; ls -A /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v : | grep .";
    assert_eq!(script(&onggi, &[], text).stdout, "");
}

#[test]
fn f03_nobody_else_can_look_into_the_store() {
    needs!("root");
    let onggi = evil(|_| {});
    script(&onggi, &[], "true");
    for name in ["data", "data/images", "data/layers", "data/containers", "run", "run/containers"] {
        let mode = std::fs::metadata(onggi.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
}

#[test]
fn l01_a_fork_bomb_meets_its_limit() {
    needs!("root");
    let onggi = evil(|_| {});
    let began = Instant::now();
    let outcome =
        script(&onggi, &["--pids-limit", "30"], "i=0; while [ $i -lt 100 ]; do sleep 3 & i=$((i+1)); done; wait");
    assert!(outcome.stderr.contains("fork") || outcome.code != 0, "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
    script(&onggi, &[], "true").ok().unwrap();
}

#[test]
fn l08_one_stuck_container_does_not_slow_the_list() {
    needs!("root");
    let onggi = evil(|_| {});
    onggi.run(["run", "-d", "--name", "stuck", "--network", "none", "evil", "sleep", "1000"]).ok().unwrap();
    // Its monitor is stopped: it answers nobody and keeps its lock.
    let mark = onggi.dir().to_string_lossy().into_owned();
    let monitor = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (line.starts_with("onggi-monitor") && line.contains(&mark))
            .then(|| entry.file_name().to_string_lossy().into_owned())
    });
    let monitor = monitor.expect("a container has a monitor");
    let signal =
        |name: &str| onggi_testkit::captured(std::process::Command::new("kill").args([name, &monitor])).unwrap();
    signal("-STOP");
    let began = Instant::now();
    let listed = onggi.run(["ps", "--format", "{{.Names}}"]);
    let took = began.elapsed();
    signal("-CONT");
    assert_eq!(listed.stdout, "stuck\n");
    assert!(took < Duration::from_secs(2), "{took:?}");
}
