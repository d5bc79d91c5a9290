//! What profiles become, and which are refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod common;

use std::time::Instant;

use common::{Data, run};
use onggi_oci::runtime::LinuxSeccomp;
use onggi_seccomp::{Action, Architecture, Environment, Error, Program, compile, default_profile};

const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARM: u32 = 0x4000_0028;
const EPERM: Action = Action(0x5_0001);

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn program(json: &str) -> Program {
    compile(&profile(json), Architecture::X86_64).unwrap()
}

fn answer(program: &Program, name: &str, args: [u64; 6]) -> Action {
    let number = Architecture::X86_64.number(name).unwrap();
    run(&program.instructions, &Data { number, arch: AUDIT_X86_64, args })
}

fn default_program() -> Program {
    let environment = Environment { architecture: Architecture::X86_64, capabilities: &[], kernel: (6, 1) };
    compile(&default_profile(&environment), Architecture::X86_64).unwrap()
}

#[test]
fn the_default_profile_denies_what_it_says() {
    let program = default_program();
    for (name, args, expected) in [
        ("read", [0; 6], Action::ALLOW),
        ("keyctl", [0; 6], EPERM),
        ("io_uring_setup", [0; 6], EPERM),
        ("mount", [0; 6], EPERM),
        ("unshare", [0; 6], EPERM),
        ("clone3", [0; 6], Action::NO_SUCH_CALL),
        ("clone", [0x11, 0, 0, 0, 0, 0], Action::ALLOW),
        ("clone", [0x1000_0011, 0, 0, 0, 0, 0], EPERM),
        ("socket", [2, 1, 0, 0, 0, 0], Action::ALLOW),
        ("socket", [38, 5, 0, 0, 0, 0], EPERM),
        ("socket", [40, 1, 0, 0, 0, 0], EPERM),
        ("socket", [0xffff_ffff_0000_0026, 5, 0, 0, 0, 0], EPERM),
        ("socket", [0x1_0000_0028, 1, 0, 0, 0, 0], EPERM),
        ("personality", [0xffff_ffff, 0, 0, 0, 0, 0], Action::ALLOW),
        ("personality", [0x0004_0000, 0, 0, 0, 0, 0], EPERM),
        ("ptrace", [0; 6], Action::ALLOW),
    ] {
        assert_eq!(answer(&program, name, args), expected, "{name} {args:x?}");
    }
    let newer = Data { number: 900, arch: AUDIT_X86_64, args: [0; 6] };
    assert_eq!(run(&program.instructions, &newer), Action::NO_SUCH_CALL);
    let socket = Data { number: 359, arch: AUDIT_I386, args: [38, 5, 0, 0, 0, 0] };
    assert_eq!(run(&program.instructions, &socket), EPERM);
}

#[test]
fn arm_has_its_own_numbers_and_its_private_calls() {
    let environment = Environment { architecture: Architecture::Aarch64, capabilities: &[], kernel: (6, 1) };
    let program = compile(&default_profile(&environment), Architecture::Aarch64).unwrap();
    for (arch, number, expected) in [
        (AUDIT_AARCH64, 56, Action::ALLOW),
        (AUDIT_AARCH64, 40, EPERM),
        (AUDIT_AARCH64, 600, Action::NO_SUCH_CALL),
        (AUDIT_ARM, 322, Action::ALLOW),
        (AUDIT_ARM, 0xf_0002, Action::ALLOW),
        (AUDIT_ARM, 0xf_0001 - 5, Action::NO_SUCH_CALL),
        (AUDIT_X86_64, 0, Action::KILL_PROCESS),
    ] {
        let data = Data { number, arch, args: [0; 6] };
        assert_eq!(run(&program.instructions, &data), expected, "{arch:x} {number}");
    }
}

#[test]
fn a_profile_with_one_architecture_kills_the_others() {
    let program = program(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"]}"#);
    let at = |arch, number| run(&program.instructions, &Data { number, arch, args: [0; 6] });
    assert_eq!(at(AUDIT_X86_64, 1), Action::ALLOW);
    assert_eq!(at(AUDIT_X86_64, 0x4000_0001), Action::KILL_PROCESS);
    assert_eq!(at(AUDIT_I386, 1), Action::KILL_PROCESS);
}

#[test]
fn rules_without_conditions_decide_wherever_they_stand() {
    let program = program(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["kill"],"action":"SCMP_ACT_ERRNO","errnoRet":5,"args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill"],"action":"SCMP_ACT_TRAP"},
            {"names":["kill"],"action":"SCMP_ACT_ERRNO","errnoRet":7}]}"#,
    );
    assert_eq!(answer(&program, "kill", [1, 0, 0, 0, 0, 0]), Action(0x3_0000));
    assert_eq!(answer(&program, "kill", [2, 0, 0, 0, 0, 0]), Action(0x3_0000));
}

