//! Device rules as an eBPF program: what cgroup v2 has in the place of `devices.allow`.
//!
//! The kernel runs it with a `struct bpf_cgroup_dev_ctx` at each open and mknod. The program walks the rules in order
//! and collects in one register what they allow for this device, so that the last word about each of read, write and
//! mknod counts; then it says whether all that is asked for has been allowed.

use onggi_sys::bpf::Instruction;

use super::{Kind, Rule};

/// Offsets in `struct bpf_cgroup_dev_ctx`; the first word is `access << 16 | type`.
const ACCESS_AND_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;
/// `BPF_DEVCG_DEV_*`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const DEVICE_TYPE: u8 = 2;
const ACCESS: u8 = 3;
const DEVICE_MAJOR: u8 = 4;
const DEVICE_MINOR: u8 = 5;
const ALLOWED: u8 = 6;

const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const SET: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const COPY: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const AND_REGISTER: u8 = 0x5f; // BPF_ALU64 | BPF_AND | BPF_X
const OR: u8 = 0x47; // BPF_ALU64 | BPF_OR | BPF_K
const XOR: u8 = 0xa7; // BPF_ALU64 | BPF_XOR | BPF_K
const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const JUMP_IF_OTHER: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K: device numbers have all 32 bits, and K is signed
const JUMP_IF_ZERO: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN: u8 = 0x95; // BPF_JMP | BPF_EXIT

/// The program for `rules`, which start from "nothing is allowed".
pub(super) fn assemble(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(DEVICE_TYPE, ACCESS_AND_TYPE),
        with(COPY, ACCESS, DEVICE_TYPE),
        value(AND, DEVICE_TYPE, 0xffff),
        value(SHIFT_RIGHT, ACCESS, 16),
        load(DEVICE_MAJOR, MAJOR),
        load(DEVICE_MINOR, MINOR),
        value(SET, ALLOWED, 0),
    ];
    rules.iter().for_each(|rule| program.extend(word_of(rule)));
    program.extend([
        // Refused is what is asked for and not allowed.
        value(XOR, ALLOWED, 7),
        with(AND_REGISTER, ALLOWED, ACCESS),
        value(SET, RESULT, 1),
        Instruction { code: JUMP_IF_ZERO, registers: ALLOWED, offset: 1, value: 0 },
        value(SET, RESULT, 0),
        Instruction { code: RETURN, registers: 0, offset: 0, value: 0 },
    ]);
    program
}

/// Jumps over the last instruction if the device is another one, else lets the rule have its word.
fn word_of(rule: &Rule) -> Vec<Instruction> {
    let kind = match rule.kind {
        Kind::All => None,
        Kind::Block => Some(BLOCK),
        Kind::Char => Some(CHAR),
    };
    let tests = [
        (DEVICE_TYPE, kind),
        (DEVICE_MAJOR, rule.major.map(u32::cast_signed)),
        (DEVICE_MINOR, rule.minor.map(u32::cast_signed)),
    ];
    let tests: Vec<(u8, i32)> = tests.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    let mut word: Vec<Instruction> = tests
        .iter()
        .zip((1..=tests.len()).rev())
        .map(|(&(register, value), left)| {
            let offset = i16::try_from(left).expect("at most three tests");
            Instruction { code: JUMP_IF_OTHER, registers: register, offset, value }
        })
        .collect();
    word.push(if rule.allow { value(OR, ALLOWED, rule.access.0) } else { value(AND, ALLOWED, !rule.access.0) });
    word
}

fn load(into: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: into | CONTEXT << 4, offset, value: 0 }
}

fn value(code: u8, register: u8, value: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, value }
}

fn with(code: u8, into: u8, from: u8) -> Instruction {
    Instruction { code, registers: into | from << 4, offset: 0, value: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::{ALWAYS, Access};
    use super::*;

    /// Runs a program as the kernel would, on the instructions that [`assemble`] uses.
    fn run(program: &[Instruction], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let context = [i64::from(access << 16 | kind), i64::from(major), i64::from(minor)];
        let mut registers = [0i64; 11];
        let mut at = 0usize;
        loop {
            let Instruction { code, registers: pair, offset, value } = program[at];
            let (into, from, value) = (usize::from(pair & 15), usize::from(pair >> 4), i64::from(value));
            at += 1;
            let mut taken = false;
            match code {
                LOAD_WORD => registers[into] = context[usize::try_from(offset).unwrap() / 4],
                SET => registers[into] = value,
                COPY => registers[into] = registers[from],
                AND => registers[into] &= value,
                AND_REGISTER => registers[into] &= registers[from],
                OR => registers[into] |= value,
                XOR => registers[into] ^= value,
                SHIFT_RIGHT => registers[into] >>= value,
                JUMP_IF_OTHER => taken = registers[into] & 0xffff_ffff != value & 0xffff_ffff,
                JUMP_IF_ZERO => taken = registers[into] == value,
                RETURN => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
            if taken {
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    /// What the rules mean, said plainly.
    fn expected(rules: &[Rule], kind: i32, access: i32, major: u32, minor: u32) -> bool {
        let mut allowed = 0;
        for rule in rules {
            let meets = |wanted: Option<u32>, is| wanted.is_none_or(|wanted| wanted == is);
            let kinds = match rule.kind {
                Kind::All => true,
                Kind::Block => kind == BLOCK,
                Kind::Char => kind == CHAR,
            };
            if kinds && meets(rule.major, major) && meets(rule.minor, minor) {
                if rule.allow { allowed |= rule.access.0 } else { allowed &= !rule.access.0 }
            }
        }
        access & !allowed == 0
    }

    #[test]
    fn the_program_means_what_the_rules_say() {
        let deny = |kind, major, minor, access| Rule { allow: false, kind, major, minor, access: Access(access) };
        let allow = |kind, major, minor, access| Rule { allow: true, kind, major, minor, access: Access(access) };
        let sets: [Vec<Rule>; 5] = [
            vec![],
            ALWAYS.to_vec(),
            vec![allow(Kind::All, None, None, 7), deny(Kind::Block, Some(8), None, 4)],
            vec![allow(Kind::Char, Some(1), Some(3), 2), allow(Kind::Char, Some(1), Some(3), 4)],
            vec![
                allow(Kind::Char, None, Some(u32::MAX), 7),
                deny(Kind::All, None, None, 7),
                allow(Kind::Block, Some(8), Some(1), 2),
            ],
        ];
        for rules in sets {
            let program = assemble(&rules);
            for (kind, access) in [BLOCK, CHAR].into_iter().flat_map(|kind| (1..8).map(move |access| (kind, access))) {
                for (major, minor) in [(1, 3), (8, 0), (8, 1), (136, 9), (10, 229), (1, u32::MAX)] {
                    assert_eq!(
                        run(&program, kind, access, major, minor),
                        expected(&rules, kind, access, major, minor),
                        "{rules:?}: type {kind} access {access} device {major}:{minor}"
                    );
                }
            }
        }
    }
}
