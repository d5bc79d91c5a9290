//! The tables of system calls beside the headers of this machine: every name in a header is in our table with the
//! header's number, unless the header is newer than the table.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeMap;

use onggi_seccomp::{Architecture, syscalls};

const X32_BIT: u32 = 0x4000_0000;

/// `#define __NR_read 0`, also with a base before the number.
fn header(path: &str) -> Option<BTreeMap<String, u32>> {
    let text = std::fs::read_to_string(path).ok()?;
    let define = |line: &str| {
        let (name, value) = line.strip_prefix("#define __NR_")?.split_once([' ', '\t'])?;
        let value = value.trim().trim_start_matches('(').trim_end_matches(')');
        let value = value.rsplit('+').next()?.trim();
        Some((name.to_owned(), value.parse().ok()?))
    };
    Some(text.lines().filter_map(define).collect())
}

fn check(architecture: Architecture, path: &str) {
    let Some(header) = header(path) else {
        onggi_testkit::skip("seccomp tables", &format!("needs {path} (linux-libc-dev)"));
        return;
    };
    assert!(header.len() > 300, "{path} has only {} names", header.len());
    let table: BTreeMap<&str, u32> =
        syscalls::all(architecture).map(|(name, number)| (name, number & !X32_BIT)).collect();
    let newest = table.values().copied().filter(|&number| number < 0xf_0000).max().unwrap();
    for (name, number) in header {
        match table.get(name.as_str()) {
            Some(&ours) => assert_eq!(ours, number, "{name} in {path}"),
            None => assert!(number > newest, "{name} ({number}) of {path} is missing"),
        }
    }
}

#[test]
fn x86() {
    check(Architecture::X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
    check(Architecture::X86, "/usr/include/x86_64-linux-gnu/asm/unistd_32.h");
    check(Architecture::X32, "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h");
}

#[test]
fn tables_are_sorted_and_name_numbers_once() {
    use Architecture::{Aarch64, Arm, X32, X86, X86_64};
    for architecture in [X86_64, X86, X32, Aarch64, Arm] {
        let names: Vec<&str> = syscalls::all(architecture).map(|(name, _)| name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{architecture:?}");
        assert!(names.iter().all(|name| architecture.number(name).is_some()));
    }
}

#[test]
fn numbers_that_everybody_knows() {
    use Architecture::{Aarch64, Arm, X32, X86, X86_64};
    for (architecture, name, number) in [
        (X86_64, "read", 0),
        (X86_64, "execve", 59),
        (X86, "read", 3),
        (X86, "socketcall", 102),
        (X32, "read", X32_BIT),
        (X32, "execve", X32_BIT | 520),
        (Aarch64, "openat", 56),
        (Aarch64, "newfstatat", 79),
        (Aarch64, "mmap", 222),
        (Arm, "mmap2", 192),
        (Arm, "socket", 281),
        (Arm, "cacheflush", 0xf_0002),
    ] {
        assert_eq!(architecture.number(name), Some(number), "{architecture:?} {name}");
    }
    assert_eq!(Aarch64.number("open"), None);
    assert_eq!(X86_64.number("clone3"), Aarch64.number("clone3"));
}
