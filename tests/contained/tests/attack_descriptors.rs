//! Attacks by open descriptors: F27, FS5, S25.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use ringfence_contained_tests::{Fixture, Outcome};

fn census(outcome: &Outcome) -> Vec<&str> {
    outcome.answers().into_iter().filter(|(id, _)| *id == "fd").map(|(_, what)| what).collect()
}

fn number(line: &str) -> u32 {
    line.split(' ').next().unwrap().parse().unwrap()
}

/// F27, FS5: descriptors that the caller left open do not come in.
#[test]
fn f27_fs5_inherited_descriptors_are_closed() {
    let fixture = Fixture::new();
    let preparation =
        "exec 10<\"$HOME/.ssh/id_rsa\" 251<\"$HOME\" 77<>\"$HOME/notes/token.txt\" 5<>/dev/tcp-none/0 || true
         exec 10<\"$HOME/.ssh/id_rsa\" 251<\"$HOME\" 77<>\"$HOME/notes/token.txt\"";
    let job = fixture.job();
    let outside = job.behind(preparation, job.attack_argv(&["descriptors"])).wait();
    for inherited in [10, 77, 251] {
        let there = census(&outside).iter().any(|line| number(line) == inherited);
        assert!(there, "control group: {inherited}: {outside:?}");
    }
    let inside = job.behind(preparation, job.words(job.attack_argv(&["descriptors"]))).wait();
    let mut numbers: Vec<u32> = census(&inside).iter().map(|line| number(line)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2], "{inside:?}");
    for line in census(&inside) {
        assert!(!line.contains("/home/"), "a descriptor of the host's files: {line}");
    }
}

/// F27, FS5: no process inside, init included, holds a descriptor of the host that can be seen.
#[test]
fn f27_fs5_no_process_inside_shows_a_descriptor_of_the_host() {
    let fixture = Fixture::new();
    let inside =
        fixture.contained("ls -l /proc/1/fd /proc/1/root /proc/1/cwd /proc/1/exe 2>&1; exit 0");
    let state = fixture.state().display().to_string();
    assert!(!inside.stdout.contains(&state), "{inside:?}");
    let looked = fixture.contained("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -- '->'");
    for line in looked.stdout.lines() {
        let kind = line.rsplit("-> ").next().unwrap();
        let plain = ["pipe:", "/dev/null", "/proc/", "socket:", "anon_inode:", "/dev/pts"];
        assert!(plain.iter().any(|p| kind.starts_with(p)), "{line}");
    }
}

/// F27: a descriptor that is passed over a socket permits no more than the opening did.
#[test]
fn f27_a_passed_descriptor_obeys() {
    let fixture = Fixture::new();
    let notes = fixture.home().join("notes");
    let token = notes.join("token.txt");
    let before = std::fs::read_to_string(&token).unwrap();
    let job = fixture.job().flags(["--ro", notes.to_str().unwrap()]);
    let inside = job.attack(&["pass-descriptor", token.to_str().unwrap()]);
    assert_eq!(inside.answer("read-passed"), "DONE");
    assert_eq!(inside.answer("write-passed"), "EBADF");
    assert!(["EROFS", "EACCES"].contains(&inside.answer("reopen-for-writing")), "{inside:?}");
    assert_eq!(std::fs::read_to_string(&token).unwrap(), before);
    let outside = job.unprotected_attack(&["pass-descriptor", token.to_str().unwrap()]);
    assert_eq!(outside.answer("reopen-for-writing"), "DONE", "control group");
}

/// FS5: standard streams that are closed at the start do not become files of ringfence's own.
#[test]
fn fs5_closed_standard_streams_are_no_hole() {
    let fixture = Fixture::new();
    let job = fixture.job();
    for closing in ["exec <&-", "exec 2>&-", "exec <&- 2>&-"] {
        let inside = job.behind(closing, job.words(job.attack_argv(&["descriptors"]))).wait();
        for line in census(&inside) {
            assert!(number(line) <= 2, "{closing}: {line}");
            assert!(!line.contains(fixture.root().to_str().unwrap()), "{closing}: {line}");
        }
        assert!([0, 125].contains(&inside.code), "{closing}: {inside:?}");
    }
}

/// F27, FS5: a directory or a file of the host as a standard stream is no way out of the view, and
/// no way to more than it was opened for.
#[test]
fn f27_standard_streams_are_no_way_out() {
    let fixture = Fixture::new();
    let token = fixture.home().join("notes/token.txt");
    let before = std::fs::read_to_string(&token).unwrap();
    let mode = || std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&token).unwrap());
    let mode_before = mode();
    let through_directory = "chdir(STDIN); open(F, \"<\", \"id_rsa\") and print <F>;
        open(F, \"<\", \"/proc/self/fd/0/id_rsa\") and print <F>; opendir(D, \"/dev/stdin\") and print readdir D;";
    let through_file = "chmod(0777, \"/proc/self/fd/0\"); open(F, \"+<\", \"/proc/self/fd/0\") and print F \"WRITTEN\";";
    let job = fixture.job();
    let run = |preparation: &str, script: &str, contained: bool| {
        let argv = ["perl", "-e", script].map(std::ffi::OsString::from);
        let words = if contained { job.words(argv) } else { argv.to_vec() };
        job.behind(preparation, words).wait()
    };
    let (directory, file) = ("exec < \"$HOME/.ssh\"", "exec < \"$HOME/notes/token.txt\"");
    let inside = run(directory, through_directory, true);
    assert!(!inside.text().contains("CANARY-ssh"), "{inside:?}");
    assert!(!inside.stdout.contains("id_rsa"), "the host's directory was listed: {inside:?}");
    let inside = run(file, through_file, true);
    assert_eq!(std::fs::read_to_string(&token).unwrap(), before, "{inside:?}");
    assert_eq!(mode(), mode_before, "{inside:?}");
    let outside = run(directory, through_directory, false);
    assert!(outside.stdout.contains("CANARY-ssh"), "control group: {outside:?}");
    let _ = run(file, through_file, false);
    assert_ne!(mode(), mode_before, "control group");
    assert!(std::fs::read_to_string(&token).unwrap().contains("WRITTEN"), "control group");
}
