//! The binary that ships.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol};
use onggi_testkit::captured;

use crate::run;

/// What glibc's name service switch is reached through. A static binary that calls one of these loads the libraries of
/// whatever machine it runs on, or crashes.
const NSS: &[&str] = &[
    "getaddrinfo",
    "gethostbyname",
    "gethostbyname_r",
    "gethostbyname2_r",
    "gethostbyaddr_r",
    "getpwnam",
    "getpwnam_r",
    "getpwuid",
    "getpwuid_r",
    "getpwent",
    "getgrnam",
    "getgrnam_r",
    "getgrgid",
    "getgrgid_r",
    "getgrouplist",
    "initgroups",
    "getservbyname_r",
    "__nss_lookup_function",
];

/// The largest binary that we ship, in MiB.
const LIMIT_MIB: f64 = 20.0;

/// Builds, checks, strips and measures `dist/onggi`.
pub(crate) fn main() -> Result<()> {
    let built = run::release_binary()?;
    check(&built)?;
    let out = run::top().join("dist");
    std::fs::create_dir_all(&out)?;
    let shipped = out.join("onggi");
    run::visible(Command::new("strip").args(["--strip-all", "-o"]).arg(&shipped).arg(&built))?;
    let mib = std::fs::metadata(&shipped)?.len() as f64 / (1024.0 * 1024.0);
    ensure!(mib <= LIMIT_MIB, "the binary has {mib:.1} MiB, more than the {LIMIT_MIB} MiB of the budget");
    let version = start_time(&shipped, &["--version"])?;
    let truth = start_time(Path::new("/bin/true"), &[])?;
    println!("dist/onggi: static, not position independent, reaches no name service");
    println!("size:       {mib:.1} MiB (budget {LIMIT_MIB} MiB)");
    println!(
        "start:      `onggi --version` {version:.2} ms, {:.2} x /bin/true ({truth:.2} ms) in this run",
        version / truth
    );
    Ok(())
}

fn check(binary: &Path) -> Result<()> {
    let data = std::fs::read(binary)?;
    let file = ElfFile64::<Endianness>::parse(&*data).context("not a 64-bit ELF file")?;
    let endian = file.endian();
    ensure!(file.elf_header().e_type(endian) == elf::ET_EXEC, "the binary is position independent");
    let dynamic = file.elf_program_headers().iter().any(|header| header.p_type(endian) == elf::PT_INTERP);
    ensure!(!dynamic, "the binary asks for a dynamic loader");
    let reached: Vec<&str> = file
        .symbols()
        .filter(|symbol| symbol.is_definition())
        .filter_map(|symbol| symbol.name().ok())
        .filter(|name| NSS.contains(name))
        .collect();
    if !reached.is_empty() {
        bail!("the binary reaches the name service switch: {}", reached.join(", "));
    }
    Ok(())
}

/// The median of many starts, in milliseconds.
fn start_time(program: &Path, args: &[&str]) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        captured(Command::new(program).args(args))?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(took[took.len() / 2])
}
