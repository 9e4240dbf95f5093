//! System calls of other ABIs on the same processor, to get past a filter of 64-bit numbers: P06.

use std::io;

use crate::answer::{call, say};
use crate::doors::in_child;

/// The bit that marks a call of the x32 ABI (asm/unistd.h).
const X32_BIT: libc::c_long = 0x4000_0000;

/// Asks for the process id by each foreign ABI, in a child: a kernel may kill for it.
pub fn run() {
    let x32 = in_child(|| call(libc::SYS_getpid | X32_BIT, [0; 6]).map(drop));
    say("x32-getpid", &x32);
    #[cfg(target_arch = "x86_64")]
    {
        say("i386-getpid", &in_child(|| int_80(20, 0)));
        // i386 number 310: unshare, with a flag that makes a user namespace.
        say("i386-unshare", &in_child(|| int_80(310, 0x1000_0000)));
    }
}

/// `int $0x80`: the 32-bit entry of the kernel.
#[cfg(target_arch = "x86_64")]
fn int_80(number: u32, argument: u32) -> io::Result<()> {
    let result: i64;
    // SAFETY: rbx is saved and restored by hand (the compiler keeps it to itself); the called
    // functions take no pointer. The 32-bit entry may clear r8 to r11.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {argument:e}",
            "int 0x80",
            "pop rbx",
            argument = in(reg) argument,
            inlateout("rax") u64::from(number) => result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The 32-bit entry returns a sign-extended 32-bit value in eax.
    let value = result as i32;
    if (-4095..0).contains(&value) { Err(io::Error::from_raw_os_error(-value)) } else { Ok(()) }
}
