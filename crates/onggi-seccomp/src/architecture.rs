//! The calling conventions that a filter must tell apart.

use onggi_oci::runtime::Arch;

use crate::{Error, Result, syscalls};

/// A calling convention of the kernel, each with system call numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers: `AUDIT_ARCH_X86_64` with a bit set in the number.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
}

/// What marks a system call of x32.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

impl Architecture {
    /// The one that this program was built for.
    pub fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "x86" => Ok(Self::X86),
            "aarch64" => Ok(Self::Aarch64),
            "arm" => Ok(Self::Arm),
            name => Err(Error::Architecture { name: name.to_owned() }),
        }
    }

    /// Those that a kernel of this architecture can run, itself first.
    pub fn family(self) -> &'static [Self] {
        match self {
            Self::X86_64 | Self::X32 => &[Self::X86_64, Self::X86, Self::X32],
            Self::X86 => &[Self::X86],
            Self::Aarch64 => &[Self::Aarch64, Self::Arm],
            Self::Arm => &[Self::Arm],
        }
    }

    /// The specification's word for it.
    pub fn to_oci(self) -> Arch {
        match self {
            Self::X86_64 => Arch::ScmpArchX86_64,
            Self::X86 => Arch::ScmpArchX86,
            Self::X32 => Arch::ScmpArchX32,
            Self::Aarch64 => Arch::ScmpArchAarch64,
            Self::Arm => Arch::ScmpArchArm,
        }
    }

    /// The number of the system call `name`, as it stands in `seccomp_data.nr`.
    pub fn number(self, name: &str) -> Option<u32> {
        syscalls::Known::find(name)?.number(self)
    }

    /// `AUDIT_ARCH_*`, as it stands in `seccomp_data.arch`.
    pub(crate) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether only the low half of an argument means anything.
    pub(crate) fn has_short_arguments(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }
}
