//! `linux.resources.devices`: which device nodes may be opened and made.
//!
//! Everything is denied first, then the rules are taken in order, then [`ALWAYS`] comes on top.

mod filter;

use onggi_oci::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use onggi_sys::file::{self, CWD, Mode, OFlags};
use onggi_sys::{self as sys, Errno, bpf};

use super::meaningless;
use crate::group::Part;
use crate::{Error, Result};

/// What every container has, whatever its rules say: the nodes that the specification promises ("default devices"),
/// its terminals, and making nodes of any kind, which by itself opens nothing.
const ALWAYS: [Rule; 11] = [
    Rule::allow(Kind::Char, None, None, Access::MKNOD),
    Rule::allow(Kind::Block, None, None, Access::MKNOD),
    Rule::allow(Kind::Char, Some(1), Some(3), Access::ALL), // null
    Rule::allow(Kind::Char, Some(1), Some(5), Access::ALL), // zero
    Rule::allow(Kind::Char, Some(1), Some(7), Access::ALL), // full
    Rule::allow(Kind::Char, Some(1), Some(8), Access::ALL), // random
    Rule::allow(Kind::Char, Some(1), Some(9), Access::ALL), // urandom
    Rule::allow(Kind::Char, Some(5), Some(0), Access::ALL), // tty
    Rule::allow(Kind::Char, Some(5), Some(1), Access::ALL), // console
    Rule::allow(Kind::Char, Some(5), Some(2), Access::ALL), // ptmx
    Rule::allow(Kind::Char, Some(136), None, Access::ALL),  // pts/*
];

/// Whether rules are asked for and can mean anything: in a user namespace nobody can make device nodes, nobody may
/// steer this controller, and so the nodes that are there are those that were given.
pub(crate) fn asks(rules: &[LinuxDeviceCgroup]) -> bool {
    !rules.is_empty() && !in_user_namespace()
}

/// Puts the rules on.
pub(crate) fn set(part: &Part, rules: &[LinuxDeviceCgroup]) -> Result<()> {
    let mut parsed = rules.iter().map(Rule::parse).collect::<Result<Vec<_>>>()?;
    parsed.extend(ALWAYS);
    if part.v2 { attach(part, &parsed) } else { write(part, &parsed) }
}

fn write(part: &Part, rules: &[Rule]) -> Result<()> {
    check_v1(rules)?;
    let group = &part.directory;
    group.write("devices.deny", "a")?;
    let open = |name: &str| group.open_file(name).map_err(|source| group.not_written(name, "", source));
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules {
        let (name, fd) = if rule.allow { ("devices.allow", &allow) } else { ("devices.deny", &deny) };
        let line = rule.line();
        file::write_all(fd, line.as_bytes()).map_err(|source| group.not_written(name, &line, source))?;
    }
    Ok(())
}

/// v1 keeps a default and a list of exceptions to it, and takes one off the list only where it is met exactly: a rule
/// that cuts into one half-way would be accepted and do nothing.
fn check_v1(rules: &[Rule]) -> Result<()> {
    let mut default = false;
    let mut exceptions: Vec<&Rule> = Vec::new();
    for rule in rules {
        if rule.kind == Kind::All {
            default = rule.allow;
            exceptions.clear();
        } else if rule.allow != default {
            exceptions.push(rule);
        } else if exceptions.iter().any(|exception| rule.overlaps(exception) && !rule.same_devices(exception)) {
            return Err(meaningless("devices", &rule.line(), "cuts into an earlier rule, which cgroup v1 cannot do"));
        }
    }
    Ok(())
}

fn attach(part: &Part, rules: &[Rule]) -> Result<()> {
    let attach = || {
        let program = bpf::load_device_filter(&filter::assemble(rules))?;
        bpf::replace_device_filter(&part.directory.fd, &program)
    };
    attach().map_err(|source: sys::Error| Error::DeviceFilter { path: part.directory.path.clone(), source })
}

