//! The profile of a container that asks for none: what is not allowed is refused with `EPERM`.

mod groups;

use onggi_oci::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use crate::Architecture;
use groups::{FAMILIES, GROUPS, Group, PERSONALITIES, When};

/// All flags of clone(2) that make a namespace.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
const ENOSYS: u32 = 38;

/// What the default profile depends on.
#[derive(Debug, Clone, Copy)]
pub struct Environment<'a> {
    /// The machine's architecture; the others that its kernel runs are in the profile too.
    pub architecture: Architecture,
    /// The container's bounding set: a call that serves one capability is allowed with it.
    pub capabilities: &'a [Capability],
    /// The kernel's version, major and minor.
    pub kernel: (u32, u32),
}

/// The default profile: Docker's in what it lets through, and stricter where a look at an argument can be fooled.
///
/// Default deny. Denied beside what one would expect: new namespaces without `CAP_SYS_ADMIN`, sockets of the
/// families `AF_ALG` and `AF_VSOCK`, io_uring, userfaultfd, keyrings. clone3(2), whose flags lie in memory that a filter
/// cannot see, is answered with `ENOSYS`, so that C libraries go back to clone(2), whose flags are seen.
///
/// 32-bit programs can reach socket(2) through socketcall(2), whose arguments a filter cannot see either: what is
/// said about families does not hold for them. Denying socketcall(2) would take networking from them.
pub fn default_profile(environment: &Environment<'_>) -> LinuxSeccomp {
    let mut rules: Vec<LinuxSyscall> =
        GROUPS.iter().filter(|group| group.when.holds(environment)).map(Group::rule).collect();
    rules.extend(PERSONALITIES.iter().map(|&value| allow_if("personality", equal(0, value))));
    // A family is an int to the kernel and 64 bits to a filter, so only the half that the kernel sees is compared:
    // "not equal to 38" would hold for 38 with a bit above it.
    rules.extend(FAMILIES.iter().map(|&(mask, value)| allow_if("socket", masked(0, mask, value))));
    if !environment.capabilities.contains(&Capability::SysAdmin) {
        rules.push(allow_if("clone", masked(0, NEW_NAMESPACES, 0)));
        let refusal = LinuxSyscallBuilder::default().names(vec!["clone3".to_owned()]);
        let refusal = refusal.action(LinuxSeccompAction::ScmpActErrno).errno_ret(ENOSYS);
        rules.push(refusal.build().expect(COMPLETE));
    }
    let architectures: Vec<Arch> = environment.architecture.family().iter().map(|one| one.to_oci()).collect();
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(1u32)
        .architectures(architectures)
        .syscalls(rules)
        .build()
        .expect(COMPLETE)
}

/// Why the builders below cannot fail.
const COMPLETE: &str = "all fields without a default are set";

impl Group {
    fn rule(&self) -> LinuxSyscall {
        let names: Vec<String> = self.names.split_whitespace().map(str::to_owned).collect();
        let rule = LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow);
        rule.build().expect(COMPLETE)
    }
}

impl When {
    fn holds(self, environment: &Environment<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Capable(capability) => environment.capabilities.contains(&capability),
            Self::Kernel(major, minor) => environment.kernel >= (major, minor),
            Self::On(architecture) => environment.architecture.family().contains(&architecture),
        }
    }
}

fn allow_if(name: &str, condition: LinuxSeccompArg) -> LinuxSyscall {
    let rule = LinuxSyscallBuilder::default().names(vec![name.to_owned()]).args(vec![condition]);
    rule.action(LinuxSeccompAction::ScmpActAllow).build().expect(COMPLETE)
}

fn equal(index: usize, value: u64) -> LinuxSeccompArg {
    let condition = LinuxSeccompArgBuilder::default().index(index).value(value);
    condition.op(LinuxSeccompOperator::ScmpCmpEq).build().expect(COMPLETE)
}

fn masked(index: usize, mask: u64, value: u64) -> LinuxSeccompArg {
    let condition = LinuxSeccompArgBuilder::default().index(index).value(mask).value_two(value);
    condition.op(LinuxSeccompOperator::ScmpCmpMaskedEq).build().expect(COMPLETE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{compile, syscalls};

    fn environment(capabilities: &[Capability]) -> Environment<'_> {
        Environment { architecture: Architecture::X86_64, capabilities, kernel: (6, 1) }
    }

    #[test]
    fn every_name_is_one_and_stands_in_one_place() {
        let mut seen = HashSet::new();
        for group in GROUPS {
            for name in group.names.split_whitespace() {
                assert!(syscalls::Known::find(name).is_some(), "{name}");
                // A call may serve two capabilities, but what is allowed always must not stand elsewhere.
                let always = group.when == When::Always;
                assert!(seen.insert((name, always)) || !always, "{name} twice");
                assert!(always || !seen.contains(&(name, true)), "{name} is allowed always");
            }
        }
    }

    #[test]
    fn it_compiles_everywhere_without_a_warning() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            let environment = Environment { architecture, ..environment(&[Capability::SysAdmin]) };
            let program = compile(&default_profile(&environment), architecture).unwrap();
            assert_eq!(program.warnings, Vec::<String>::new());
            assert!(program.instructions.len() < 1500, "{}", program.instructions.len());
        }
    }

    #[test]
    fn the_families_are_all_but_two() {
        let allowed = |family: u64| FAMILIES.iter().any(|&(mask, value)| family & mask == value);
        for family in 0..64 {
            let expected = family < 46 && family != 38 && family != 40;
            assert_eq!(allowed(family), expected, "{family}");
            assert_eq!(allowed(family | 1 << 40), expected, "{family} and a bit that the kernel cuts off");
        }
    }

    #[test]
    fn old_kernels_lose_ptrace() {
        let names = |kernel| {
            let profile = default_profile(&Environment { kernel, ..environment(&[]) });
            let rules = profile.syscalls().as_ref().unwrap().iter();
            rules.flat_map(|rule| rule.names().clone()).any(|name| name == "ptrace")
        };
        assert!(names((4, 8)) && names((6, 1)) && !names((4, 7)));
    }
}
