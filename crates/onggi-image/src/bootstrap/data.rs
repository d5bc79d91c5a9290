//! What programs and libraries read at run time: the rules.
//!
//! | what is in the image | what it brings along, where this machine has it |
//! |---|---|
//! | glibc before 2.34 | the parts of it that read `/etc/passwd` and ask name servers (`libnss_files`, `libnss_dns`) |
//! | glibc before 2.35 | the locale `C.UTF-8` |
//! | glibc and whoever ends or traces threads | `libgcc_s.so.1` |
//! | libtinfo, ncurses | descriptions of the usual terminals |
//! | OpenSSL, GnuTLS | the certificates of authorities in one file, where OpenSSL looks for it; its settings |
//! | libmagic | its magic |
//! | `iconv` | the character sets of glibc |
//! | `python3.N` | its standard library, without tests, graphics and what installs packages |
//! | `perl` | its standard library |
//!
//! Time zones are not among them: an image is in UTC unless `/usr/share/zoneinfo` is asked for by name.

use std::path::{Path, PathBuf};

use super::gather::Gatherer;
use super::tree::Node;
use super::{BootstrapError, Reason};

struct Rule {
    /// How the name of a program or library in the image begins.
    when: &'static [&'static str],
    /// Files and directories; `*` stands for any one name.
    paths: &'static [&'static str],
}

const TERMINALS: [&str; 10] =
    ["ansi", "dumb", "linux", "screen", "screen-256color", "tmux", "tmux-256color", "vt100", "xterm", "xterm-256color"];
const TERMINFO: [&str; 4] = ["/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo"];

/// Where distributions keep the certificates of authorities in one file.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const RULES: [Rule; 3] = [
    Rule { when: &["libmagic.so"], paths: &["/usr/lib/file/magic.mgc", "/usr/share/misc/magic.mgc"] },
    Rule { when: &["iconv"], paths: &["/usr/lib/*/gconv", "/usr/lib64/gconv", "/usr/lib/gconv"] },
    Rule {
        when: &["perl"],
        paths: &[
            "/usr/lib/*/perl-base",
            "/usr/lib/*/perl/5.*",
            "/usr/share/perl/5.*",
            "/usr/lib64/perl5",
            "/usr/lib/perl5",
            "/usr/share/perl5",
        ],
    },
];

/// Parts of Python's standard library that nobody runs in a container, or that need what is not there.
const PYTHON_WITHOUT: [&str; 12] = [
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "pydoc_data",
    "distutils",
];

/// Adds what the rules say for what was gathered so far.
pub(super) fn apply(gatherer: &mut Gatherer<'_>) -> Result<(), BootstrapError> {
    let present: Vec<PathBuf> = gatherer.taken().iter().map(|taken| taken.path.clone()).collect();
    for path in &present {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for rule in RULES.iter().filter(|rule| rule.when.iter().any(|start| name.starts_with(start))) {
            for pattern in rule.paths {
                existing(pattern).iter().try_for_each(|found| data(gatherer, found, &name))?;
            }
        }
        if name.starts_with("libtinfo") || name.starts_with("libncurses") {
            terminals(gatherer, &name)?;
        }
        if name.starts_with("python3.") {
            python(gatherer, path, &name)?;
        }
        if ["libssl.so", "libgnutls.so", "libcrypto.so"].iter().any(|start| name.starts_with(start)) {
            authorities(gatherer, path, &name)?;
        }
        if name == "libc.so.6" {
            glibc(gatherer, path)?;
        }
    }
    Ok(())
}

fn terminals(gatherer: &mut Gatherer<'_>, name: &str) -> Result<(), BootstrapError> {
    for terminal in TERMINALS {
        for directory in TERMINFO {
            data(gatherer, &Path::new(directory).join(&terminal[..1]).join(terminal), name)?;
        }
    }
    Ok(())
}

/// The certificates, under the name that OpenSSL opens too: many distributions keep only one file each there.
fn authorities(gatherer: &mut Gatherer<'_>, library: &Path, name: &str) -> Result<(), BootstrapError> {
    let Some(file) = AUTHORITIES.iter().map(Path::new).find(|path| path.is_file()) else { return Ok(()) };
    data(gatherer, file, name)?;
    let failed = |source| BootstrapError::Read { path: library.to_owned(), source };
    let Some(home) = openssl_home(&std::fs::read(library).map_err(failed)?) else { return Ok(()) };
    data(gatherer, &home.join("openssl.cnf"), name)?;
    let place = home.join("cert.pem");
    if place.is_file() {
        return data(gatherer, &place, name);
    }
    gatherer.tree.add(&place, Node::Symlink(file.to_owned()));
    Ok(())
}

