//! Runs a filter on a [`SeccompData`] in user space, as the kernel would.
//!
//! With it the rules for syscalls, sockets and architectures that this machine lacks are judged
//! anyway. It must never answer "allow" where the kernel would not: a fault is an error.

use super::verify::{ALU_NEG, is_alu};
use super::{Program, SCRATCH_WORDS, SECCOMP_DATA_BYTES, SeccompData, op};

/// A fault while a program ran. A checked [`Program`] has only [`InterpreterError::Divide`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InterpreterError {
    /// The program counter left the program.
    #[error("BPF ran past its end, at instruction {0}")]
    End(usize),
    /// Opcode or operand that the checks should have refused.
    #[error("BPF instruction {0} is not valid")]
    Invalid(usize),
    /// Division by X = 0; the kernel ends the program with 0, which seccomp reads as a kill.
    #[error("BPF instruction {0} divides by zero")]
    Divide(usize),
}

struct Machine {
    a: u32,
    x: u32,
    scratch: [u32; SCRATCH_WORDS],
}

/// Runs `program` on `data`; the result is a `SECCOMP_RET_*` value.
///
/// # Errors
/// See [`InterpreterError`].
pub fn run(program: &Program, data: &SeccompData) -> Result<u32, InterpreterError> {
    let mut m = Machine { a: 0, x: 0, scratch: [0; SCRATCH_WORDS] };
    let code = program.instructions();
    let mut pc = 0;
    loop {
        let i = code.get(pc).ok_or(InterpreterError::End(pc))?;
        let invalid = InterpreterError::Invalid(pc);
        let source = if i.code & op::SRC_X == 0 { i.k } else { m.x };
        let mut skip = 0;
        let choose = |holds: bool| usize::from(if holds { i.jt } else { i.jf });
        match i.code {
            op::RET_K => return Ok(i.k),
            op::RET_A => return Ok(m.a),
            op::LD_W_ABS => m.a = data.word(i.k).ok_or(invalid)?,
            op::LD_W_LEN => m.a = SECCOMP_DATA_BYTES,
            op::LDX_W_LEN => m.x = SECCOMP_DATA_BYTES,
            op::LD_IMM => m.a = i.k,
            op::LDX_IMM => m.x = i.k,
            op::LD_MEM => m.a = *m.scratch.get(i.k as usize).ok_or(invalid)?,
            op::LDX_MEM => m.x = *m.scratch.get(i.k as usize).ok_or(invalid)?,
            op::ST => *m.scratch.get_mut(i.k as usize).ok_or(invalid)? = m.a,
            op::STX => *m.scratch.get_mut(i.k as usize).ok_or(invalid)? = m.x,
            op::TAX => m.x = m.a,
            op::TXA => m.a = m.x,
            op::JA => skip = i.k as usize,
            c if c & !op::SRC_X == op::JEQ_K => skip = choose(m.a == source),
            c if c & !op::SRC_X == op::JGT_K => skip = choose(m.a > source),
            c if c & !op::SRC_X == op::JGE_K => skip = choose(m.a >= source),
            c if c & !op::SRC_X == op::JSET_K => skip = choose(m.a & source != 0),
            c if is_alu(c) => m.a = alu(c, m.a, source).ok_or(InterpreterError::Divide(pc))?,
            _ => return Err(invalid),
        }
        pc = pc.saturating_add(1).saturating_add(skip);
    }
}

