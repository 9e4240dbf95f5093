//! Tests of the syscall filter: the table, the compiled program against two independent judges,
//! and the real kernel. They never change anything outside the test's own child processes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod differential;
mod docs;
mod filter;
mod kernel;
mod notify;
mod oracle;
#[cfg(feature = "test-libseccomp")]
mod second_opinion;
mod set_id;
mod table;

use ringfence_sys::bpf::{Program, SeccompData};
use ringfence_sys::seccomp::{Action, Arch, Options, SYSCALLS, Syscall, compile, judge};

/// Every combination of options.
fn all_options() -> impl Iterator<Item = Options> {
    (0..32).map(|bits| Options {
        debug: bits & 1 != 0,
        exec_base: bits & 2 != 0,
        notify_exec: bits & 4 != 0,
        shared: bits & 8 != 0,
        notify_writes: bits & 16 != 0,
    })
}

const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

const PLAIN: Options = Options {
    debug: false,
    exec_base: false,
    notify_exec: false,
    shared: false,
    notify_writes: false,
};

fn row(name: &str) -> &'static Syscall {
    SYSCALLS.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no row for {name}"))
}

/// Asks one compiled filter by name.
struct Filter {
    program: Program,
    arch: Arch,
    shared: bool,
}

impl Filter {
    fn new(options: Options, arch: Arch) -> Self {
        Self { program: compile(options, arch).unwrap(), arch, shared: options.shared }
    }

    fn has(&self, name: &str) -> bool {
        self.arch.number(row(name)).is_some()
    }

    fn number(&self, nr: u32, args: &[u64]) -> Action {
        let mut data =
            SeccompData { nr, arch: self.arch.audit(), instruction_pointer: 0, args: [0; 6] };
        data.args[..args.len()].copy_from_slice(args);
        judge(&self.program, &data).unwrap()
    }

    fn call(&self, name: &str, args: &[u64]) -> Action {
        self.number(self.arch.number(row(name)).unwrap().into(), args)
    }
}

/// Arguments that look like `value` to a kernel that drops the upper half.
fn with_upper_halves(value: u64) -> [u64; 4] {
    let low = value & 0xffff_ffff;
    [low, low | 0xffff_ffff_0000_0000, low | 1 << 32, low | 1 << 63]
}

const EPERM: Action = Action::Errno(1);
const EINVAL: Action = Action::Errno(22);
const ENOTTY: Action = Action::Errno(25);
const ENOSYS: Action = Action::Errno(38);
const EPROTONOSUPPORT: Action = Action::Errno(93);
const EOPNOTSUPP: Action = Action::Errno(95);
const EAFNOSUPPORT: Action = Action::Errno(97);

/// Deterministic pseudo-random numbers (splitmix64), so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }

    /// Values around everything that a rule compares, with and without upper halves.
    fn argument(&mut self) -> u64 {
        const EDGES: [u64; 52] = [
            0,
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            9,
            10,
            13,
            16,
            17,
            35,
            38,
            40,
            54,
            67,
            79,
            80,
            132,
            136,
            262,
            0x80,
            0x800,
            0x80000,
            0x80801,
            0x80002,
            0x40000,
            0x400000,
            0x1000_0000,
            0x2000_0000,
            0x5412,
            0x541c,
            0x4b47,
            0x9401,
            0x4004_9409,
            0xbc10,
            0x21b6,
            0x81a4,
            0o4755,
            0o2755,
            0o6000,
            0o104_644,
            0o100,
            0o1101,
            0o20_200_002,
            0o20_000_000,
            0x5356_4d41,
            0x5961_6d61,
            0xffff_ffff,
        ];
        match self.next() % 8 {
            0 => self.next(),
            1 => 1 << (self.next() % 64),
            2 => self.pick(&EDGES) | (self.next() << 32),
            3 => self.pick(&EDGES).wrapping_add(self.next() % 3).wrapping_sub(1),
            4 => self.pick(&EDGES) | self.pick(&EDGES),
            _ => self.pick(&EDGES),
        }
    }
}