/// The directory that was built into a libcrypto.
fn openssl_home(library: &[u8]) -> Option<PathBuf> {
    const BEFORE: &[u8] = b"OPENSSLDIR: \"";
    let start = library.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let length = library[start..].iter().take(200).position(|byte| *byte == b'"')?;
    std::str::from_utf8(&library[start..start + length]).ok().map(PathBuf::from)
}

fn python(gatherer: &mut Gatherer<'_>, program: &Path, name: &str) -> Result<(), BootstrapError> {
    let version = name.split(['-', 'd']).next().unwrap_or(name);
    let Some(prefix) = program.parent().and_then(Path::parent) else { return Ok(()) };
    let library = prefix.join("lib").join(version);
    let wanted = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !PYTHON_WITHOUT.contains(&name.as_ref()) && !name.starts_with("config-3")
    };
    if !library.is_dir() {
        return Ok(());
    }
    for file in gatherer.directory(&library, Reason::Data(name.into()), &wanted)? {
        match with_libraries(gatherer, &file) {
            // An extension for something that is not installed does not work here either.
            Err(BootstrapError::NoLibrary { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

/// glibc loads parts of itself by name.
fn glibc(gatherer: &mut Gatherer<'_>, libc: &Path) -> Result<(), BootstrapError> {
    let failed = |source| BootstrapError::Read { path: libc.to_owned(), source };
    let content = std::fs::read(libc).map_err(failed)?;
    let has = |version: &[u8]| content.windows(version.len()).any(|window| window == version);
    let directory = libc.parent().unwrap_or(Path::new("/lib"));
    if !has(b"GLIBC_2.34\0") {
        for name in ["libnss_files.so.2", "libnss_dns.so.2"] {
            data(gatherer, &directory.join(name), "libc.so.6")?;
        }
    }
    if !has(b"GLIBC_2.35\0") {
        data(gatherer, Path::new("/usr/lib/locale/C.UTF-8"), "libc.so.6")?;
    }
    let Some(unwinds) = gatherer.unwinds().map(|path| path.display().to_string()) else { return Ok(()) };
    for place in [directory.to_owned(), PathBuf::from("/lib64"), PathBuf::from("/usr/lib")] {
        let library = place.join("libgcc_s.so.1");
        if library.is_file() {
            return data(gatherer, &library, &unwinds);
        }
    }
    Ok(())
}

/// A file or directory, if this machine has it, and the libraries of what can be loaded from it.
fn data(gatherer: &mut Gatherer<'_>, path: &Path, wanted_by: &str) -> Result<(), BootstrapError> {
    let reason = Reason::Data(wanted_by.into());
    if path.is_dir() {
        let files = gatherer.directory(path, reason, &|_| true)?;
        return files.iter().try_for_each(|file| with_libraries(gatherer, file));
    }
    if path.is_file()
        && let Some(real) = gatherer.file(path, reason)?
    {
        return with_libraries(gatherer, &real);
    }
    Ok(())
}

fn with_libraries(gatherer: &mut Gatherer<'_>, file: &Path) -> Result<(), BootstrapError> {
    let Some(loader) = gatherer.used().first().cloned() else { return Ok(()) };
    let is_library = file.extension().is_some_and(|extension| extension == "so") || is_versioned(file);
    if is_library { gatherer.libraries(file, &loader) } else { Ok(()) }
}

fn is_versioned(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().contains(".so."))
}

/// The paths of this machine that `pattern` fits, in order.
fn existing(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = match part.split_once('*') {
            None => found.into_iter().map(|path| path.join(part)).collect(),
            Some((start, end)) => found.iter().flat_map(|path| matching(path, start, end)).collect(),
        };
    }
    found.retain(|path| path.exists());
    found
}

fn matching(directory: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let names = directory.read_dir().into_iter().flatten().flatten().map(|entry| entry.file_name());
    let fits =
        |name: &std::ffi::OsString| name.to_str().is_some_and(|name| name.starts_with(start) && name.ends_with(end));
    let mut found: Vec<_> = names.filter(fits).map(|name| directory.join(name)).collect();
    found.sort();
    found
}
