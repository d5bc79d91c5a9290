//! Our programs beside libseccomp's: the same answer for every call of every architecture and for many arguments.
//!
//! Needs a C compiler and libseccomp's header (`libseccomp-dev`); says so and passes where they are not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]
#![expect(clippy::disallowed_methods, reason = "the judge is a program")]

mod common;

use std::collections::{BTreeSet, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::{Data, run};
use onggi_oci::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator, LinuxSyscallBuilder,
};
use onggi_seccomp::{Action, Architecture, Environment, Instruction, compile, default_profile, syscalls};

const NATIVE: Architecture = Architecture::X86_64;
const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_ARM: u32 = 0x4000_0028;
const X32_BIT: u32 = 0x4000_0000;

/// The judge, built once; `None` where it cannot be.
fn judge() -> Option<&'static Path> {
    static JUDGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seccomp-oracle");
        let status =
            Command::new("cc").arg("-o").arg(&program).arg(source).arg("-lseccomp").stderr(Stdio::null()).status();
        (std::env::consts::ARCH == "x86_64" && status.is_ok_and(|status| status.success())).then_some(program)
    };
    let judge = JUDGE.get_or_init(build).as_deref();
    if judge.is_none() {
        onggi_testkit::skip("seccomp oracle", "needs x86_64, a C compiler and libseccomp-dev");
    }
    judge
}

/// What the judge makes of `text`: its program and its complaints.
fn ask(judge: &Path, text: &str) -> (Vec<Instruction>, String) {
    let mut child =
        Command::new(judge).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let program = output.stdout.chunks_exact(8).map(|bytes| Instruction {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    });
    (program.collect(), String::from_utf8(output.stderr).unwrap())
}

/// The judge's program for `profile`, called as runc calls it.
fn theirs(judge: &Path, profile: &LinuxSeccomp) -> Vec<Instruction> {
    let action = |action: LinuxSeccompAction, errno: Option<u32>| -> u32 {
        use LinuxSeccompAction as A;
        match action {
            A::ScmpActKill | A::ScmpActKillThread => 0,
            A::ScmpActKillProcess => 0x8000_0000,
            A::ScmpActTrap => 0x0003_0000,
            A::ScmpActErrno => 0x0005_0000 | errno.unwrap_or(1),
            A::ScmpActNotify => 0x7fc0_0000,
            A::ScmpActTrace => 0x7ff0_0000 | errno.unwrap_or(1),
            A::ScmpActLog => 0x7ffc_0000,
            A::ScmpActAllow => 0x7fff_0000,
        }
    };
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut text = format!("default {default}\n");
    for arch in profile.architectures().iter().flatten() {
        text.push_str(&format!("arch {}\n", *arch as u32));
    }
    for rule in profile.syscalls().iter().flatten() {
        let what = action(rule.action(), rule.errno_ret());
        if what == default {
            continue;
        }
        let conditions = rule.args().as_deref().unwrap_or_default();
        let shown = |one: &LinuxSeccompArg| {
            format!(" {} {} {} {}", one.index(), one.op() as u32, one.value(), one.value_two().unwrap_or(0))
        };
        let indices: HashSet<usize> = conditions.iter().map(LinuxSeccompArg::index).collect();
        for name in rule.names() {
            if indices.len() == conditions.len() {
                text.push_str(&format!("rule {what} {name}{}\n", conditions.iter().map(shown).collect::<String>()));
            } else {
                conditions.iter().for_each(|one| text.push_str(&format!("rule {what} {name}{}\n", shown(one))));
            }
        }
    }
    let (program, complaints) = ask(judge, &text);
    assert_eq!(complaints, "", "{text}");
    program
}

/// The profile without the names that the judge is too old for.
fn known(judge: &Path, profile: &LinuxSeccomp) -> LinuxSeccomp {
    let names: BTreeSet<&String> = profile.syscalls().iter().flatten().flat_map(|rule| rule.names()).collect();
    let text: String = names.iter().map(|name| format!("name {name}\n")).collect();
    let unknown = ask(judge, &text).1;
    let unknown: HashSet<&str> = unknown.lines().collect();
    let mut known = profile.clone();
    let rules = profile.syscalls().clone().unwrap_or_default().into_iter().filter_map(|mut rule| {
        let names: Vec<String> = rule.names().iter().filter(|name| !unknown.contains(name.as_str())).cloned().collect();
        let any = !names.is_empty();
        rule.set_names(names);
        any.then_some(rule)
    });
    known.set_syscalls(Some(rules.collect()));
    known
}

