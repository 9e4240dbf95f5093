//! Attacks on how a view is made and read: F20 to F28, F33 to F37, with controls FS4, FS6, PB4.
//!
//! Nothing here may touch a real secret: every target is a decoy of the fixture.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use ringfence_contained_tests::{Fixture, expose, is_root, write_script};

/// What a refused change may answer: read-only mount, Landlock, ownership, mount point, other mount.
const REFUSALS: [&str; 5] = ["EROFS", "EACCES", "EPERM", "EBUSY", "EXDEV"];

fn read_host(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// F20, FS6: set-user-id bits are inert: no mount honours them.
#[test]
fn f20_set_user_id_bits_are_inert() {
    let fixture = Fixture::new();
    let inside = fixture.contained(
        "cp /usr/bin/id mine && ! chmod 6755 mine 2>/dev/null && ./mine -u; /usr/bin/id -u; cat /proc/self/mountinfo",
    );
    let mut lines = inside.stdout.lines();
    let (marked, plain) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(marked, plain, "{inside:?}");
    assert_ne!(plain, "0");
    for line in lines {
        // A device node bound by itself has no bits to honour.
        let node = line.split(' ').nth(4).unwrap().strip_prefix("/dev/");
        if node.is_some_and(|name| {
            ["null", "zero", "full", "random", "urandom", "tty"].contains(&name)
        }) {
            continue;
        }
        assert!(line.contains("nosuid"), "a mount honours set-user-id bits: {line}");
    }
}

/// F20, P11: no file of the host gets a set-user-id bit, in whatever way a workspace is written.
#[test]
fn f20_no_set_user_id_file_is_left_on_the_host() {
    let fixture = Fixture::new();
    let script = "cp /usr/bin/id a; chmod 4755 a; install -m 6755 /usr/bin/id b; cp /usr/bin/id c; chmod g+s c; true";
    let marked = |project: &Path| {
        fs::read_dir(project)
            .unwrap()
            .filter(|entry| {
                entry.as_ref().unwrap().metadata().unwrap().permissions().mode() & 0o6000 != 0
            })
            .count()
    };
    let inside = fixture.job().flags(["--workspace", "direct"]).sh(script);
    assert_eq!(inside.code, 0, "{inside:?}");
    assert_eq!(marked(&fixture.project()), 0);
    let outside = fixture.unprotected(script);
    assert_eq!(outside.code, 0, "{outside:?}");
    assert!(marked(&fixture.project()) >= 1, "control group: nothing was marked");
}

/// F21: no device node; a fifo and a socket stay in the layer (F33).
#[test]
fn f21_f33_no_device_and_special_files_stay_in_the_layer() {
    let fixture = Fixture::new();
    let before = listing(&fixture.project());
    let inside = fixture.contained(
        "mknod device c 1 3; echo \"device $?\"; mknod disk b 8 0; echo \"disk $?\"
         mkfifo fifo; echo \"fifo $?\"; ln -s /etc/passwd link; echo x > plain
         perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"sock\")) or die'; ls",
    );
    assert!(inside.stdout.contains("device 1") && inside.stdout.contains("disk 1"), "{inside:?}");
    assert!(inside.stderr.contains("Operation not permitted"), "{inside:?}");
    assert!(inside.stdout.contains("fifo 0") && inside.stdout.contains("sock"), "{inside:?}");
    assert_eq!(listing(&fixture.project()), before, "the host's project changed");
}

fn listing(directory: &Path) -> Vec<(String, u64, u32)> {
    let mut all: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            (entry.file_name().to_string_lossy().into_owned(), metadata.ino(), metadata.mode())
        })
        .collect();
    all.sort();
    all
}

/// F22: a file handle is neither given nor taken.
#[test]
fn f22_no_file_handles() {
    let fixture = Fixture::new();
    let key = fixture.home().join(".ssh/id_rsa").display().to_string();
    let outside = fixture.job().unprotected_attack(&["handles", &key]);
    assert_eq!(outside.answer("take-handle"), "DONE", "control group");
    if is_root() {
        assert_eq!(outside.answer("open-handle"), "DONE", "control group");
    }
    let inside = fixture.job().attack(&["handles", "/usr/bin/env"]);
    assert_eq!(inside.answer("take-handle"), "EPERM");
    assert_eq!(inside.answer("open-handle"), "EPERM");
}

