//! Classic BPF: the instructions that a filter is made of, and the tree that finds a call by its number.

use crate::policy::{Call, Condition, Policy, Test};
use crate::{Action, Error, Result};

/// One instruction, `struct sock_filter` of linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to pass over if a comparison holds.
    pub jt: u8,
    /// How many if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_NOT_LESS: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// A block of instructions; what it does not decide falls out of its end.
type Block = Vec<Instruction>;

/// Puts the blocks of all architectures together: `sections` by audit number, each deciding every call.
pub(crate) fn link(sections: Vec<(u32, Block)>) -> Result<Vec<Instruction>> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for (audit, section) in sections {
        program.extend(skip_unless(JUMP_EQUAL, audit, section.len()));
        program.extend(section);
    }
    // A calling convention that the profile does not know has other calls behind the same numbers.
    program.push(answer(Action::KILL_PROCESS));
    if program.len() > LONGEST {
        return Err(Error::TooLong { instructions: program.len() });
    }
    Ok(program)
}

/// What is done for a run of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// This, whatever the arguments are.
    Answer(Action),
    /// It depends on the arguments; and whether only their low halves count.
    Judge(&'a Call, bool),
}

/// The section of an architecture: loads the number and decides by its run.
pub(crate) fn section(runs: &[(u32, Outcome<'_>)]) -> Block {
    // Written from its end, where the distance of every jump is known when its turn comes.
    let mut backwards = Vec::with_capacity(4 * runs.len());
    tree(runs, &mut backwards);
    backwards.push(plain(LOAD, NUMBER));
    backwards.reverse();
    backwards
}

/// The numbers from `from` on as runs with the same outcome, each by its first number.
pub(crate) fn runs(policy: &Policy, from: u32) -> Vec<(u32, Outcome<'_>)> {
    let short = policy.architecture.has_short_arguments();
    let named = |call| match call {
        &Call { ref alternatives, otherwise } if alternatives.is_empty() => Outcome::Answer(otherwise),
        call => Outcome::Judge(call, short),
    };
    let unnamed = |number: u32| {
        let known = policy.last_known.is_none_or(|last| number <= last);
        Outcome::Answer(if known { policy.default } else { Action::NO_SUCH_CALL })
    };
    // Behind each call that is named the next run begins; where the next one is named too it is at the same place and
    // comes after.
    let numbers = policy.calls.iter().map(|(number, _)| *number).chain(policy.last_known);
    let beginnings = numbers.filter_map(|number| number.checked_add(1));
    let mut runs: Vec<(u32, Outcome<'_>)> = vec![(from, unnamed(from))];
    runs.extend(beginnings.map(|start| (start, unnamed(start))));
    runs.extend(policy.calls.iter().map(|(number, call)| (*number, named(call))));
    runs.sort_by_key(|(start, _)| *start);
    runs.dedup_by(|next, before| {
        next.0 == before.0 && {
            before.1 = next.1;
            true
        }
    });
    runs.dedup_by(|next, before| next.1 == before.1);
    runs
}

/// A balanced search for the run that holds the number.
fn tree(runs: &[(u32, Outcome<'_>)], backwards: &mut Block) {
    match runs {
        [] => {}
        [(_, Outcome::Answer(action))] => backwards.push(answer(*action)),
        [(_, Outcome::Judge(call, short))] => backwards.extend(judge(call, *short).into_iter().rev()),
        _ => {
            let (left, right) = runs.split_at(runs.len() / 2);
            tree(right, backwards);
            let before = backwards.len();
            tree(left, backwards);
            let skipped = backwards.len() - before;
            backwards.extend(skip_if(JUMP_NOT_LESS, right[0].0, skipped).into_iter().rev());
        }
    }
}

/// Decides by the arguments.
fn judge(call: &Call, short: bool) -> Block {
    let mut block = Vec::new();
    for alternative in &call.alternatives {
        let mut inner = vec![answer(alternative.action)];
        for condition in alternative.conditions.iter().rev() {
            inner = when(*condition, short, inner);
        }
        block.extend(inner);
    }
    block.push(answer(call.otherwise));
    block
}

/// `inner` if the condition holds; else falls out of the end.
fn when(condition: Condition, short: bool, inner: Block) -> Block {
    let at = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low, high) = (Half { at, after: inner.len() }, at + 4);
    let mut block = if short { low.only(condition.test) } else { low.with_high(high, condition.test) };
    block.extend(inner);
    block
}

/// The code for a comparison of which the guarded block, `after` instructions long, comes next.
struct Half {
    at: u32,
    after: usize,
}

/// Where a jump goes, seen from the comparison's code.
#[derive(Clone, Copy)]
enum To {
    Next,
    Holds,
    Fails,
}

impl Half {
    /// Only the low half counts.
    fn only(&self, test: Test) -> Block {
        use To::{Fails, Holds};
        let low = |value: u64| halves(value).1;
        let compare = |code, value, then, otherwise| self.place(&[load(self.at), jump(code, value, then, otherwise)]);
        match test {
            Test::Equal(value) => compare(JUMP_EQUAL, low(value), Holds, Fails),
            Test::NotEqual(value) => compare(JUMP_EQUAL, low(value), Fails, Holds),
            Test::Greater(value) => compare(JUMP_GREATER, low(value), Holds, Fails),
            Test::LessOrEqual(value) => compare(JUMP_GREATER, low(value), Fails, Holds),
            Test::GreaterOrEqual(value) => compare(JUMP_NOT_LESS, low(value), Holds, Fails),
            Test::Less(value) => compare(JUMP_NOT_LESS, low(value), Fails, Holds),
            Test::MaskedEqual { mask, value } => {
                self.place(&[load(self.at), and(low(mask)), jump(JUMP_EQUAL, low(value), Holds, Fails)])
            }
        }
    }

    /// The high half is at `high` and decides first.
    fn with_high(&self, high: u32, test: Test) -> Block {
        use To::{Fails, Holds, Next};
        let ordered = |value: u64, code: u16, greater: To, rest: To| {
            let (top, bottom) = halves(value);
            self.place(&[
                load(high),
                jump(JUMP_GREATER, top, greater, Next),
                jump(JUMP_EQUAL, top, Next, rest),
                load(self.at),
                jump(code, bottom, greater, rest),
            ])
        };
        match test {
            Test::Greater(value) => ordered(value, JUMP_GREATER, Holds, Fails),
            Test::GreaterOrEqual(value) => ordered(value, JUMP_NOT_LESS, Holds, Fails),
            Test::LessOrEqual(value) => ordered(value, JUMP_GREATER, Fails, Holds),
            Test::Less(value) => ordered(value, JUMP_NOT_LESS, Fails, Holds),
            Test::Equal(value) => self.equal(high, u64::MAX, value, Holds, Fails),
            Test::NotEqual(value) => self.equal(high, u64::MAX, value, Fails, Holds),
            Test::MaskedEqual { mask, value } => self.equal(high, mask, value, Holds, Fails),
        }
    }

    fn equal(&self, high: u32, mask: u64, value: u64, same: To, other: To) -> Block {
        let ((mask_top, mask_bottom), (top, bottom)) = (halves(mask), halves(value));
        let mut code = Vec::new();
        for (at, mask, value, then) in [(high, mask_top, top, To::Next), (self.at, mask_bottom, bottom, same)] {
            code.push(load(at));
            if mask != u32::MAX {
                code.push(and(mask));
            }
            code.push(jump(JUMP_EQUAL, value, then, other));
        }
        self.place(&code)
    }

    /// Turns jumps to places into distances.
    fn place(&self, code: &[Step]) -> Block {
        let end = code.len();
        let distance = |from: usize, to: To| {
            let distance = match to {
                To::Next => 0,
                To::Holds => end - from - 1,
                To::Fails => end - from - 1 + self.after,
            };
            u8::try_from(distance).expect("six conditions of at most five instructions each and an answer")
        };
        let place = |(at, step): (usize, &Step)| match *step {
            Step::Plain(instruction) => instruction,
            Step::Jump { code, k, then, otherwise } => {
                Instruction { code, jt: distance(at, then), jf: distance(at, otherwise), k }
            }
        };
        code.iter().enumerate().map(place).collect()
    }
}

/// An instruction whose jumps are not yet counted.
enum Step {
    Plain(Instruction),
    Jump { code: u16, k: u32, then: To, otherwise: To },
}

fn load(at: u32) -> Step {
    Step::Plain(plain(LOAD, at))
}

fn and(mask: u32) -> Step {
    Step::Plain(plain(AND, mask))
}

fn jump(code: u16, k: u32, then: To, otherwise: To) -> Step {
    Step::Jump { code, k, then, otherwise }
}

/// Passes over `length` instructions if the comparison holds. Distances in comparisons end at 255; a longer block is
/// passed by a jump of its own.
fn skip_if(code: u16, k: u32, length: usize) -> Block {
    match u8::try_from(length) {
        Ok(jt) => vec![Instruction { code, jt, jf: 0, k }],
        Err(_) => vec![Instruction { code, jt: 0, jf: 1, k }, plain(JUMP, long(length))],
    }
}

/// Passes over `length` instructions unless the comparison holds.
fn skip_unless(code: u16, k: u32, length: usize) -> Block {
    match u8::try_from(length) {
        Ok(jf) => vec![Instruction { code, jt: 0, jf, k }],
        Err(_) => vec![Instruction { code, jt: 1, jf: 0, k }, plain(JUMP, long(length))],
    }
}

fn long(distance: usize) -> u32 {
    u32::try_from(distance).expect("a block is far shorter than memory")
}

/// The instruction that ends the filter with `action`.
pub(crate) fn answer(action: Action) -> Instruction {
    plain(RETURN, action.0)
}

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

/// The high and the low half.
fn halves(value: u64) -> (u32, u32) {
    let half = |value: u64| u32::try_from(value & 0xffff_ffff).expect("masked");
    (half(value >> 32), half(value))
}