/// Arguments that lie around what the profile's rules compare with.
fn samples(profile: &LinuxSeccomp, name: &str) -> Vec<[u64; 6]> {
    let rules = profile.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(|one| one == name));
    let mut values: BTreeSet<u64> = [0, 1, u64::from(u32::MAX), u64::MAX].into();
    let mut arguments = BTreeSet::new();
    for condition in rules.flat_map(|rule| rule.args().iter().flatten()) {
        arguments.insert(condition.index());
        for value in [condition.value(), condition.value_two().unwrap_or(0), condition.value() & 0xffff_ffff] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), value ^ 1 << 32, value << 32, !value]);
        }
    }
    let values: Vec<u64> = values.into_iter().collect();
    let mut samples = vec![[0; 6], [u64::MAX; 6]];
    for (turn, &argument) in arguments.iter().enumerate() {
        let old = samples.clone();
        for sample in old.iter().take(30) {
            for value in values.iter().skip(turn % 2) {
                let mut sample = *sample;
                sample[argument] = *value;
                samples.push(sample);
            }
        }
    }
    samples
}

fn compare(profile: &LinuxSeccomp) -> usize {
    let Some(judge) = judge() else { return 0 };
    let profile = known(judge, profile);
    let (ours, theirs) = (compile(&profile, NATIVE).unwrap(), theirs(judge, &profile));
    let listed = profile.architectures().clone().unwrap_or_default();
    let mut compared = 0;
    let mut check = |data: Data, last: Option<u32>| {
        let mut expected = run(&theirs, &data);
        if last.is_some_and(|last| data.number > last) {
            expected = Action::NO_SUCH_CALL;
        }
        let found = run(&ours.instructions, &data);
        assert_eq!(found, expected, "{data:x?}\n{}", rules_for(&profile, data.number));
        compared += 1;
    };
    for (architecture, audit, bit) in
        [(NATIVE, AUDIT_X86_64, 0), (Architecture::X86, AUDIT_I386, 0), (Architecture::X32, AUDIT_X86_64, X32_BIT)]
    {
        if architecture != NATIVE && !listed.contains(&architecture.to_oci()) {
            continue;
        }
        let last = last_named(&profile, architecture);
        for (name, number) in syscalls::all(architecture) {
            for args in samples(&profile, name) {
                check(Data { number, arch: audit, args }, last);
            }
        }
        for number in (0..700).map(|number| number | bit).chain([0x3fff_ffff]) {
            if number & X32_BIT == bit {
                check(Data { number, arch: audit, args: [0; 6] }, last);
            }
        }
    }
    compared
}

/// The rules that a call meets, for a failure's message.
fn rules_for(profile: &LinuxSeccomp, number: u32) -> String {
    let of = |name: &String| {
        [NATIVE, Architecture::X86, Architecture::X32].iter().any(|one| one.number(name) == Some(number))
    };
    let rules = profile.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(of));
    rules.map(|rule| format!("{:?} {:?}\n", rule.action(), rule.args())).collect()
}

/// The rule by which runc answers `ENOSYS`, said once more.
fn last_named(profile: &LinuxSeccomp, architecture: Architecture) -> Option<u32> {
    use LinuxSeccompAction as A;
    let open = [A::ScmpActAllow, A::ScmpActLog, A::ScmpActTrace].contains(&profile.default_action());
    if open || profile.default_errno_ret() == Some(38) {
        return None;
    }
    let names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
    names.filter_map(|name| architecture.number(name)).max()
}

#[test]
fn the_default_profile() {
    for capabilities in [&[][..], &[Capability::SysAdmin], &[Capability::SysPtrace, Capability::SysTime]] {
        let environment = Environment { architecture: NATIVE, capabilities, kernel: (6, 1) };
        compare(&default_profile(&environment));
    }
}

#[test]
fn profiles_of_other_engines_on_this_machine() {
    let Ok(text) = std::fs::read_to_string("/usr/share/containers/seccomp.json") else { return };
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["architectures"] = serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    for rule in document["syscalls"].as_array_mut().unwrap() {
        // What depends on capabilities is taken as for one that has none.
        if rule["includes"]["caps"].is_array() {
            rule["names"] = serde_json::json!(["read"]);
            rule["action"] = serde_json::json!("SCMP_ACT_ALLOW");
            rule.as_object_mut().unwrap().remove("args");
            rule.as_object_mut().unwrap().remove("errnoRet");
        }
    }
    compare(&serde_json::from_value(document).unwrap());
}

fn rule(names: &[&str], action: LinuxSeccompAction, args: Vec<LinuxSeccompArg>) -> onggi_oci::runtime::LinuxSyscall {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    LinuxSyscallBuilder::default().names(names).action(action).args(args).build().unwrap()
}

fn arg(index: usize, op: LinuxSeccompOperator, value: u64, two: u64) -> LinuxSeccompArg {
    LinuxSeccompArgBuilder::default().index(index).op(op).value(value).value_two(two).build().unwrap()
}

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