#[test]
fn calls_through_socketcall_meet_the_rule_for_their_name() {
    let profile = profile(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
            "syscalls":[{"names":["socket","shmget"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let program = compile(&profile, Architecture::X86_64).unwrap();
    for (number, first, expected) in
        [(359, 0, EPERM), (102, 1, EPERM), (102, 2, Action::ALLOW), (117, 23, EPERM), (117, 21, Action::ALLOW)]
    {
        let data = Data { number, arch: AUDIT_I386, args: [first, 0, 0, 0, 0, 0] };
        assert_eq!(run(&program.instructions, &data), expected, "{number} {first}");
    }
}

#[test]
fn flags() {
    let flags = |rest: &str| {
        let listener = r#""listenerPath":"/run/x","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]"#;
        program(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW"{}}}"#, rest.replace("LISTEN", listener))).flags
    };
    assert_eq!(flags(""), 4);
    assert_eq!(flags(r#","flags":[]"#), 0);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_TSYNC"]"#), 3);
    assert_eq!(flags(",LISTEN"), 4 | 8);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_TSYNC"],LISTEN"#), 1 | 8 | 16);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],LISTEN"#), 8 | 32);
    assert_eq!(flags(r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#), 0);
}

#[test]
fn what_is_unknown_is_told_and_passed_over() {
    let program = program(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_S390X"],
            "syscalls":[{"names":["read","teleport"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(program.warnings.len(), 2, "{:?}", program.warnings);
    assert!(program.warnings[0].contains("`teleport`"));
    assert_eq!(answer(&program, "read", [0; 6]), Action::ALLOW);
}

#[test]
fn profiles_that_cannot_mean_anything_are_refused() {
    let refused = |json: &str| compile(&profile(json), Architecture::X86_64).unwrap_err();
    let rule = |rule: &str| refused(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#));
    assert_eq!(refused(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#), Error::Notify { what: "the default action" });
    assert!(matches!(refused(r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":3}"#), Error::Errno { .. }));
    assert!(matches!(rule(r#"{"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":3}"#), Error::Errno { .. }));
    assert!(matches!(
        rule(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":5000}"#),
        Error::ErrnoTooLarge { errno: 5000 }
    ));
    assert!(matches!(rule(r#"{"names":["write"],"action":"SCMP_ACT_NOTIFY"}"#), Error::Notify { .. }));
    assert_eq!(rule(r#"{"names":["read"],"action":"SCMP_ACT_NOTIFY"}"#), Error::NoListener);
    assert_eq!(rule(r#"{"names":[],"action":"SCMP_ACT_ERRNO"}"#), Error::NoNames);
    let index = r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}"#;
    assert!(matches!(rule(index), Error::Argument { index: 6, .. }));
}

#[test]
fn the_longest_program_is_the_kernels_longest() {
    let condition = |value: usize| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#);
    let rules = |count: usize| {
        let rule = |n| format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{}]}}"#, condition(n));
        let rules: Vec<String> = (0..count).map(rule).collect();
        profile(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, rules.join(",")))
    };
    // Five instructions for each: beyond any distance that a comparison can jump.
    let program = compile(&rules(800), Architecture::X86_64).unwrap();
    assert!((4000..=4096).contains(&program.instructions.len()));
    assert_eq!(answer(&program, "read", [799, 0, 0, 0, 0, 0]), Action::ALLOW);
    assert_eq!(answer(&program, "read", [800, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(answer(&program, "write", [0; 6]), Action::NO_SUCH_CALL);
    assert!(matches!(compile(&rules(820), Architecture::X86_64), Err(Error::TooLong { .. })));
}

#[test]
fn every_call_is_decided_in_a_few_steps() {
    let program = default_program();
    let longest = (0..512).map(|number| steps(&program, number)).max().unwrap();
    assert!(longest <= 25, "{longest} instructions for a call without conditions");
}

fn steps(program: &Program, number: u32) -> usize {
    let mut at = 0;
    let mut loaded = AUDIT_X86_64;
    for step in 1.. {
        let one = program.instructions[at];
        at += 1;
        match one.code {
            0x20 if one.k == 0 => loaded = number,
            // A look at the arguments ends what is counted here.
            0x20 if one.k >= 16 => return step,
            0x05 => at += usize::try_from(one.k).unwrap(),
            0x15 => at += usize::from(if loaded == one.k { one.jt } else { one.jf }),
            0x35 => at += usize::from(if loaded >= one.k { one.jt } else { one.jf }),
            0x06 => return step,
            _ => {}
        }
    }
    unreachable!("programs end")
}

/// The budget is a millisecond in a release build; this is a debug build on a busy machine.
#[test]
fn compiling_takes_no_time() {
    let environment = Environment { architecture: Architecture::X86_64, capabilities: &[], kernel: (6, 1) };
    let start = Instant::now();
    for _ in 0..10 {
        compile(&default_profile(&environment), Architecture::X86_64).unwrap();
    }
    let each = start.elapsed() / 10;
    assert!(each.as_millis() < 100, "{each:?}");
}
