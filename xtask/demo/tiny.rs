//! A whole userland without a C library: three commands in one program that speaks to the kernel itself.
//!
//! The demo makes an image of it to show what a container shares with its host (the kernel) and what it brings along
//! (everything else). Compiled by rustc alone, with no standard library and no start files.
//!
//!   uname          the kernel's release
//!   cat FILE...    what the files hold
//!   libc           which C library this userland has
#![no_std]
#![no_builtins]
#![no_main]

use core::arch::{asm, naked_asm};

#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const OPEN_AT: usize = 257;
    pub const EXIT: usize = 60;
    pub const UNAME: usize = 63;
}

const AT_FDCWD: isize = -100;

/// The stack begins with the argument count; the System V ABI wants it aligned at a call.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {main}", main = sym main)
}

/// SAFETY (callers): the arguments must be what the system call takes.
unsafe fn syscall(number: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps all registers but rax, rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") 0,
             lateout("rcx") _, lateout("r11") _);
    }
    result
}

fn write(text: &[u8]) {
    // SAFETY: the buffer is as long as it says.
    unsafe { syscall(number::WRITE, 1, text.as_ptr() as usize, text.len()) };
}

fn exit(code: usize) -> ! {
    loop {
        // SAFETY: it takes a number.
        unsafe { syscall(number::EXIT, code, 0, 0) };
    }
}

fn text<'t>(start: *const u8) -> &'t [u8] {
    let mut length = 0;
    // SAFETY: the kernel ends every argument with a zero, and the stack stays for the life of the process.
    unsafe {
        while *start.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(start, length)
    }
}

fn uname() -> usize {
    // struct utsname: six fields of 65 bytes, the third is the release.
    let mut names = [0_u8; 6 * 65];
    // SAFETY: the buffer has the size that the kernel fills.
    unsafe { syscall(number::UNAME, names.as_mut_ptr() as usize, 0, 0) };
    write(text(names[2 * 65..].as_ptr()));
    write(b"\n");
    0
}

fn cat(path: *const u8) -> usize {
    // SAFETY: the path ends with a zero.
    let file = unsafe { syscall(number::OPEN_AT, AT_FDCWD as usize, path as usize, 0) };
    if file < 0 {
        write(b"cat: cannot open ");
        write(text(path));
        write(b"\n");
        return 1;
    }
    let mut buffer = [0_u8; 4096];
    loop {
        // SAFETY: the buffer is as long as it says.
        let count = unsafe { syscall(number::READ, file as usize, buffer.as_mut_ptr() as usize, buffer.len()) };
        match usize::try_from(count) {
            Ok(0) | Err(_) => return 0,
            Ok(count) => write(&buffer[..count]),
        }
    }
}

extern "C" fn main(stack: *const usize) -> ! {
    // SAFETY: the kernel put the count and so many pointers there.
    let (count, arguments) = unsafe { (*stack, stack.add(1).cast::<*const u8>()) };
    // SAFETY: `at` is below the count.
    let argument = |at: usize| unsafe { *arguments.add(at) };
    let name = if count > 0 { text(argument(0)) } else { b"" };
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let code = match name {
        b"uname" => uname(),
        b"cat" => (1..count).map(|at| cat(argument(at))).max().unwrap_or(0),
        b"libc" => {
            write(b"none: this program calls the kernel by itself\n");
            0
        }
        _ => {
            write(b"no such command\n");
            127
        }
    };
    exit(code)
}

/// What the compiler calls to clear memory, since there is no C library to bring it.
///
/// SAFETY (callers): `count` bytes at `at` are writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(at: *mut u8, value: i32, count: usize) -> *mut u8 {
    // SAFETY: as promised by the caller; the direction flag is clear by the ABI.
    unsafe { asm!("rep stosb", inout("rdi") at => _, inout("rcx") count => _, in("al") value as u8) };
    at
}

/// The core library was built with unwinding tables that name this; nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}
