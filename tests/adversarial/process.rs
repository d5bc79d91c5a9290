//! B: processes, descriptors, the binary itself.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use onggi_testkit::{compile_static, find, needs};

use crate::{BINARY, evil, script};

/// Follows whoever comes into the container, and tries to write to the program that it is.
const HUNTER: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void) {
    puts("hunting");
    fflush(stdout);
    for (int round = 0; round < 4000000; round++) {
        char path[64];
        for (int pid = 2; pid < 40; pid++) {
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int seen = open(path, O_PATH);
            if (seen < 0) continue;
            char name[4096] = "", link[64];
            ssize_t length = readlink(path, name, sizeof name - 1);
            snprintf(link, sizeof link, "/proc/self/fd/%d", seen);
            /* our own programs are the container's, and may be written */
            if (length > 0 && access(name, F_OK) != 0) {
                for (int try = 0; try < 2000; try++) {
                    int file = open(link, O_WRONLY);
                    if (file >= 0) { printf("WRITABLE %s\n", name); fflush(stdout); close(file); break; }
                }
            }
            close(seen);
        }
    }
    return 0;
}
"#;

fn bytes(path: &str) -> Vec<u8> {
    let mut data = Vec::new();
    std::fs::File::open(path).unwrap().read_to_end(&mut data).unwrap();
    data
}

#[test]
fn b01_the_binary_on_the_host_cannot_be_written_through_proc() {
    needs!("root");
    let before = bytes(BINARY);
    // As entry point: the kernel runs whatever /proc/self/exe is at that moment.
    let onggi = evil(|root| {
        let entry = root.join("entry");
        std::fs::write(&entry, "#!/proc/self/exe\n").unwrap();
        std::fs::set_permissions(&entry, PermissionsExt::from_mode(0o755)).unwrap();
    });
    onggi.run(["run", "--rm", "--network", "none", "evil", "/entry"]);
    let write = "for i in 1 2 3; do (echo harm > /proc/self/exe) 2>/dev/null; (echo harm > /proc/1/exe) 2>/dev/null; done; true";
    script(&onggi, &[], write);
    script(&onggi, &["--cap-add", "SYS_PTRACE"], write);
    assert!(bytes(BINARY) == before, "the binary was overwritten");
}

#[test]
fn b01_b09_nor_while_a_command_comes_into_the_container() {
    needs!("root", "cc");
    let before = bytes(BINARY);
    let onggi = evil(|root| compile_static(HUNTER, &root.join("bin/hunter")).unwrap());
    for (name, options) in [("plain", &[][..]), ("ptrace", &["--cap-add", "SYS_PTRACE"])] {
        let words = [&["run", "-d", "--name", name, "--network", "none"], options, &["evil", "hunter"]].concat();
        onggi.run(words).ok().unwrap();
        for _ in 0..60 {
            onggi.run(["exec", name, "true"]).ok().unwrap();
        }
        let said = onggi.run(["logs", name]).stdout;
        onggi.run(["rm", "-f", name]).ok().unwrap();
        assert!(!said.contains("WRITABLE"), "{said}");
    }
    assert!(bytes(BINARY) == before, "the binary was overwritten");
}

#[test]
fn b02_no_working_directory_outside_the_root() {
    needs!("root");
    let onggi = evil(|root| std::os::unix::fs::symlink("/proc/self/fd/9", root.join("link")).unwrap());
    for dir in (3..40).map(|fd| format!("/proc/self/fd/{fd}")).chain(["/link".into(), "/proc/1/cwd/../../..".into()]) {
        let outcome = onggi.run([
            "run",
            "--rm",
            "--network",
            "none",
            "-w",
            &dir,
            "evil",
            "sh",
            "-c",
            "ls -d ../../../../../../../root/.cargo ../../../../../var/lib/dpkg",
        ]);
        assert!(!outcome.stdout.contains(".cargo") && !outcome.stdout.contains("dpkg"), "{dir}: {outcome:?}");
    }
}

#[test]
fn b03_nothing_of_the_container_is_loaded_before_it_is_confined() {
    needs!("root", "strace");
    let onggi = evil(|root| {
        std::fs::create_dir_all(root.join("lib/x86_64-linux-gnu")).unwrap();
        for name in ["etc/nsswitch.conf", "etc/ld.so.preload", "lib/x86_64-linux-gnu/libnss_files.so.2"] {
            std::fs::write(root.join(name), "passwd: files\n").unwrap();
        }
    });
    let trace = onggi.dir().join("trace");
    let inner = onggi.command(["run", "--rm", "--network", "none", "-u", "nobody", "evil", "true"]);
    let mut strace = Command::new(find("strace").unwrap());
    strace
        .args(["-f", "-e", "trace=open,openat,openat2", "-o"])
        .arg(&trace)
        .arg(inner.get_program())
        .args(inner.get_args());
    strace.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert!(strace.status().unwrap().success());
    let trace = std::fs::read_to_string(&trace).unwrap();
    for name in ["nsswitch", "libnss", "ld.so"] {
        assert!(!trace.contains(name), "{name} was opened");
    }
}

#[test]
fn b06_b07_no_inheritable_and_no_ambient_capabilities() {
    needs!("root");
    let onggi = evil(|_| {});
    for options in [&[][..], &["--privileged"], &["--cap-add", "NET_RAW"], &["-u", "1000", "--cap-add", "NET_RAW"]] {
        let outcome = script(&onggi, options, "grep -E 'Cap(Inh|Amb)' /proc/self/status");
        assert_eq!(outcome.stdout, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n", "{options:?}");
    }
}

#[test]
fn b08_the_hosts_terminal_is_not_the_containers() {
    needs!("root");
    let onggi = evil(|_| {});
    let outcome = script(&onggi, &["-t"], "readlink /proc/self/fd/0; cat /proc/self/stat | cut -d' ' -f6");
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim_end).collect();
    assert!(lines[0].starts_with("/dev/pts/") || lines[0] == "/dev/console", "{outcome:?}");
    assert_eq!(lines[1], "1", "the container's first process leads its own session: {outcome:?}");
}

#[test]
fn b12_a_session_keyring_of_its_own() {
    needs!("root");
    let onggi = evil(|_| {});
    let own = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    let seen = script(&onggi, &[], "cat /proc/keys 2>/dev/null").stdout;
    assert!(seen.is_empty() || seen != own, "{seen}");
}
