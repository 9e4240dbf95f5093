//! Ways to run what should not run, and to show that its effects stay inside: P08, P09, S13, S14, PB6.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use ringfence_contained_tests::Fixture;

/// P09, S13, S14, S15, PB6, PB8: whatever way a program is started, its effects stay inside.
#[test]
fn p09_s13_s14_every_way_to_start_a_program_stays_inside() {
    let fixture = Fixture::new();
    let ways = [
        "cat \"$KEY\"",
        "sh -c 'cat \"$KEY\"'",
        "env cat \"$KEY\"",
        "setsid cat \"$KEY\"",
        "nohup cat \"$KEY\"",
        "timeout 5 cat \"$KEY\"",
        "xargs cat < list",
        "find / -maxdepth 0 -exec cat \"$KEY\" ';'",
        "cp /bin/cat ./innocent && ./innocent \"$KEY\"",
        "ln -sf /bin/cat ./link && ./link \"$KEY\"",
        "$(ls /lib64/ld-linux*.so* | head -1) /bin/cat \"$KEY\"",
        "perl -e 'open F, $ENV{KEY}; print <F>'",
        "bash -c 'cat <(cat \"$KEY\")'",
        "bash -c 'cat < <(cat \"$KEY\")'",
        "eval cat '\"$KEY\"'",
        "echo 'cat \"$KEY\"' | sh",
        "git -c core.pager=cat -c alias.x='!cat \"$KEY\"' x",
        "awk '{print}' \"$KEY\"",
        "dd if=\"$KEY\" status=none",
        "tar cf - -C / \"${KEY#/}\"",
        "\"$TOOLS/ringfence-attack\" memfd-exec /bin/cat \"$KEY\"",
    ];
    let key = fixture.home().join(".ssh/id_rsa");
    let job = fixture.job().env("KEY", &key);
    let mut flag = std::ffi::OsString::from("KEY=");
    flag.push(&key);
    let job = job.flags(["--env".into(), flag]);
    std::fs::write(fixture.project().join("list"), format!("{}\n", key.display())).unwrap();
    let script: String = ways
        .iter()
        .enumerate()
        .map(|(number, way)| format!("echo \"way {number}\"; ( {way} ) 2>&1\n"))
        .collect::<String>()
        + &"true && ".repeat(51)
        + "cat \"$KEY\"; exit 0";
    let outside = job.unprotected_sh(&script);
    let inside = job.sh(&script);
    assert_eq!(outside.stdout.matches("CANARY-ssh").count(), ways.len() + 1, "{outside:?}");
    assert!(inside.stdout.contains(&format!("way {}", ways.len() - 1)), "{inside:?}");
    assert!(!inside.text().contains("CANARY-ssh"), "{inside:?}");
}

/// P08: with `exec = "base"` no program that the agent brings can be started by path or from memory.
#[test]
fn p08_exec_base_starts_only_the_base() {
    let fixture = Fixture::new();
    let script = "for d in . \"$HOME\" /tmp /var/tmp /dev/shm; do
            cp /bin/echo $d/own && $d/own RAN; echo \"$d $?\"; done 2>/dev/null
        printf '#!/bin/sh\\necho RAN\\n' > s; chmod +x s; ./s; echo \"script $?\"
        /bin/echo base-runs; exit 0";
    let any = fixture.job().sh(script);
    // /dev/shm is never a place to start programs from.
    assert!(any.stdout.matches("RAN").count() >= 5, "control group: {any:?}");
    for mode in ["review", "direct"] {
        let base = fixture.job().flags(["--exec", "base", "--workspace", mode]);
        let inside = base.sh(script);
        assert!(inside.stdout.contains("base-runs"), "{mode}: {inside:?}");
        assert!(!inside.stdout.contains("RAN"), "{mode}: {inside:?}");
        assert_eq!(inside.stdout.matches(" 126").count(), 6, "{mode}: {inside:?}");
        // The attack program itself lies in a grant of the person, not of the agent.
        let memory = base.attack(&["memfd-exec", "/bin/echo", "RAN"]);
        if memory.code != 126 {
            assert_eq!(memory.answer("memfd-exec"), "EPERM", "{mode}: {memory:?}");
        }
    }
}

/// P08: with `exec = "any"` a payload in memory runs, and is as confined as everything else.
#[test]
fn p08_a_payload_in_memory_is_confined() {
    let fixture = Fixture::new();
    let key = fixture.home().join(".ssh/id_rsa").display().to_string();
    let outside = fixture.job().unprotected_attack(&["memfd-exec", "/bin/cat", &key]);
    assert!(outside.stdout.contains("CANARY-ssh"), "control group: {outside:?}");
    let inside = fixture.job().attack(&["memfd-exec", "/bin/cat", &key]);
    assert_eq!(inside.code, 1, "{inside:?}");
    assert!(!inside.text().contains("CANARY-ssh"), "{inside:?}");
    assert!(inside.stderr.contains("No such file"), "{inside:?}");
}

/// PB1: programs that are not there, cannot be started, or end badly have a shell's exit codes.
#[test]
fn pb1_exit_codes_are_those_of_a_shell() {
    let fixture = Fixture::new();
    assert_eq!(fixture.job().argv(["no-such-program"]).code, 127);
    assert_eq!(fixture.job().argv(["./README.md"]).code, 126);
    assert_eq!(fixture.job().argv(["/usr/lib/os-release"]).code, 126);
    assert_eq!(fixture.job().argv(["./src"]).code, 126);
    assert_eq!(fixture.contained("exit 7").code, 7);
    assert_eq!(fixture.contained("kill -TERM $$").code, 143);
    let unknown = fixture.job().flags(["--no-such-flag"]).sh("echo ran");
    assert_ne!(unknown.code, 0, "{unknown:?}");
    assert!(!unknown.stdout.contains("ran"), "{unknown:?}");
}
