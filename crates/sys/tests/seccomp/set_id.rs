//! F20, P11: no file with a set-user-id or set-group-id bit is left behind, by any of the calls that
//! give a file its mode. In a writable bind such a file is on the host's disk, where nobody set
//! `no_new_privs`. Never makes one outside its own directory, and removes that.

use super::kernel::{Call, filtered_already, no_new_privs, results};
use super::*;
use ringfence_sys::seccomp::install;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Set-user-id, set-group-id, both, with permissions, with a type, all bits of a `umode_t`.
const MARKED: [u64; 9] =
    [0o4000, 0o2000, 0o6000, 0o4755, 0o2755, 0o7777, 0o104_755, 0o102_644, 0xffff];
/// Modes of a regular file without either bit; the last has junk above the 16 bits of a `umode_t`.
const UNMARKED: [u64; 8] = [0, 0o600, 0o644, 0o777, 0o1777, 0o100_755, 0o101_777, 0xffff_0000];

/// Calls whose mode always counts, with the mode's argument.
const MODES: [(&str, usize); 7] = [
    ("chmod", 1),
    ("fchmod", 1),
    ("fchmodat", 2),
    ("fchmodat2", 2),
    ("creat", 1),
    ("mknod", 1),
    ("mknodat", 2),
];
/// Calls whose mode counts where the flags make a file, with the flags' argument; the mode follows.
const OPENS: [(&str, usize); 2] = [("open", 1), ("openat", 2)];

const O_CREAT: u64 = 0o100;
const TMPFILE_BIT: u64 = 0o20_000_000;

/// Every filter that has `name`. What they do not refuse they allow, or tell (`notify_writes`).
fn filters(name: &str) -> impl Iterator<Item = Filter> {
    ARCHES
        .into_iter()
        .flat_map(|arch| all_options().map(move |options| Filter::new(options, arch)))
        .filter(move |filter| filter.has(name))
}

/// Arguments that are junk but for those given as (index, value).
fn arguments(given: &[(usize, u64)], junk: u64) -> [u64; 6] {
    let mut all = [junk; 6];
    for (at, value) in given {
        all[*at] = *value;
    }
    all
}

/// F20: by the calls whose mode always counts, whatever the other arguments and the upper halves.
#[test]
fn f20_modes_with_set_id_bits_are_refused() {
    for (name, at) in MODES {
        for filter in filters(name) {
            for junk in [0, u64::MAX] {
                for mode in MARKED.into_iter().flat_map(with_upper_halves) {
                    let answer = filter.call(name, &arguments(&[(at, mode)], junk));
                    assert_eq!(answer, EPERM, "{name} {mode:o} on {:?}", filter.arch);
                }
                for mode in UNMARKED.into_iter().flat_map(with_upper_halves) {
                    let answer = filter.call(name, &arguments(&[(at, mode)], junk));
                    assert_ne!(answer, EPERM, "{name} {mode:o} on {:?}", filter.arch);
                    // Without namespaces the supervisor makes the change; the nodes are Landlock's.
                    if filter.shared && name.contains("chmod") {
                        assert_eq!(answer, Action::Notify, "{name} {mode:o} on {:?}", filter.arch);
                    }
                }
            }
        }
    }
}

/// F20: by open, where its flags make a file. The kernel's flags are an `int`, so what looks like a
/// flag in the upper half is none and makes nothing.
#[test]
fn f20_files_are_not_made_with_set_id_bits() {
    // O_CREAT alone, with WRONLY and TRUNC, with RDWR, EXCL and CLOEXEC, with PATH, O_TMPFILE with
    // the O_DIRECTORY of x86_64, of aarch64, and with none.
    let makes = [
        O_CREAT,
        O_CREAT | 0o1001,
        O_CREAT | 0o2_000_202,
        O_CREAT | 0o10_000_000,
        TMPFILE_BIT | 0o200_002,
        TMPFILE_BIT | 0o40_001,
        TMPFILE_BIT,
        0xffff_ffff,
    ];
    // RDONLY, WRONLY, RDWR and TRUNC, CLOEXEC, DIRECTORY of both, PATH with NOFOLLOW of both.
    let makes_nothing =
        [0, 1, 0o1002, 0o2_000_000, 0o200_000, 0o40_000, 0o10_400_000, 0o10_100_000];
    for (name, at) in OPENS {
        for filter in filters(name) {
            let ask = |flags: u64, mode: u64| {
                filter.call(name, &arguments(&[(at, flags), (at + 1, mode)], u64::MAX))
            };
            for flags in makes.into_iter().flat_map(with_upper_halves) {
                for mode in MARKED.into_iter().flat_map(with_upper_halves) {
                    assert_eq!(ask(flags, mode), EPERM, "{name} {flags:o} {mode:o}");
                }
                for mode in UNMARKED.into_iter().flat_map(with_upper_halves) {
                    assert_ne!(ask(flags, mode), EPERM, "{name} {flags:o} {mode:o}");
                }
            }
            for flags in makes_nothing.into_iter().flat_map(with_upper_halves) {
                // Programs leave anything in a register that the kernel does not read.
                for mode in MARKED.into_iter().chain([u64::MAX]) {
                    assert_ne!(ask(flags, mode), EPERM, "{name} {flags:o} {mode:o}");
                }
            }
            for high in [O_CREAT << 32, TMPFILE_BIT << 32] {
                assert_eq!(ask(high, 0o4755), Action::Allow, "{name}");
            }
        }
    }
}

