//! libseccomp as a second opinion: its compiler on the same rules, its list of numbers.
//!
//! Built with `--features test-libseccomp` alone, which needs the C library and its headers; every
//! other test of this directory holds without it.

use super::differential::{SAMPLES, random_data};
use super::*;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use ringfence_sys::bpf::{Instruction, run};
use ringfence_sys::seccomp::Rule;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::FromRawFd;

/// The same rules in libseccomp's words, as far as it has words for them; none: not comparable.
fn libseccomp_rules(rule: Rule, context: &mut ScmpFilterContext, nr: ScmpSyscall) -> Option<()> {
    let masked = |arg, mask: u64, value: u64| {
        ScmpArgCompare::new(arg, ScmpCompareOp::MaskedEqual(mask), value)
    };
    let low = u64::from(u32::MAX);
    let mut rule_for = |action, conditions: &[ScmpArgCompare]| {
        context
            .add_rule_conditional_exact(action, nr, conditions)
            .expect("libseccomp takes a rule");
    };
    match rule {
        Rule::Allow | Rule::Names | Rule::Execve | Rule::MemfdCreate => {
            rule_for(ScmpAction::Allow, &[])
        }
        Rule::Missing => rule_for(ScmpAction::Errno(38), &[]),
        // The default action of the context.
        Rule::Refuse | Rule::Debug => {}
        Rule::Clone => rule_for(ScmpAction::Allow, &[masked(0, 0x7e02_0080, 0)]),
        Rule::Unshare => rule_for(ScmpAction::Allow, &[masked(0, !0x4_0600, 0)]),
        Rule::Personality => {
            rule_for(ScmpAction::Allow, &[masked(0, low, 0)]);
            rule_for(ScmpAction::Allow, &[masked(0, low, low)]);
        }
        Rule::MknodArg1 | Rule::MknodArg2 => {
            let arg = if rule == Rule::MknodArg1 { 1 } else { 2 };
            for kind in [0, 0o100_000, 0o10_000, 0o140_000] {
                rule_for(ScmpAction::Allow, &[masked(arg, 0o176_000, kind)]);
            }
        }
        Rule::ModeArg1 => rule_for(ScmpAction::Allow, &[masked(1, 0o6000, 0)]),
        Rule::ModeArg2 => rule_for(ScmpAction::Allow, &[masked(2, 0o6000, 0)]),
        Rule::OpenArg1 | Rule::OpenArg2 => {
            let arg = if rule == Rule::OpenArg1 { 1 } else { 2 };
            rule_for(ScmpAction::Allow, &[masked(arg, 0o20_000_100, 0)]);
            rule_for(ScmpAction::Allow, &[masked(arg + 1, 0o6000, 0)]);
        }
        Rule::SendArg2 | Rule::SendArg3 => {
            let arg = if rule == Rule::SendArg2 { 2 } else { 3 };
            rule_for(ScmpAction::Allow, &[masked(arg, 0x2000_0000, 0)]);
            rule_for(ScmpAction::Errno(95), &[masked(arg, 0x2000_0000, 0x2000_0000)]);
        }
        Rule::Renameat2 => {
            rule_for(ScmpAction::Allow, &[masked(4, 4, 0)]);
            rule_for(ScmpAction::Errno(22), &[masked(4, 4, 4)]);
        }
        _ => return None,
    }
    Some(())
}

/// The program that libseccomp made, as bytes.
fn exported(context: &ScmpFilterContext) -> Vec<u8> {
    // SAFETY: the name is a live string.
    let fd = unsafe { libc::memfd_create(c"bpf".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new and ours.
    let mut file = unsafe { File::from_raw_fd(fd) };
    context.export_bpf(&file).unwrap();
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// FS7: libseccomp compiles the same rules with other code; both programs run in the interpreter.
#[test]
fn fs7_the_filter_decides_as_libseccomp_does() {
    for (arch, theirs) in [(Arch::X86_64, ScmpArch::X8664), (Arch::Aarch64, ScmpArch::Aarch64)] {
        let mut context = ScmpFilterContext::new(ScmpAction::Errno(1)).unwrap();
        context.set_act_badarch(ScmpAction::KillProcess).unwrap();
        context.remove_arch(ScmpArch::Native).unwrap();
        context.add_arch(theirs).unwrap();
        let mut comparable = Vec::new();
        for s in SYSCALLS.iter().filter(|s| arch.number(s).is_some()) {
            // By name: libseccomp's own tables say the number.
            let Ok(nr) = ScmpSyscall::from_name(s.name) else {
                continue;
            };
            if libseccomp_rules(s.rule, &mut context, nr).is_some() {
                comparable.push(*s);
            }
        }
        assert!(comparable.len() > 250, "only {} syscalls compared", comparable.len());
        let exported = exported(&context);
        let other = Program::new(
            exported
                .chunks_exact(8)
                .map(|b| Instruction {
                    code: u16::from_ne_bytes([b[0], b[1]]),
                    jt: b[2],
                    jf: b[3],
                    k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
                })
                .collect(),
        )
        .unwrap();
        let ours = compile(PLAIN, arch).unwrap();
        let mut random = Random(2);
        for _ in 0..SAMPLES {
            let mut data = random_data(&mut random, arch);
            data.nr = arch.number(&random.pick(&comparable)).unwrap().into();
            assert_eq!(run(&ours, &data), run(&other, &data), "{arch:?} {data:x?}");
        }
    }
}

/// libseccomp has a third list, for both architectures, up to the Linux of its release.
#[test]
fn numbers_are_those_of_libseccomp() {
    let mut known = 0;
    for (arch, theirs) in [(Arch::X86_64, ScmpArch::X8664), (Arch::Aarch64, ScmpArch::Aarch64)] {
        for s in SYSCALLS {
            let Ok(resolved) = ScmpSyscall::from_name_by_arch(s.name, theirs) else {
                continue;
            };
            // Negative numbers stand for "not on this architecture".
            let resolved = u16::try_from(i32::from(resolved)).ok();
            assert_eq!(resolved, arch.number(s), "{} on {arch:?}", s.name);
            known += 1;
        }
    }
    assert!(known > 600, "libseccomp resolved only {known} names");
}
