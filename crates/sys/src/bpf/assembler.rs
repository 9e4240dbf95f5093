//! Turns instructions with labels into a program.
//!
//! A conditional jump of classic BPF reaches 255 instructions and only forward. The assembler
//! lays the program out from its last instruction to its first, so every target is known when a
//! jump is written, and puts an unconditional jump (32-bit reach) behind the conditional one
//! where 255 is not enough. It must never change the order or the meaning of what it was given.

use super::{Instruction, Program, ProgramError, op};

/// A place in the program, bound once, after every jump that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(u32);

/// The instruction after the jump.
pub const NEXT: Label = Label(u32::MAX);

/// Reach of a conditional jump, less two for the long jumps that may be put behind it.
const SHORT_REACH: usize = u8::MAX as usize - 2;

#[derive(Clone, Copy)]
enum Item {
    Plain(Instruction),
    Branch { code: u16, k: u32, yes: Label, no: Label },
    Goto(Label),
    Bind(Label),
}

/// Collects instructions in program order; see [`Assembler::finish`].
#[derive(Default)]
pub struct Assembler {
    items: Vec<Item>,
    labels: u32,
}

impl Assembler {
    /// An assembler with room for `capacity` items.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { items: Vec::with_capacity(capacity), labels: 0 }
    }

    /// A new label, bound nowhere yet.
    pub fn label(&mut self) -> Label {
        let label = Label(self.labels);
        self.labels += 1;
        label
    }

    /// Binds `label` to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.items.push(Item::Bind(label));
    }

    /// Any instruction that does not jump.
    pub fn plain(&mut self, code: u16, k: u32) {
        self.items.push(Item::Plain(Instruction::plain(code, k)));
    }

    /// `A = data[offset]`.
    pub fn load(&mut self, offset: u32) {
        self.plain(op::LD_W_ABS, offset);
    }

    /// `A = A & mask`.
    pub fn and(&mut self, mask: u32) {
        self.plain(op::ALU_AND_K, mask);
    }

    /// Returns `value`.
    pub fn ret(&mut self, value: u32) {
        self.plain(op::RET_K, value);
    }

    /// To `yes` if `A == k`, else to `no`.
    pub fn eq(&mut self, k: u32, yes: Label, no: Label) {
        self.items.push(Item::Branch { code: op::JEQ_K, k, yes, no });
    }

    /// To `yes` if `A >= k` unsigned, else to `no`.
    pub fn ge(&mut self, k: u32, yes: Label, no: Label) {
        self.items.push(Item::Branch { code: op::JGE_K, k, yes, no });
    }

    /// To `yes` if `A > k` unsigned, else to `no`.
    pub fn gt(&mut self, k: u32, yes: Label, no: Label) {
        self.items.push(Item::Branch { code: op::JGT_K, k, yes, no });
    }

    /// To `yes` if any bit of `k` is set in A, else to `no`.
    pub fn any_set(&mut self, k: u32, yes: Label, no: Label) {
        self.items.push(Item::Branch { code: op::JSET_K, k, yes, no });
    }

    /// To `label`.
    pub fn goto(&mut self, label: Label) {
        self.items.push(Item::Goto(label));
    }

    /// Lays the program out and checks it.
    ///
    /// # Errors
    /// A label that is not bound after its jump or bound twice, or what [`Program::new`] refuses.
    pub fn finish(self) -> Result<Program, ProgramError> {
        let mut layout = Layout {
            reversed: Vec::with_capacity(self.items.len()),
            bound: vec![None; self.labels as usize],
        };
        for item in self.items.iter().rev() {
            match *item {
                Item::Plain(instruction) => layout.reversed.push(instruction),
                Item::Bind(label) => layout.bind(label)?,
                Item::Goto(label) => {
                    let k = layout.distance(label)?;
                    layout.push_long(k);
                }
                Item::Branch { code, k, yes, no } => layout.branch(code, k, yes, no)?,
            }
        }
        layout.reversed.reverse();
        Program::new(layout.reversed)
    }
}

struct Layout {
    /// The program so far, last instruction first.
    reversed: Vec<Instruction>,
    /// Per label: how many instructions follow its place, the target included.
    bound: Vec<Option<usize>>,
}