/// F20, F25: a call that takes the mode from memory is not there, so that programs fall back.
#[test]
fn f20_f25_openat2_is_missing() {
    for filter in filters("openat2") {
        for junk in [0, u64::MAX] {
            assert_eq!(filter.call("openat2", &[junk; 6]), ENOSYS);
        }
    }
}

/// An empty directory of this process, removed with what is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfence-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn c_path(&self, name: &str) -> CString {
        CString::new(self.0.join(name).as_os_str().as_bytes()).unwrap()
    }

    /// A file with an ordinary mode.
    fn file(&self, name: &str) -> File {
        let file = File::create(self.0.join(name)).unwrap();
        file.set_permissions(Permissions::from_mode(0o755)).unwrap();
        file
    }

    /// Name and mode of everything in it, sorted.
    fn listing(&self) -> Vec<(String, u32)> {
        let mut all: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().mode() & 0o7777))
            .collect();
        all.sort();
        all
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a directory that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Calls, and what their arguments point to.
struct Attempts {
    _paths: Vec<CString>,
    _open: File,
    calls: Vec<Call>,
}

/// Every call that can leave a set-id file in `scratch`, each on a name of its own.
fn attempts(scratch: &Scratch) -> Attempts {
    use libc::*;
    const HERE: u64 = AT_FDCWD as u64;
    scratch.file("chmodat");
    scratch.file("chmodat2");
    scratch.file("group");
    let open = scratch.file("open");
    let names = [
        "chmodat", "chmodat2", "group", "made", "node", "", "chmod", "creat", "opened", "old-node",
    ];
    let paths: Vec<CString> = names.iter().map(|name| scratch.c_path(name)).collect();
    let at =
        |name: &str| paths[names.iter().position(|other| *other == name).unwrap()].as_ptr() as u64;
    let make = (O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC) as u64;
    let unnamed = (O_WRONLY | O_TMPFILE | O_CLOEXEC) as u64;
    let regular = u64::from(S_IFREG | 0o4755);
    #[allow(unused_mut, reason = "aarch64 has none of the old calls")]
    let mut calls: Vec<Call> = vec![
        ("fchmodat", SYS_fchmodat, [HERE, at("chmodat"), 0o4755, 0, 0, 0]),
        ("fchmodat2", SYS_fchmodat2, [HERE, at("chmodat2"), 0o4755, 0, 0, 0]),
        ("fchmodat, group", SYS_fchmodat, [HERE, at("group"), 0o2755, 0, 0, 0]),
        ("fchmod", SYS_fchmod, [open.as_raw_fd() as u64, 1 << 32 | 0o4755, 0, 0, 0, 0]),
        ("openat", SYS_openat, [HERE, at("made"), make, 0o4755, 0, 0]),
        ("openat, unnamed", SYS_openat, [HERE, at(""), unnamed, 0o4755, 0, 0]),
        ("mknodat", SYS_mknodat, [HERE, at("node"), regular, 0, 0, 0]),
    ];
    #[cfg(target_arch = "x86_64")]
    {
        scratch.file("chmod");
        calls.extend([
            ("chmod", SYS_chmod, [at("chmod"), 0o4755, 0, 0, 0, 0]),
            ("creat", SYS_creat, [at("creat"), 0o4755, 0, 0, 0, 0]),
            ("open", SYS_open, [at("opened"), make, 0o4755, 0, 0, 0]),
            ("mknod", SYS_mknod, [at("old-node"), regular, 0, 0, 0, 0]),
        ]);
    }
    Attempts { _paths: paths, _open: open, calls }
}