fn alu(code: u16, a: u32, source: u32) -> Option<u32> {
    if code == ALU_NEG {
        return Some(a.wrapping_neg());
    }
    Some(match code & 0xf0 {
        0x00 => a.wrapping_add(source),
        0x10 => a.wrapping_sub(source),
        0x20 => a.wrapping_mul(source),
        0x30 => a.checked_div(source)?,
        0x40 => a | source,
        0x50 => a & source,
        // The kernel masks the count of a shift by X.
        0x60 => a.wrapping_shl(source),
        0x70 => a.wrapping_shr(source),
        _ => a ^ source,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Instruction, ProgramError};
    use super::*;

    fn eval(code: &[(u16, u8, u8, u32)], data: &SeccompData) -> Result<u32, InterpreterError> {
        let list = code.iter().map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k });
        run(&Program::new(list.collect()).unwrap(), data)
    }

    #[test]
    fn loads_see_each_half_of_each_argument() {
        let mut data =
            SeccompData { nr: 1, arch: 2, instruction_pointer: 0x4_0000_0003, args: [0; 6] };
        for (n, arg) in data.args.iter_mut().enumerate() {
            *arg = ((10 + n as u64) << 32) | (20 + n as u64);
        }
        let expected = [1, 2, 3, 4, 20, 10, 21, 11, 22, 12, 23, 13, 24, 14, 25, 15];
        for (n, value) in expected.iter().enumerate() {
            let load = (op::LD_W_ABS, 0, 0, 4 * n as u32);
            assert_eq!(eval(&[load, (op::RET_A, 0, 0, 0)], &data), Ok(*value));
        }
    }

    #[test]
    fn arithmetic_and_scratch() {
        let ret = (op::RET_A, 0, 0, 0);
        let data = SeccompData::default();
        for (code, k, expected) in [
            (0x04, 3, 15),
            (0x14, 13, u32::MAX),
            (0x24, 2, 24),
            (0x34, 5, 2),
            (0x44, 3, 15),
            (0x54, 6, 4),
            (0x64, 1, 24),
            (0x74, 2, 3),
            (0xa4, 6, 10),
            (ALU_NEG, 0, 12u32.wrapping_neg()),
        ] {
            let result = eval(&[(op::LD_IMM, 0, 0, 12), (code, 0, 0, k), ret], &data);
            assert_eq!(result, Ok(expected), "opcode {code:#x}");
        }
        let by_zero = [(op::LDX_IMM, 0, 0, 0), (0x3c, 0, 0, 0), ret];
        assert_eq!(eval(&by_zero, &data), Err(InterpreterError::Divide(1)));
        let through = [
            (op::LD_IMM, 0, 0, 9),
            (op::ST, 0, 0, 3),
            (op::LDX_MEM, 0, 0, 3),
            (op::TXA, 0, 0, 0),
            ret,
        ];
        assert_eq!(eval(&through, &data), Ok(9));
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        let check = |code: &[(u16, u8, u8, u32)]| {
            let list = code.iter().map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k });
            Program::new(list.collect()).err()
        };
        let ret = (op::RET_K, 0, 0, 0);
        let operand = |k| Some(ProgramError::Operand { index: 0, k });
        assert_eq!(check(&[(op::LD_W_ABS, 0, 0, 64), ret]), operand(64));
        assert_eq!(check(&[(op::LD_W_ABS, 0, 0, 2), ret]), operand(2));
        assert_eq!(check(&[(0x34, 0, 0, 0), ret]), operand(0));
        assert_eq!(check(&[(0x64, 0, 0, 32), ret]), operand(32));
        assert_eq!(check(&[(op::ST, 0, 0, 16), ret]), operand(16));
        assert_eq!(check(&[(op::JA, 0, 0, 1), ret]), Some(ProgramError::Jump(0)));
        assert_eq!(check(&[(op::JEQ_K, 0, 1, 1), ret]), Some(ProgramError::Jump(0)));
        assert_eq!(check(&[(op::LD_IMM, 0, 0, 1)]), Some(ProgramError::NoReturn));
        assert_eq!(check(&[(op::LD_MEM, 0, 0, 1), ret]), Some(ProgramError::Scratch(0)));
        // LD_B_ABS, LD_W_IND and MOD are socket filter opcodes, not seccomp ones.
        for code in [0x30, 0x40, 0x94, 0xff] {
            let opcode = Some(ProgramError::Opcode { index: 0, code });
            assert_eq!(check(&[(code, 0, 0, 1), ret]), opcode);
        }
        assert_eq!(check(&[ret; 4097]), Some(ProgramError::Length(4097)));
        assert_eq!(check(&[ret; 4096]), None);
    }
}