/// F23: the links of /proc lead to the same view, not to the host's.
#[test]
fn f23_proc_links_lead_to_the_same_view() {
    let fixture = Fixture::new();
    let key = fixture.home().join(".ssh/id_rsa").display().to_string();
    let mut attempts = Vec::new();
    for way in
        ["self/root", "thread-self/root", "1/root", "2/root", "self/cwd/../../../../../../../.."]
    {
        attempts.push(format!("{way}\tread\t/proc/{way}{key}"));
    }
    for way in ["1/cwd", "1/exe", "1/fd", "1/environ", "1/mem", "1/maps", "1/ns/mnt"] {
        attempts.push(format!("{way}\tread\t/proc/{way}"));
    }
    let outside = fixture.job().unprotected_batch(&attempts);
    assert_eq!(outside.answer("self/root"), "DONE", "control group");
    let inside = fixture.job().batch(&attempts);
    for (id, answer) in inside.answers() {
        let refused = ["ENOENT", "EACCES", "EPERM"].contains(&answer);
        // The first process's working directory is the empty root of the sandbox at most.
        assert!(refused || (id == "1/cwd" && answer == "EISDIR"), "{id}: {answer}");
    }
    assert_eq!(inside.answers().len(), attempts.len());
}

/// F25: every call that changes a file is refused where the mount is read-only.
#[test]
fn f25_no_system_call_is_forgotten() {
    let fixture = Fixture::new();
    let victim = fixture.home().join("notes/token.txt");
    let notes = fixture.home().join("notes");
    let before = (read_host(&victim), fs::metadata(&victim).unwrap().mode());
    let job = fixture.job().flags(["--ro", notes.to_str().unwrap()]);
    let inside = job.attack(&["variants", victim.to_str().unwrap()]);
    assert!(inside.answers().len() >= 12, "{inside:?}");
    assert_eq!((read_host(&victim), fs::metadata(&victim).unwrap().mode()), before);
    let outside = fixture.job().unprotected_attack(&["variants", victim.to_str().unwrap()]);
    // Calls that came with Linux 6.6 and 6.13: an older kernel has none for anybody.
    let newer = |id: &str| ["setxattrat", "fchmodat2"].contains(&id);
    let absent = |id: &str| newer(id) && outside.answer(id) == "ENOSYS";
    for (id, answer) in inside.answers() {
        let there = id == "mknodat" && answer == "EEXIST";
        let there = there || (absent(id) && answer == "ENOSYS");
        // Its mode is behind a pointer that no filter can look at, so it does not exist inside.
        let there = there || (id == "openat2" && answer == "ENOSYS");
        assert!(there || REFUSALS.contains(&answer), "{id}: {answer}");
    }
    for (id, answer) in outside.answers() {
        let new = newer(id) && answer == "ENOSYS";
        let no_attributes = id.starts_with("setxattr") && answer == "EOPNOTSUPP";
        assert!(new || no_attributes || answer == "DONE", "control group: {id}: {answer}");
    }
}

/// F26, S09, FS4: swapping a directory for a link while it is written to gains nothing.
#[test]
fn f26_a_swapped_directory_gains_nothing() {
    let fixture = Fixture::new();
    let notes = fixture.home().join("notes");
    let rounds = "5000";
    for victim in [notes.join("token.txt"), fixture.project().join(".git/config")] {
        let before = read_host(&victim);
        let job = fixture.job().flags(["--workspace", "direct", "--ro", notes.to_str().unwrap()]);
        let inside = job.attack(&["race", victim.to_str().unwrap(), rounds]);
        assert_eq!(inside.code, 0, "{inside:?}");
        assert_ne!(inside.answer("refused"), "0", "the race never met the link: {inside:?}");
        assert_eq!(read_host(&victim), before, "{inside:?}");
        remove_race(&fixture);
    }
    let victim = notes.join("token.txt");
    let outside = fixture.job().unprotected_attack(&["race", victim.to_str().unwrap(), rounds]);
    assert_eq!(read_host(&victim), "attack", "control group: {outside:?}");
}