impl Layout {
    fn bind(&mut self, label: Label) -> Result<(), ProgramError> {
        let here = self.reversed.len();
        match self.bound.get_mut(label.0 as usize) {
            Some(slot @ None) => {
                *slot = Some(here);
                Ok(())
            }
            Some(Some(_)) => Err(ProgramError::LabelTwice(label.0)),
            None => Err(ProgramError::Label(label.0)),
        }
    }

    /// Instructions to skip from a jump that would be written now.
    fn distance(&self, label: Label) -> Result<usize, ProgramError> {
        if label == NEXT {
            return Ok(0);
        }
        match self.bound.get(label.0 as usize) {
            Some(Some(place)) => Ok(self.reversed.len() - place),
            _ => Err(ProgramError::Label(label.0)),
        }
    }

    fn push_long(&mut self, distance: usize) {
        // Longer programs than u32 can count are refused by `Program::new` for their length.
        let k = u32::try_from(distance).unwrap_or(u32::MAX);
        self.reversed.push(Instruction::plain(op::JA, k));
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Result<(), ProgramError> {
        let mut skips = [self.distance(yes)?, self.distance(no)?];
        if skips[0] == skips[1] {
            // Nothing to decide; the comparison has no effect of its own.
            if skips[0] > 0 {
                self.push_long(skips[0]);
            }
            return Ok(());
        }
        let before = self.reversed.len();
        let mut far = [None, None];
        for (skip, slot) in skips.iter().zip(&mut far) {
            if *skip > SHORT_REACH {
                let grown = self.reversed.len() - before;
                self.push_long(skip + grown);
                *slot = Some(self.reversed.len());
            }
        }
        let grown = self.reversed.len() - before;
        for (skip, slot) in skips.iter_mut().zip(far) {
            *skip = match slot {
                Some(place) => self.reversed.len() - place,
                None => *skip + grown,
            };
        }
        let short = |skip: usize| u8::try_from(skip).unwrap_or(u8::MAX);
        self.reversed.push(Instruction { code, jt: short(skips[0]), jf: short(skips[1]), k });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SeccompData, run};
    use super::*;

    fn answer(program: &Program, nr: u32) -> u32 {
        run(program, &SeccompData { nr, ..SeccompData::default() }).unwrap()
    }

    /// Both arms of a jump at every distance around the reach of a conditional jump.
    #[test]
    fn jumps_of_every_length_land() {
        for gap in [0, 1, 2, 250, 251, 252, 253, 254, 255, 256, 257, 300, 1000] {
            let mut asm = Assembler::default();
            let (yes, no) = (asm.label(), asm.label());
            asm.load(0);
            asm.eq(7, yes, no);
            for _ in 0..gap {
                asm.ret(99);
            }
            asm.bind(yes);
            asm.ret(1);
            for _ in 0..gap {
                asm.ret(98);
            }
            asm.bind(no);
            asm.ret(2);
            let program = asm.finish().unwrap();
            assert_eq!((answer(&program, 7), answer(&program, 8)), (1, 2), "gap {gap}");
        }
    }

    #[test]
    fn next_falls_through_also_past_a_long_jump() {
        let mut asm = Assembler::default();
        let far = asm.label();
        asm.load(0);
        asm.eq(7, far, NEXT);
        asm.ret(3);
        for _ in 0..400 {
            asm.ret(99);
        }
        asm.bind(far);
        asm.ret(4);
        let program = asm.finish().unwrap();
        assert_eq!((answer(&program, 7), answer(&program, 1)), (4, 3));
    }

    #[test]
    fn labels_that_lead_nowhere_are_refused() {
        let mut asm = Assembler::default();
        let back = asm.label();
        asm.bind(back);
        asm.load(0);
        asm.goto(back);
        asm.ret(0);
        assert_eq!(asm.finish(), Err(ProgramError::Label(0)));
        let mut asm = Assembler::default();
        let twice = asm.label();
        asm.bind(twice);
        asm.bind(twice);
        asm.ret(0);
        assert_eq!(asm.finish(), Err(ProgramError::LabelTwice(0)));
        assert_eq!(Assembler::default().finish(), Err(ProgramError::Length(0)));
    }
}