/// The first user namespace maps every id to itself.
fn in_user_namespace() -> bool {
    let map =
        file::open(CWD, "/proc/self/uid_map", OFlags::RDONLY, Mode::empty()).and_then(|fd| file::read_all(fd, 4096));
    match map {
        Ok(map) => !String::from_utf8_lossy(&map).split_whitespace().eq(["0", "0", "4294967295"]),
        Err(error) => !error.is(Errno::NOENT),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    All,
    Block,
    Char,
}

/// Read, write, mknod as the kernel's device filter numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access(i32);

impl Access {
    const MKNOD: Self = Self(1);
    const ALL: Self = Self(7);

    fn parse(text: &str) -> Option<Self> {
        text.chars()
            .try_fold(0, |bits, letter| {
                Some(
                    bits | match letter {
                        'm' => 1,
                        'r' => 2,
                        'w' => 4,
                        _ => return None,
                    },
                )
            })
            .filter(|&bits| bits != 0)
            .map(Self)
    }

    fn letters(self) -> String {
        [(2, 'r'), (4, 'w'), (1, 'm')]
            .into_iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .map(|(_, letter)| letter)
            .collect()
    }
}

/// One rule; a number of `None` is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: Access,
}

impl Rule {
    const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: Access) -> Self {
        Self { allow: true, kind, major, minor, access }
    }

    fn parse(rule: &LinuxDeviceCgroup) -> Result<Self> {
        let kind = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => Kind::All,
            LinuxDeviceType::B => Kind::Block,
            LinuxDeviceType::C | LinuxDeviceType::U => Kind::Char,
            LinuxDeviceType::P => return Err(meaningless("devices.type", &"p", "is no device")),
        };
        let access = rule.access().as_deref().unwrap_or("rwm");
        let access = Access::parse(access)
            .ok_or_else(|| meaningless("devices.access", &access.escape_debug(), "is not made of r, w and m"))?;
        Ok(Self {
            allow: rule.allow(),
            kind,
            major: number("devices.major", rule.major())?,
            minor: number("devices.minor", rule.minor())?,
            // A rule for all devices is for all that can be done to them; v1 knows no other.
            access: if kind == Kind::All { Access::ALL } else { access },
        })
    }

    /// As v1 writes it.
    fn line(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            Kind::All => return "a".to_owned(),
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access.letters())
    }

    fn same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind
            && meets(self.major, other.major)
            && meets(self.minor, other.minor)
            && self.access.0 & other.access.0 != 0
    }
}

fn number(field: &str, number: Option<i64>) -> Result<Option<u32>> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number).map(Some).map_err(|_| meaningless(field, &number, "is no device number")),
    }
}

#[cfg(test)]
mod tests {
    use onggi_oci::runtime::LinuxDeviceCgroupBuilder;

    use super::*;

    fn rule(allow: bool, typ: &str, major: i64, minor: i64, access: &str) -> LinuxDeviceCgroup {
        let typ = match typ {
            "a" => LinuxDeviceType::A,
            "b" => LinuxDeviceType::B,
            "c" => LinuxDeviceType::C,
            _ => LinuxDeviceType::P,
        };
        let builder = LinuxDeviceCgroupBuilder::default().allow(allow).typ(typ).major(major).minor(minor);
        builder.access(access).build().unwrap()
    }

    #[test]
    fn rules_as_v1_writes_them() {
        for (input, line) in [
            (rule(true, "c", 10, 229, "rw"), "c 10:229 rw"),
            (rule(false, "b", -1, 1, "m"), "b *:1 m"),
            (rule(false, "a", -1, -1, "rwm"), "a"),
        ] {
            assert_eq!(Rule::parse(&input).unwrap().line(), line);
        }
        for wrong in [rule(true, "p", 1, 1, "r"), rule(true, "c", -2, 1, "r"), rule(true, "c", 1, 1, "x\n")] {
            Rule::parse(&wrong).unwrap_err();
        }
    }

    #[test]
    fn v1_refuses_what_it_would_take_and_not_do() {
        let check = |rules: &[LinuxDeviceCgroup]| {
            check_v1(&rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect::<Vec<_>>())
        };
        check(&[rule(true, "b", 8, -1, "rw"), rule(false, "b", 8, 1, "w")]).unwrap_err();
        check(&[rule(true, "b", 8, 1, "rw"), rule(false, "b", 8, 1, "w")]).unwrap();
        check(&[rule(true, "b", 8, 1, "rw"), rule(false, "c", 8, -1, "w")]).unwrap();
        check(&[rule(true, "b", 8, -1, "r"), rule(false, "a", -1, -1, "rwm"), rule(false, "b", 8, 1, "r")]).unwrap();
    }
}