fn remove_race(fixture: &Fixture) {
    for name in ["swap", "swap-link"] {
        let path = fixture.project().join(name);
        if path.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
}

/// F28: a link that an earlier run left in a kept home does not move the next run's mounts.
#[test]
fn f28_a_planted_link_does_not_move_a_mount() {
    let fixture = Fixture::new();
    let outside = fixture.root().join("outside");
    fs::create_dir(&outside).unwrap();
    let first = fixture.home().join("first");
    fs::create_dir_all(first.join(".git")).unwrap();
    let plant = format!(
        "rm -rf \"$HOME/work\"; ln -s '{}' \"$HOME/work\"; readlink \"$HOME/work\"",
        outside.display()
    );
    let named = fixture.job().flags(["--name", "kept"]);
    let planted = named.clone().directory(&first).sh(&plant);
    assert_eq!(planted.stdout.trim(), outside.to_str().unwrap(), "{planted:?}");
    let second = named.sh("pwd; cat README.md; echo WRITTEN > new");
    assert!(fs::read_dir(&outside).unwrap().next().is_none(), "a mount went astray: {second:?}");
    if second.code != 0 {
        assert_eq!(second.code, 125, "{second:?}");
    }
}

/// F28, F02: a program named on the command line does not open the directory around it, and a link
/// in the workspace does not open what it points to.
#[test]
fn f28_f02_a_program_opens_nothing_but_itself() {
    let fixture = Fixture::new();
    let probe = "#!/bin/sh\necho program-ran\ncat \"$HOME/notes/token.txt\" \"$HOME/work/sibling/secret.txt\"\nexit 0\n";
    for place in ["notes/tool", "work/tool"] {
        let tool = fixture.home().join(place);
        write_script(&tool, probe);
        // As an earlier run of an agent in a direct workspace could leave it.
        let link = fixture.project().join("run");
        let _ = fs::remove_file(&link);
        symlink(&tool, &link).unwrap();
        for program in [tool.to_str().unwrap(), "./run"] {
            assert!(!expose(&fixture.unprotected(program).stdout).is_empty(), "control group");
            let inside = fixture.job().argv([program]);
            assert_eq!(expose(&inside.text()), Vec::<&str>::new(), "{program}: {inside:?}");
        }
    }
}

/// F34, C13: odd names and arguments are escaped wherever they are shown.
#[test]
fn f34_odd_names_are_shown_escaped() {
    let fixture = Fixture::new();
    let odd = "a\u{1b}]52;c;aGk=\u{7}\u{1b}[31mred\nsecond\r-rf\u{202e}";
    let outcome = fixture.job().argv(["sh", "-c", "exit 3", odd]);
    assert_eq!(outcome.code, 3, "{outcome:?}");
    let run = fixture.runs().pop().unwrap();
    for verb in
        [vec!["logs", &run], vec!["logs", &run, "--json"], vec!["ps"], vec!["inspect", &run]]
    {
        let shown = fixture.ringfence(&verb);
        // JSON in its canonical form (RFC 8785) escapes control characters and nothing else.
        let json = verb.contains(&"--json");
        for raw in ['\u{1b}', '\u{7}', '\r', '\u{202e}'] {
            if json && raw == '\u{202e}' {
                continue;
            }
            assert!(!shown.text().contains(raw), "{verb:?} shows {raw:?} raw");
        }
    }
}

/// F36: a workspace that contains everything, or ringfence's own files, is refused.
#[test]
fn f36_an_over_broad_workspace_is_refused() {
    let fixture = Fixture::new();
    let ran = fixture.root().join("ran");
    let script = format!("echo ran > '{}'; echo ran", ran.display());
    for directory in [Path::new("/"), &fixture.home(), fixture.root()] {
        let outcome = fixture.job().directory(directory).sh(&script);
        assert_eq!(outcome.code, 125, "{}: {outcome:?}", directory.display());
        assert!(!outcome.stdout.contains("ran"), "{}: {outcome:?}", directory.display());
        assert!(outcome.stderr.contains(directory.to_str().unwrap()), "{outcome:?}");
    }
    assert_eq!(fixture.contained("exit 0").code, 0, "control group: the project itself");
}

/// F37: nothing of the product's own is in a shared temporary directory.
#[test]
fn f37_no_predictable_temporary_file() {
    let fixture = Fixture::new();
    let shared = fixture.root().join("shared-tmp");
    fs::create_dir(&shared).unwrap();
    let entries = |place: &Path, part: &str| -> Vec<String> {
        let names =
            fs::read_dir(place).unwrap().filter_map(|e| e.ok()?.file_name().into_string().ok());
        names.filter(|name| name.contains(part)).collect()
    };
    let run_files = entries(Path::new("/tmp"), "ringfence");
    let mut live =
        fixture.job().env("TMPDIR", &shared).start_sh("echo up; sleep 0.3; touch /tmp/mine");
    live.wait_for("up");
    assert_eq!(entries(&shared, ""), Vec::<String>::new());
    assert_eq!(entries(Path::new("/tmp"), "ringfence"), run_files);
    assert_eq!(live.wait().code, 0);
    assert_eq!(entries(&shared, ""), Vec::<String>::new());
    assert!(!Path::new("/tmp/mine").exists());
}
