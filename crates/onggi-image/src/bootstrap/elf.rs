//! What a loader reads in an ELF file before it loads anything else: elf(5), ld.so(8).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::elf::{
    self, DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB, FileHeader32, FileHeader64, PT_LOAD,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};

use super::BootstrapError;

/// What an ELF file says about itself to those who load it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) machine: Machine,
    /// The program that loads it; of a program that is not static.
    pub(super) interpreter: Option<PathBuf>,
    pub(super) needed: Vec<String>,
    pub(super) soname: Option<String>,
    /// Where its libraries and theirs are looked for first.
    pub(super) rpath: Vec<String>,
    /// Where its libraries are looked for.
    pub(super) runpath: Vec<String>,
    /// Whether it names a function that loads libgcc when it is called.
    pub(super) unwinds: bool,
}

/// What a program runs on: two files fit together if these are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Machine {
    number: u16,
    wide: bool,
    little: bool,
}

impl Machine {
    /// The architecture as image configurations name it.
    pub(super) fn architecture(self) -> Option<&'static str> {
        Some(match (elf::Machine(self.number), self.wide, self.little) {
            (elf::EM_X86_64, true, _) => "amd64",
            (elf::EM_386, ..) => "386",
            (elf::EM_AARCH64, _, true) => "arm64",
            (elf::EM_ARM, _, true) => "arm",
            (elf::EM_RISCV, true, _) => "riscv64",
            (elf::EM_PPC64, _, true) => "ppc64le",
            (elf::EM_PPC64, _, false) => "ppc64",
            (elf::EM_S390, true, _) => "s390x",
            (elf::EM_LOONGARCH, true, _) => "loong64",
            (elf::EM_MIPS, true, true) => "mips64le",
            _ => return None,
        })
    }

    /// As the first twenty bytes of a file have it, if it is ELF.
    pub(super) fn of_head(head: &[u8]) -> Option<Self> {
        let (wide, little) = (head.get(4)? == &2, head.get(5)? == &1);
        let number = [*head.get(18)?, *head.get(19)?];
        let number = if little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
        head.starts_with(b"\x7fELF").then_some(Self { number, wide, little })
    }
}

/// Functions of glibc that load `libgcc_s.so.1` by themselves.
const UNWINDERS: [&[u8]; 3] = [b"\0pthread_cancel\0", b"\0pthread_exit\0", b"\0backtrace\0"];

impl Elf {
    /// Reads the file at `path`; `None` if it is not ELF.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, BootstrapError> {
        let failed = |source| BootstrapError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut head = [0; 20];
        let Some(machine) = head_of(&file, &mut head).map_err(failed)? else { return Ok(None) };
        let data = ReadCache::new(file);
        let parsed = if machine.wide {
            parse::<FileHeader64<Endianness>, _>(&data)
        } else {
            parse::<FileHeader32<Endianness>, _>(&data)
        };
        let damaged = |error: object::Error| BootstrapError::Damaged { path: path.to_owned(), what: error.to_string() };
        parsed.map(|elf| Some(Self { machine, ..elf })).map_err(damaged)
    }

    /// Whether nothing has to be loaded for it.
    pub(super) fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }
}

fn head_of(file: &File, head: &mut [u8; 20]) -> io::Result<Option<Machine>> {
    let count = file.read_at(head, 0)?;
    Ok(Machine::of_head(&head[..count]))
}

fn parse<'d, E, R>(data: R) -> object::Result<Elf>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'d>,
{
    let header = E::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let mut found = Elf::default();
    let mut entries = Vec::new();
    for segment in segments {
        if let Some(path) = segment.interpreter(endian, data)? {
            found.interpreter = Some(PathBuf::from(text(path)));
        }
        for entry in segment.dynamic(endian, data)?.unwrap_or_default() {
            entries.push((entry.tag(endian), entry.val(endian)));
        }
    }
    let value = |wanted| entries.iter().find_map(|(tag, value)| (*tag == wanted).then_some(*value));
    let (Some(address), Some(size)) = (value(DT_STRTAB), value(DT_STRSZ)) else { return Ok(found) };
    let load = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
        let (start, length) = (segment.p_vaddr(endian).into(), segment.p_filesz(endian).into());
        let inside = address.checked_sub(start).filter(|inside| *inside < length)?;
        segment.p_offset(endian).into().checked_add(inside)
    });
    let strings = load.and_then(|offset| data.read_bytes_at(offset, size).ok()).unwrap_or_default();
    for (tag, value) in &entries {
        let Some(string) = usize::try_from(*value).ok().and_then(|at| strings.get(at..)) else { continue };
        let string = text(string);
        match *tag {
            DT_NEEDED => found.needed.push(string),
            DT_SONAME => found.soname = Some(string),
            DT_RPATH => found.rpath = directories(&string),
            DT_RUNPATH => found.runpath = directories(&string),
            _ => {}
        }
    }
    found.unwinds = UNWINDERS.iter().any(|name| strings.windows(name.len()).any(|window| window == *name));
    Ok(found)
}

fn directories(text: &str) -> Vec<String> {
    text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
