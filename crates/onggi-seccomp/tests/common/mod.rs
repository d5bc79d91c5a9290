//! A machine that runs filters.

use onggi_seccomp::{Action, Instruction};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    pub(crate) number: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        let half =
            |value: u64, high: bool| u32::try_from(if high { value >> 32 } else { value & 0xffff_ffff }).unwrap();
        match offset {
            0 => self.number,
            4 => self.arch,
            16.. if offset.is_multiple_of(4) => {
                half(self.args[usize::try_from(offset - 16).unwrap() / 8], offset % 8 == 4)
            }
            other => panic!("a load from {other}"),
        }
    }
}

/// Runs `program` on `data`; panics where the kernel would refuse to load it.
pub(crate) fn run(program: &[Instruction], data: &Data) -> Action {
    let mut accumulator = 0u32;
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = data.word(k),
            0x54 => accumulator &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x06 => return Action(k),
            other => panic!("instruction {other:#x}"),
        }
    }
}
