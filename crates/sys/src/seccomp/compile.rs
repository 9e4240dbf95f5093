//! From the table to a program: architecture check, binary search by number, one block per rule.
//!
//! The search reads only `arch` and `nr`, so the kernel (5.11 and newer) finds out once which
//! syscalls are allowed whatever their arguments and does not run the filter for them again.
//! A number that the table does not have must never reach any block but ENOSYS.

use super::rules::{Block, emit};
use super::table::SYSCALLS;
use super::{Action, Arch, Options};
use crate::bpf::{Assembler, Label, NEXT, Program, ProgramError};

/// Offset of `nr` in `seccomp_data`.
const NR: u32 = 0;
/// Offset of `arch` in `seccomp_data`.
const ARCH: u32 = 4;
/// Room for the items of a program; it grows where this is not enough.
const EXPECTED_ITEMS: usize = 1024;

const ABSENT: Block = Block::Answer(Action::Errno(libc::ENOSYS as u16));

/// A run of numbers from `first` up to the next range that share a block.
struct Range {
    first: u32,
    label: Label,
}

/// Compiles the table for `arch`. Takes some ten microseconds and is pure: compile once, keep it.
///
/// # Errors
/// A fault in the assembler's input; a test compiles every combination, so none is expected.
pub fn compile(options: Options, arch: Arch) -> Result<Program, ProgramError> {
    let mut asm = Assembler::with_capacity(EXPECTED_ITEMS);
    let mut blocks = Vec::new();
    let ranges = ranges(&blocks_by_number(options, arch), &mut asm, &mut blocks);

    let foreign = asm.label();
    asm.load(ARCH);
    asm.eq(arch.audit(), NEXT, foreign);
    asm.load(NR);
    search(&mut asm, &ranges);
    for (block, label) in blocks {
        asm.bind(label);
        emit(&mut asm, block);
    }
    asm.bind(foreign);
    asm.ret(Action::KillProcess.value());
    asm.finish()
}

/// The block of every number from 0 to the highest in the table.
fn blocks_by_number(options: Options, arch: Arch) -> Vec<Block> {
    let mut by_number = Vec::with_capacity(SYSCALLS.len() * 2);
    for syscall in SYSCALLS {
        let Some(number) = arch.number(syscall) else {
            continue;
        };
        let number = usize::from(number);
        if number >= by_number.len() {
            by_number.resize(number + 1, ABSENT);
        }
        if let Some(slot) = by_number.get_mut(number) {
            *slot = Block::of(syscall, options);
        }
    }
    by_number
}

fn ranges(
    by_number: &[Block],
    asm: &mut Assembler,
    blocks: &mut Vec<(Block, Label)>,
) -> Vec<Range> {
    let mut ranges = Vec::with_capacity(by_number.len() / 2);
    let mut current = None;
    // The last range has no end: it holds all that is newer than the table, and x32.
    for (number, block) in (0..).zip(by_number.iter().chain([&ABSENT])) {
        if current == Some(block) {
            continue;
        }
        current = Some(block);
        let known = blocks.iter().find(|(other, _)| other == block).map(|(_, label)| *label);
        let label = known.unwrap_or_else(|| {
            let label = asm.label();
            blocks.push((*block, label));
            label
        });
        ranges.push(Range { first: number, label });
    }
    ranges
}

/// Emits a balanced tree of comparisons; `nr` is in the accumulator. Ranges start at 0, so every
/// number is in exactly one.
fn search(asm: &mut Assembler, ranges: &[Range]) {
    if let [only] = ranges {
        asm.goto(only.label);
        return;
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (Some(pivot), Some(lowest)) = (high.first(), low.first()) else {
        return;
    };
    let right = if high.len() == 1 { pivot.label } else { asm.label() };
    let left = if low.len() == 1 { lowest.label } else { NEXT };
    asm.ge(pivot.first, right, left);
    if low.len() > 1 {
        search(asm, low);
    }
    if high.len() > 1 {
        asm.bind(right);
        search(asm, high);
    }
}
