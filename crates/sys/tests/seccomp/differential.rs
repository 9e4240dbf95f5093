//! The compiled filter against the oracle, on random syscalls.

use super::*;

pub const SAMPLES: usize = 60_000;

pub fn random_data(random: &mut Random, arch: Arch) -> SeccompData {
    let nr = match random.next() % 8 {
        0 => random.next() as u32,
        1 => (random.next() % 600) as u32 | 0x4000_0000,
        2 => (random.next() % 600) as u32,
        // Mostly syscalls whose arguments matter.
        3 => arch.number(&SYSCALLS[random.next() as usize % SYSCALLS.len()]).unwrap_or(0).into(),
        _ => {
            const ARGUED: [&str; 22] = [
                "clone",
                "unshare",
                "personality",
                "prctl",
                "seccomp",
                "socket",
                "socket",
                "socketpair",
                "ioctl",
                "sendto",
                "sendmsg",
                "sendmmsg",
                "mknodat",
                "renameat2",
                "openat",
                "openat",
                "fchmod",
                "fchmodat",
                "fchmodat2",
                "unlinkat",
                "open",
                "creat",
            ];
            arch.number(row(random.pick(&ARGUED))).unwrap_or(0).into()
        }
    };
    let foreign = random.next().is_multiple_of(50);
    SeccompData {
        nr,
        arch: if foreign { random.next() as u32 } else { arch.audit() },
        instruction_pointer: random.next(),
        args: std::array::from_fn(|_| random.argument()),
    }
}

/// FS7: compiler, assembler and interpreter against a judge that shares none of them.
#[test]
fn fs7_the_filter_decides_as_the_table_reads() {
    let mut random = Random(1);
    for arch in ARCHES {
        for options in all_options() {
            let program = compile(options, arch).unwrap();
            let mut allowed = 0;
            for _ in 0..SAMPLES / 8 {
                let data = random_data(&mut random, arch);
                let expected = oracle::judge(options, arch, &data);
                assert_eq!(judge(&program, &data), Ok(expected), "{options:?} {arch:?} {data:x?}");
                allowed += usize::from(expected == Action::Allow);
            }
            assert!((500..SAMPLES / 8 - 500).contains(&allowed), "one-sided sample: {allowed}");
        }
    }
}
