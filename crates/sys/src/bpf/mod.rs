//! Classic BPF as seccomp uses it: instructions, checked programs, an assembler, an interpreter.
//!
//! It knows nothing of syscalls or policy. It must never hand out a [`Program`] that the kernel
//! would refuse: every constructor runs the checks that the kernel runs
//! (`bpf_check_classic` and `seccomp_check_filter`, Linux `net/core/filter.c`, `kernel/seccomp.c`).

mod assembler;
mod interpreter;
mod verify;

pub use assembler::{Assembler, Label, NEXT};
pub use interpreter::{InterpreterError, run};

use std::fmt;

/// Most instructions of one program (`BPF_MAXINSNS`, `linux/bpf_common.h`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Size in bytes of `struct seccomp_data`, the only memory a filter can load from.
pub const SECCOMP_DATA_BYTES: u32 = 64;

/// Words of scratch memory (`BPF_MEMWORDS`).
pub const SCRATCH_WORDS: usize = 16;

/// The opcodes that seccomp accepts, composed as in `linux/bpf_common.h`.
pub mod op {
    /// `A = data[k]`, 32 bits, `k` a multiple of 4.
    pub const LD_W_ABS: u16 = 0x20;
    /// `A = size of seccomp_data`.
    pub const LD_W_LEN: u16 = 0x80;
    /// `X = size of seccomp_data`.
    pub const LDX_W_LEN: u16 = 0x81;
    /// `A = k`.
    pub const LD_IMM: u16 = 0x00;
    /// `X = k`.
    pub const LDX_IMM: u16 = 0x01;
    /// `A = scratch[k]`.
    pub const LD_MEM: u16 = 0x60;
    /// `X = scratch[k]`.
    pub const LDX_MEM: u16 = 0x61;
    /// `scratch[k] = A`.
    pub const ST: u16 = 0x02;
    /// `scratch[k] = X`.
    pub const STX: u16 = 0x03;
    /// Arithmetic class; the operation is in bits 4..8, the source in bit 3.
    pub const ALU: u16 = 0x04;
    /// `A = A & k`.
    pub const ALU_AND_K: u16 = 0x54;
    /// Jump class; the condition is in bits 4..8, the source in bit 3.
    pub const JMP: u16 = 0x05;
    /// Unconditional jump by `k`.
    pub const JA: u16 = 0x05;
    /// Jump if `A == k`.
    pub const JEQ_K: u16 = 0x15;
    /// Jump if `A > k`, unsigned.
    pub const JGT_K: u16 = 0x25;
    /// Jump if `A >= k`, unsigned.
    pub const JGE_K: u16 = 0x35;
    /// Jump if `A & k` is not zero.
    pub const JSET_K: u16 = 0x45;
    /// Source operand is X instead of `k`.
    pub const SRC_X: u16 = 0x08;
    /// Return `k`.
    pub const RET_K: u16 = 0x06;
    /// Return A.
    pub const RET_A: u16 = 0x16;
    /// `X = A`.
    pub const TAX: u16 = 0x07;
    /// `A = X`.
    pub const TXA: u16 = 0x87;
}

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Instruction {
    /// Opcode, see [`op`].
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

impl Instruction {
    /// An instruction that does not jump.
    #[must_use]
    pub const fn plain(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }
}

impl fmt::Debug for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{:#04x} jt {} jf {} k {:#x}}}", self.code, self.jt, self.jf, self.k)
    }
}

/// `struct seccomp_data` (`linux/seccomp.h`): what a filter sees of a syscall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SeccompData {
    /// Syscall number as the kernel got it; x32 carries bit 30.
    pub nr: u32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Address after the syscall instruction.
    pub instruction_pointer: u64,
    /// The six registers, whole: what the kernel reads as `int` still has 64 bits here.
    pub args: [u64; 6],
}

impl SeccompData {
    /// The 32-bit word at byte `offset`, or none where the kernel would refuse the load.
    #[must_use]
    pub fn word(&self, offset: u32) -> Option<u32> {
        if !offset.is_multiple_of(4) || offset >= SECCOMP_DATA_BYTES {
            return None;
        }
        let wide = |value: u64| {
            if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 }
        };
        Some(match offset {
            0 => self.nr,
            4 => self.arch,
            8 | 12 => wide(self.instruction_pointer),
            _ => wide(*self.args.get((offset as usize - 16) / 8)?),
        })
    }
}

/// A program that the kernel's checks accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Box<[Instruction]>,
}

impl Program {
    /// Checks `instructions` as the kernel would.
    ///
    /// # Errors
    /// The first rule that an instruction breaks, with its index.
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, ProgramError> {
        verify::check(&instructions)?;
        Ok(Self { instructions: instructions.into_boxed_slice() })
    }

    /// The instructions, 1 to [`MAX_INSTRUCTIONS`] of them.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

/// Why a list of instructions or of assembler items is no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// No instruction, or more than the kernel takes.
    #[error("a BPF program has 1 to {MAX_INSTRUCTIONS} instructions, this one has {0}; split it")]
    Length(usize),
    /// Opcode that seccomp refuses.
    #[error("BPF instruction {index}: seccomp does not accept opcode {code:#x}")]
    Opcode {
        /// Index of the instruction.
        index: usize,
        /// Its opcode.
        code: u16,
    },
    /// Operand out of range: load offset, scratch index, shift or division by zero.
    #[error("BPF instruction {index}: operand {k:#x} is out of range for this opcode")]
    Operand {
        /// Index of the instruction.
        index: usize,
        /// Its operand.
        k: u32,
    },
    /// Jump past the end.
    #[error("BPF instruction {0} jumps past the end of the program")]
    Jump(usize),
    /// Scratch word that some path reads before any write.
    #[error("BPF instruction {0} reads a scratch word that was not written on every path to it")]
    Scratch(usize),
    /// The last instruction is no return.
    #[error("the last BPF instruction must return")]
    NoReturn,
    /// Jump to a label that is nowhere after the jump: BPF jumps only forward.
    #[error("BPF label {0} is not bound after the jump that names it")]
    Label(u32),
    /// Label bound twice.
    #[error("BPF label {0} is bound twice")]
    LabelTwice(u32),
}

// The kernel reads both by pointer.
const _: () = assert!(size_of::<Instruction>() == 8);
const _: () = assert!(size_of::<SeccompData>() == SECCOMP_DATA_BYTES as usize);
#[cfg(target_endian = "big")]
compile_error!("the word order of seccomp_data is only written down for little-endian machines");