/// F20, P11: in the real kernel nothing is marked and nothing is made; the control group does both.
#[test]
fn f20_p11_no_set_id_file_is_left_behind() {
    let scratch = Scratch::new("set-id");
    let tried = attempts(&scratch);
    let before = scratch.listing();
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    for (call, result) in tried.calls.iter().zip(results(&tried.calls, Some(&program))) {
        assert_eq!(result, -i64::from(libc::EPERM), "{}", call.0);
    }
    assert_eq!(scratch.listing(), before, "a refused call had an effect");
    if filtered_already() {
        return;
    }
    let control = Scratch::new("set-id-control");
    let tried = attempts(&control);
    for (call, result) in tried.calls.iter().zip(results(&tried.calls, None)) {
        // Linux before 6.6; a file system without unnamed files.
        let missing = match call.0 {
            "fchmodat2" => result == -i64::from(libc::ENOSYS),
            "openat, unnamed" => result == -i64::from(libc::EOPNOTSUPP),
            _ => false,
        };
        assert!(missing || result >= 0, "control group: {}: {result}", call.0);
    }
    let marked = control.listing().iter().filter(|(_, mode)| mode & 0o6000 != 0).count();
    // All names but that of fchmodat2, which may be missing.
    let least = control.listing().len() - 1;
    assert!(marked >= least, "control group: {:?}", control.listing());
}

/// The same calls with ordinary modes, sticky included, and open without O_CREAT but with junk.
#[test]
fn ordinary_modes_work_under_the_filter() {
    use libc::*;
    const HERE: u64 = AT_FDCWD as u64;
    let scratch = Scratch::new("modes");
    let open = scratch.file("open");
    let path = scratch.c_path("open");
    let (made, node, directory) =
        (scratch.c_path("made"), scratch.c_path("node"), scratch.c_path("directory"));
    let make = (O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC) as u64;
    let calls: Vec<Call> = vec![
        ("fchmodat", SYS_fchmodat, [HERE, path.as_ptr() as u64, 0o700, 0, 0, 0]),
        ("fchmod", SYS_fchmod, [open.as_raw_fd() as u64, 0o1640, 0, 0, 0, 0]),
        ("openat", SYS_openat, [HERE, made.as_ptr() as u64, make, 0o600, 0, 0]),
        ("openat, no mode", SYS_openat, [HERE, path.as_ptr() as u64, 0, u64::MAX, 0, 0]),
        ("mknodat", SYS_mknodat, [HERE, node.as_ptr() as u64, u64::from(S_IFIFO | 0o600), 0, 0, 0]),
        ("mkdirat", SYS_mkdirat, [HERE, directory.as_ptr() as u64, 0o6700, 0, 0, 0]),
    ];
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    for (call, result) in calls.iter().zip(results(&calls, Some(&program))) {
        assert!(result >= 0, "{}: {result}", call.0);
    }
    // Why mkdir needs no rule: the kernel drops the bits itself.
    let expected = [("directory", 0o700), ("made", 0o600), ("node", 0o600), ("open", 0o1640)];
    let seen = scratch.listing();
    let inherited = fs::metadata(&scratch.0).unwrap().mode() & 0o2000;
    for ((name, mode), (expected_name, expected_mode)) in seen.iter().zip(expected) {
        let inherited = if expected_name == "directory" { inherited } else { 0 };
        assert_eq!((name.as_str(), *mode), (expected_name, expected_mode | inherited));
    }
    assert_eq!(seen.len(), expected.len());
}

fn filtered_shell(directory: &Path, script: &str) -> Output {
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).current_dir(directory);
    // SAFETY: `install` and prctl allocate nothing and are async-signal-safe.
    unsafe {
        shell.pre_exec(move || {
            no_new_privs();
            install(&program, false).map(|_| ())
        });
    }
    shell.output().unwrap()
}

/// F20: real programs; what they do without set-id bits works, a copy of a marked file included.
#[test]
fn f20_real_programs_leave_no_set_id_file() {
    let scratch = Scratch::new("set-id-programs");
    let marked = scratch.file("marked");
    marked.set_permissions(Permissions::from_mode(0o6755)).unwrap();
    let script = "echo x > plain && chmod 755 plain && chmod a+x,g-w plain && cp marked copy && \
                  mkdir -p a/b && chmod 1777 a && cp -r a c && mv c d && rm -r d || exit 9; \
                  chmod u+s plain && exit 1; chmod 2755 plain && exit 2; chmod g+s a && exit 3; \
                  cp -p marked kept; test -u kept && exit 4; test -g kept && exit 5; \
                  mv marked moved && chmod 755 moved || exit 6; exit 0";
    let output = filtered_shell(&scratch.0, script);
    assert!(output.status.success(), "{output:?}");
    for (name, mode) in scratch.listing() {
        assert_eq!(mode & 0o6000, 0, "{name} {mode:o}");
    }
}