#[test]
fn every_comparison_with_every_kind_of_number() {
    for op in OPERATORS {
        for value in [0, 1, 38, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, u64::MAX, 0xffff_ffff_0000_0000] {
            let two = value & 0xf0f0_f0f0_f0f0_f0f0;
            let profile = LinuxSeccompBuilder::default()
                .default_action(LinuxSeccompAction::ScmpActErrno)
                .architectures(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32])
                .syscalls(vec![rule(&["read"], LinuxSeccompAction::ScmpActAllow, vec![arg(2, op, value, two)])])
                .build()
                .unwrap();
            compare(&profile);
        }
    }
}

/// A small generator with a seed, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A profile of random rules, at most `most` for each call.
fn random_profile(seed: u64, most: usize) -> LinuxSeccomp {
    use LinuxSeccompAction as A;
    let mut random = Random(seed);
    let names = ["read", "write", "openat", "clone", "personality", "ioctl", "getpid", "futex", "mmap", "kill"];
    let numbers = [0, 1, 2, 0x20_0000, 0x7e02_0000, 0xffff_ffff, 0x1_0000_0000, 0x5_0000_0001, u64::MAX];
    let (default, action) = random.pick(&[(A::ScmpActErrno, A::ScmpActAllow), (A::ScmpActAllow, A::ScmpActErrno)]);
    let mut rules = Vec::new();
    for name in names {
        for _ in 0..random.below(most + 1) {
            let conditions = (0..random.below(4)).map(|_| {
                let (index, op, value) = (random.below(6), random.pick(&OPERATORS), random.pick(&numbers));
                arg(index, op, value, value & random.pick(&numbers))
            });
            let mut conditions: Vec<LinuxSeccompArg> = conditions.collect();
            if most == 1 {
                // One way to fit is what libseccomp 2.5 can be the judge of; of "3 <= 5 or 3 <= 7" it makes "3 <= 5".
                conditions.sort_by_key(LinuxSeccompArg::index);
                conditions.dedup_by_key(|one| one.index());
            }
            rules.push(rule(&[name], action, conditions));
        }
    }
    let architectures = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32];
    LinuxSeccompBuilder::default()
        .syscalls(rules)
        .default_action(default)
        .architectures(architectures[..1 + random.below(3)].to_vec())
        .build()
        .unwrap()
}

#[test]
fn random_rules() {
    for seed in 0..60 {
        compare(&random_profile(seed, 1));
    }
}

/// What the rules for `name` say, read plainly.
fn plainly(profile: &LinuxSeccomp, name: &str, short: bool, args: &[u64; 6]) -> bool {
    use LinuxSeccompOperator as O;
    let cut = |value: u64| if short { value & 0xffff_ffff } else { value };
    let holds = |one: &LinuxSeccompArg| {
        let (is, value, two) = (cut(args[one.index()]), cut(one.value()), cut(one.value_two().unwrap_or(0)));
        match one.op() {
            O::ScmpCmpNe => is != value,
            O::ScmpCmpLt => is < value,
            O::ScmpCmpLe => is <= value,
            O::ScmpCmpEq => is == value,
            O::ScmpCmpGe => is >= value,
            O::ScmpCmpGt => is > value,
            O::ScmpCmpMaskedEq => is & value == two,
        }
    };
    let mut rules = profile.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(|one| one == name));
    rules.any(|rule| {
        let conditions = rule.args().as_deref().unwrap_or_default();
        let indices: HashSet<usize> = conditions.iter().map(LinuxSeccompArg::index).collect();
        if indices.len() == conditions.len() { conditions.iter().all(holds) } else { conditions.iter().any(holds) }
    })
}

#[test]
fn random_rules_that_meet_each_other() {
    for seed in 0..60 {
        let profile = random_profile(seed, 4);
        let program = compile(&profile, NATIVE).unwrap();
        let fits = profile.default_action() != LinuxSeccompAction::ScmpActAllow;
        for (architecture, audit, short) in [
            (NATIVE, AUDIT_X86_64, false),
            (Architecture::X86, AUDIT_I386, true),
            (Architecture::X32, AUDIT_X86_64, true),
        ] {
            let listed = profile.architectures().as_ref().unwrap().contains(&architecture.to_oci());
            for (name, number) in syscalls::all(architecture).filter(|_| listed) {
                if last_named(&profile, architecture).is_some_and(|last| number > last) {
                    continue;
                }
                for args in samples(&profile, name) {
                    let allowed = run(&program.instructions, &Data { number, arch: audit, args }) == Action::ALLOW;
                    let expected = plainly(&profile, name, short, &args) == fits;
                    assert_eq!(allowed, expected, "{name} {args:x?}\n{}", rules_for(&profile, number));
                }
            }
        }
    }
}

#[test]
fn a_foreign_architecture_is_killed() {
    let profile = random_profile(7, 1);
    let program = compile(&profile, NATIVE).unwrap();
    let data = Data { number: 1, arch: AUDIT_ARM, args: [0; 6] };
    assert_eq!(run(&program.instructions, &data), Action::KILL_PROCESS);
}
