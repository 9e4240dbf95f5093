//! The checks that the kernel runs on a filter before it takes it.
//!
//! Mirrors `bpf_check_classic`, `check_load_and_stores` (`net/core/filter.c`) and
//! `seccomp_check_filter` (`kernel/seccomp.c`). It must never accept what the kernel refuses.

use super::{Instruction, MAX_INSTRUCTIONS, ProgramError, SCRATCH_WORDS, SECCOMP_DATA_BYTES, op};

const ALU_OPERATIONS: [u16; 9] = [0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0];
const ALU_DIV: u16 = 0x30;
const ALU_LSH: u16 = 0x60;
const ALU_RSH: u16 = 0x70;
/// Negation has no operand.
pub(super) const ALU_NEG: u16 = 0x84;
const WORD_BITS: u32 = 32;
const CLASS_MASK: u16 = 0x07;
const OPERATION_MASK: u16 = 0xf0;

pub(super) fn check(program: &[Instruction]) -> Result<(), ProgramError> {
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(ProgramError::Length(program.len()));
    }
    for (index, instruction) in program.iter().enumerate() {
        check_one(index, instruction)?;
        check_jump(index, instruction, program.len())?;
    }
    match program.last().map(|last| last.code) {
        Some(op::RET_K | op::RET_A) => check_scratch(program),
        _ => Err(ProgramError::NoReturn),
    }
}

pub(super) fn is_conditional(code: u16) -> bool {
    matches!(code & !op::SRC_X, op::JEQ_K | op::JGT_K | op::JGE_K | op::JSET_K)
}

pub(super) fn is_alu(code: u16) -> bool {
    code & CLASS_MASK == op::ALU
        && code >> 8 == 0
        && (code == ALU_NEG || ALU_OPERATIONS.contains(&(code & OPERATION_MASK)))
}

fn check_one(index: usize, i: &Instruction) -> Result<(), ProgramError> {
    let operand = ProgramError::Operand { index, k: i.k };
    match i.code {
        op::LD_W_ABS if !i.k.is_multiple_of(4) || i.k >= SECCOMP_DATA_BYTES => Err(operand),
        op::LD_MEM | op::LDX_MEM | op::ST | op::STX if i.k as usize >= SCRATCH_WORDS => {
            Err(operand)
        }
        op::LD_W_ABS | op::LD_W_LEN | op::LDX_W_LEN | op::LD_IMM | op::LDX_IMM => Ok(()),
        op::LD_MEM | op::LDX_MEM | op::ST | op::STX => Ok(()),
        op::RET_K | op::RET_A | op::TAX | op::TXA | op::JA => Ok(()),
        code if is_conditional(code) => Ok(()),
        code if is_alu(code) => {
            let by_constant = code & op::SRC_X == 0;
            match code & OPERATION_MASK {
                ALU_DIV if by_constant && i.k == 0 => Err(operand),
                ALU_LSH | ALU_RSH if by_constant && i.k >= WORD_BITS => Err(operand),
                _ => Ok(()),
            }
        }
        code => Err(ProgramError::Opcode { index, code }),
    }
}

fn check_jump(index: usize, i: &Instruction, len: usize) -> Result<(), ProgramError> {
    let farthest = match i.code {
        op::JA => i.k as usize,
        code if is_conditional(code) => usize::from(i.jt.max(i.jf)),
        _ => return Ok(()),
    };
    // `index < len`, so the subtraction cannot wrap.
    if farthest < len - index - 1 { Ok(()) } else { Err(ProgramError::Jump(index)) }
}

/// Refuses a read of a scratch word that was not written on every path to the read.
fn check_scratch(program: &[Instruction]) -> Result<(), ProgramError> {
    // Per instruction: the words valid on every jump that lands there.
    let mut arriving = vec![u16::MAX; program.len()];
    let mut valid = 0u16;
    for (index, i) in program.iter().enumerate() {
        valid &= arriving.get(index).copied().unwrap_or(0);
        let mut land = |skip: usize| {
            if let Some(slot) = arriving.get_mut(index + 1 + skip) {
                *slot &= valid;
            }
        };
        match i.code {
            op::ST | op::STX => valid |= 1 << i.k,
            op::LD_MEM | op::LDX_MEM if valid & (1 << i.k) == 0 => {
                return Err(ProgramError::Scratch(index));
            }
            op::JA => {
                land(i.k as usize);
                valid = u16::MAX;
            }
            code if is_conditional(code) => {
                land(usize::from(i.jt));
                land(usize::from(i.jf));
                valid = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}
