//! From a profile to a program.

use onggi_oci::runtime::{Arch, LinuxSeccomp, LinuxSeccompFilterFlag};

use crate::architecture::X32_BIT;
use crate::policy::Rules;
use crate::program::{self, Outcome};
use crate::{Action, Architecture, Error, Instruction, Result};

const TSYNC: u32 = 1 << 0;
const LOG: u32 = 1 << 1;
const SPEC_ALLOW: u32 = 1 << 2;
const NEW_LISTENER: u32 = 1 << 3;
const TSYNC_ESRCH: u32 = 1 << 4;
const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// A compiled profile, ready for seccomp(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The filter, at most 4096 instructions.
    pub instructions: Vec<Instruction>,
    /// The flags to load it with; with [`Program::notify`] they ask for the listener's descriptor.
    pub flags: u32,
    /// Whether some call goes to the one behind `listenerPath`.
    pub notify: bool,
    /// What in the profile has no effect here, for a log.
    pub warnings: Vec<String>,
}

/// Compiles `profile` for a kernel of the architecture `native`. Reads nothing and asks nobody.
///
/// Implements `linux.seccomp` (runtime-spec, config-linux). Where the specification leaves a choice, what runc does
/// is done: names that no architecture has are passed over with a warning; a rule whose conditions name an argument
/// twice fits if one of them holds; a rule that does what is done anyway does not count; a call with a number above
/// all that the profile names is answered with `ENOSYS` rather than refused, so that a C library that tries new
/// calls first goes on to the old ones. A calling convention that the profile does not name is killed.
pub fn compile(profile: &LinuxSeccomp, native: Architecture) -> Result<Program> {
    let rules = Rules::parse(profile)?;
    let notify = rules.notify();
    if notify && profile.listener_path().is_none() {
        return Err(Error::NoListener);
    }
    let mut warnings: Vec<String> =
        rules.unknown.iter().map(|name| format!("seccomp: no system call is named `{name}`")).collect();
    let architectures = architectures(profile, native, &mut warnings);
    let sections = sections(&rules, &architectures);
    Ok(Program { instructions: program::link(sections)?, flags: flags(profile, notify), notify, warnings })
}

/// Those that the profile names and this kernel can run; itself always, and first.
fn architectures(profile: &LinuxSeccomp, native: Architecture, warnings: &mut Vec<String>) -> Vec<Architecture> {
    let named = profile.architectures().as_deref().unwrap_or_default();
    for name in named {
        let runs = *name == Arch::ScmpArchNative || native.family().iter().any(|one| one.to_oci() == *name);
        if !runs {
            warnings.push(format!("seccomp: {name:?} is an architecture that this kernel cannot run"));
        }
    }
    let family = native.family().iter().copied();
    family.filter(|one| *one == native || named.contains(&one.to_oci())).collect()
}

fn sections(rules: &Rules<'_>, architectures: &[Architecture]) -> Vec<(u32, Vec<Instruction>)> {
    let x32 = architectures.contains(&Architecture::X32).then(|| rules.policy(Architecture::X32));
    let section = |&architecture: &Architecture| {
        let policy = rules.policy(architecture);
        let mut runs = program::runs(&policy, 0);
        // x32 shares its audit number with x86_64 and is told by a bit in the number.
        match (architecture, &x32) {
            (Architecture::X86_64, Some(x32)) => runs.extend(program::runs(x32, X32_BIT)),
            (Architecture::X86_64, None) => runs.push((X32_BIT, Outcome::Answer(Action::KILL_PROCESS))),
            _ => {}
        }
        (architecture.audit(), program::section(&runs))
    };
    architectures.iter().filter(|&&one| one != Architecture::X32).map(section).collect()
}

fn flags(profile: &LinuxSeccomp, notify: bool) -> u32 {
    use LinuxSeccompFilterFlag as F;
    // Without a word about flags speed goes first, as with runc: the kernel's default slows the whole process down.
    let Some(named) = profile.flags() else { return if notify { SPEC_ALLOW | NEW_LISTENER } else { SPEC_ALLOW } };
    let mut flags = named.iter().fold(0, |flags, flag| {
        flags
            | match flag {
                F::SeccompFilterFlagLog => LOG,
                F::SeccompFilterFlagTsync => TSYNC,
                F::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
                F::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
            }
    });
    if !notify {
        // The kernel refuses it where nobody waits.
        return flags & !WAIT_KILLABLE_RECV;
    }
    if flags & TSYNC != 0 {
        // Both answer with a number; the kernel takes them together only so.
        flags |= TSYNC_ESRCH;
    }
    flags | NEW_LISTENER
}
