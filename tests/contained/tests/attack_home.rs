//! Attacks by what of the user's home comes inside, and by what an agent leaves for the next: C14, F15, S29.
//!
//! The agent is a shell script with the profile of one; the files are decoys of the fixture.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringfence_contained_tests::{Fixture, Job, Outcome, needs};

const SECRET: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn job(fixture: &Fixture) -> Job<'_> {
    fixture.job().flags(["--profile", "claude-code"])
}

fn agent(fixture: &Fixture, script: &str) -> Outcome {
    job(fixture).sh(script)
}

/// C14: instructions come in read-only and without their secrets; the control group shows that the
/// same command finds the secret in the user's own file.
#[test]
fn c14_instructions_come_in_without_their_secrets() {
    let fixture = Fixture::new();
    let home = fixture.home();
    write(&home.join(".claude/CLAUDE.md"), &format!("Be kind.\nPush with {SECRET} please.\n"));
    write(&home.join(".claude/commands/fix.md"), "Fix it.\n");
    write(&home.join(".claude/skills/s/run.sh"), "echo \"$API_TOKEN\"\n");
    write(&home.join(".claude/history.jsonl"), "CANARY-HISTORY\n");
    let script = "cat ~/.claude/CLAUDE.md ~/.claude/commands/fix.md ~/.claude/skills/s/run.sh ~/.claude/history.jsonl 2>&1";
    let outside = fixture.unprotected(script);
    assert!(outside.stdout.contains(SECRET) && outside.stdout.contains("CANARY-HISTORY"));

    let inside = agent(&fixture, script);
    assert!(!inside.text().contains(SECRET) && !inside.text().contains("CANARY"), "{inside:?}");
    assert!(inside.stdout.contains("Be kind.") && inside.stdout.contains("Fix it."), "{inside:?}");
    assert!(inside.stdout.contains("echo \"$API_TOKEN\""), "{inside:?}");
    assert!(inside.stdout.contains("<!-- ringfence: secrets"), "the copy says so: {inside:?}");
    assert!(inside.stderr.contains("CLAUDE.md"), "and the person is told: {inside:?}");

    let change = "for f in CLAUDE.md commands/fix.md; do echo evil >> ~/.claude/$f && echo changed; \
        rm -f ~/.claude/$f && echo removed; done; echo evil > ~/.claude/commands/new.md && echo made; \
        mv ~/.claude ~/.moved && echo moved; exit 0";
    let changed = agent(&fixture, change);
    for word in ["changed", "removed", "made", "moved"] {
        assert!(!changed.stdout.contains(word), "{changed:?}");
    }
    let other = fixture.contained("ls -A ~/.claude");
    assert_ne!(other.code, 0, "only with the agent's profile: {other:?}");
    let free = fixture.unprotected(change);
    assert!(free.stdout.contains("changed") && free.stdout.contains("moved"), "{free:?}");
}

/// C14, F11: a link among the instructions is no way to a secret, to another user's file or out of
/// the home; a link to a file of the user's own repository is followed.
#[test]
fn c14_f11_a_link_among_the_instructions_leads_to_no_secret() {
    let fixture = Fixture::new();
    let home = fixture.home();
    write(&home.join(".ssh/id_rsa"), "CANARY-KEY\n");
    write(&home.join("vault/signing.pem"), "CANARY-PEM\n");
    write(&home.join("dotfiles/CLAUDE.md"), "From the dotfiles.\n");
    write(&fixture.root().join("elsewhere/x.md"), "CANARY-ELSEWHERE\n");
    let commands = home.join(".claude/commands");
    fs::create_dir_all(&commands).unwrap();
    symlink("../dotfiles/CLAUDE.md", home.join(".claude/CLAUDE.md")).unwrap();
    symlink("../../.ssh/id_rsa", commands.join("key.md")).unwrap();
    symlink("../../.ssh", commands.join("ssh")).unwrap();
    symlink("../../vault/signing.pem", commands.join("pem.md")).unwrap();
    symlink(fixture.root().join("elsewhere/x.md"), commands.join("else.md")).unwrap();
    symlink("../..", commands.join("home")).unwrap();
    symlink("/etc/shadow", commands.join("shadow")).unwrap();
    // What a link led to is a place where an agent may have written: no link there is followed.
    write(&home.join("dotfiles/rules/plain.md"), "A rule.\n");
    write(&home.join("Documents/diary.md"), "CANARY-DIARY\n");
    symlink("../../Documents/diary.md", home.join("dotfiles/rules/diary.md")).unwrap();
    symlink("../dotfiles/rules", home.join(".claude/rules")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, commands.join("pipe.md"), rustix::fs::Mode::RWXU)
        .unwrap();

    let script =
        "cd ~/.claude && cat CLAUDE.md commands/*.md commands/*/* rules/* 2>/dev/null; exit 0";
    let control = "cd ~/.claude && rm commands/pipe.md && cat CLAUDE.md commands/*.md commands/*/id_rsa rules/*";
    let inside = agent(&fixture, script);
    assert_eq!(inside.code, 0, "{inside:?}");
    assert!(!inside.text().contains("CANARY"), "{inside:?}");
    assert!(
        inside.stdout.contains("From the dotfiles.") && inside.stdout.contains("A rule."),
        "{inside:?}"
    );
    assert!(inside.stderr.contains("stays out"), "{inside:?}");
    let outside = fixture.unprotected(control);
    for canary in ["CANARY-KEY", "CANARY-PEM", "CANARY-ELSEWHERE", "CANARY-DIARY"] {
        assert!(outside.stdout.contains(canary), "{canary}: {outside:?}");
    }
}

/// F15: git inside knows the user; a project's own configuration runs nothing on the host at a start.
#[test]
fn f15_git_knows_the_user_and_a_project_runs_nothing_outside() {
    let fixture = Fixture::new();
    let mark = fixture.root().join("monitor-ran");
    let monitor = fixture.root().join("monitor.sh");
    write(&monitor, &format!("#!/bin/sh\ntouch '{}'\n", mark.display()));
    let set = fixture.unprotected(&format!(
        "chmod +x '{0}'; git config core.fsmonitor '{0}'; git config alias.x '!{0}'",
        monitor.display()
    ));
    assert_eq!(set.code, 0, "{set:?}");
    write(
        &fixture.home().join(".gitconfig"),
        "[user]\n\tname = Ann Other\n\temail = ann@example.test\n[alias]\n\tst = status --short\n\tevil = !sh\n\
         [credential]\n\thelper = store --file /CANARY\n[core]\n\texcludesFile = ~/ign\n[url \"https://me:CANARY@h/\"]\n\tinsteadOf = h:\n",
    );
    write(&fixture.home().join("ign"), "*.swp\n");
    let inside = fixture.contained(
        "git config user.name; git config --system --list; touch a.swp; git status --short; git st",
    );
    assert!(!mark.exists(), "the project's monitor ran on the host");
    assert!(inside.stdout.contains("Ann Other"), "{inside:?}");
    assert!(inside.stdout.contains("alias.st=status --short"), "{inside:?}");
    for absent in ["CANARY", "alias.evil", "a.swp", "credential"] {
        assert!(!inside.stdout.contains(absent), "{absent}: {inside:?}");
    }
    // The control group: git itself, asked in the project, runs it.
    let _ = fixture.unprotected("git status");
    assert!(mark.exists(), "the monitor works");
}

const HOOKS: &str = r#"{"model":"opus","apiKeyHelper":"CANARY-HELPER","env":{"X":"CANARY-ENV"},
    "hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"HOOK-COMMAND"}]}]}}"#;
const SERVERS: &str = r#"{"theme":"dark","oauthAccount":{"x":"CANARY-HOST-LOGIN"},
    "mcpServers":{"files":{"command":"SERVER-COMMAND","env":{"API_TOKEN":"CANARY-TOKEN"}}}}"#;

/// S29: hooks and servers of the user's do not come in unasked; one note says so, once for each change.
#[test]
fn s29_hooks_and_servers_do_not_come_in_unasked() {
    let fixture = Fixture::new();
    let home = fixture.home();
    write(&home.join(".claude/settings.json"), HOOKS);
    write(&home.join(".claude.json"), SERVERS);
    let script = "cat ~/.claude/settings.json ~/.claude.json";
    let first = agent(&fixture, script);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.contains("opus") && first.stdout.contains("dark"), "{first:?}");
    for absent in ["HOOK-COMMAND", "SERVER-COMMAND", "CANARY"] {
        assert!(!first.text().contains(absent), "{absent}: {first:?}");
    }
    assert_eq!(first.stderr.matches("stays out").count(), 2, "{first:?}");
    let second = agent(&fixture, script);
    assert!(!second.stderr.contains("stays out"), "said once: {second:?}");
    write(&home.join(".claude/settings.json"), &HOOKS.replace("HOOK-COMMAND", "HOOK-COMMAND-2"));
    let changed = agent(&fixture, script);
    assert_eq!(changed.stderr.matches("stays out").count(), 1, "once per change: {changed:?}");
    let outside = fixture.unprotected(script);
    assert!(outside.stdout.contains("HOOK-COMMAND") && outside.stdout.contains("CANARY-TOKEN"));
}

/// S29: what a person accepted comes in, without its secrets, until a byte of it changes; the answer
/// is remembered outside, and no agent can give it.
#[test]
fn s29_an_accepted_server_comes_in_until_it_changes() {
    let fixture = Fixture::new();
    let home = fixture.home();
    write(&home.join(".claude.json"), SERVERS);
    let script = "cat ~/.claude.json";
    let _ = agent(&fixture, script);
    let record = fixture.config().join("ringfence/trusted.json");
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains("\"told\""), "{text}");
    fs::write(&record, text.replace("\"told\"", "\"accepted\"")).unwrap();
    let inside = agent(&fixture, script);
    assert!(inside.stdout.contains("SERVER-COMMAND"), "{inside:?}");
    assert!(!inside.text().contains("CANARY"), "{inside:?}");
    // The secret of the entry counts, too, although it does not come in.
    write(&home.join(".claude.json"), &SERVERS.replace("CANARY-TOKEN", "CANARY-OTHER"));
    let changed = agent(&fixture, script);
    assert!(!changed.stdout.contains("SERVER-COMMAND"), "{changed:?}");
}

const LOG_IN: &str =
    "mkdir -p ~/.claude && echo '{\"token\":\"LOGIN-ONE\"}' > ~/.claude/.credentials.json";

/// C14: a login made once is there in the next run of the profile, in whatever project, and nothing
/// else that the run left is; `logout` removes it.
#[test]
fn c14_one_login_for_all_projects_and_nothing_else() {
    let fixture = Fixture::new();
    let first = agent(
        &fixture,
        &format!(
            "{LOG_IN}; echo '{{\"hooks\":\"PLANTED\"}}' > ~/.claude/settings.json; \
             echo PLANTED > ~/.claude/CLAUDE.md; \
             echo '{{\"oauthAccount\":{{\"id\":\"me\"}},\"mcpServers\":{{\"x\":\"PLANTED\"}}}}' > ~/.claude.json"
        ),
    );
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stderr.contains("ringfence logout claude-code"), "{first:?}");
    let sibling = fixture.sibling();
    fs::create_dir_all(&sibling).unwrap();
    let look =
        "cat ~/.claude/.credentials.json ~/.claude.json; find ~ -type f | xargs grep -l PLANTED";
    let next = job(&fixture).directory(&sibling).sh(look);
    assert!(next.stdout.contains("LOGIN-ONE") && next.stdout.contains("\"me\""), "{next:?}");
    assert!(!next.stdout.contains("PLANTED") && !next.stdout.contains("CLAUDE.md"), "{next:?}");
    assert!(!next.stderr.contains("logout"), "nothing has changed: {next:?}");
    let other = fixture.contained(look);
    assert!(!other.stdout.contains("LOGIN-ONE"), "another program has no login: {other:?}");
    let named = job(&fixture).flags(["--name", "own"]).sh(look);
    assert!(!named.stdout.contains("LOGIN-ONE"), "a named home is its own: {named:?}");
    let text = format!("{:?}", fixture.ledger().records);
    assert!(!text.contains("LOGIN-ONE"));
    let out = fixture.ringfence(&["logout", "claude-code"]);
    assert_eq!(out.code, 0, "{out:?}");
    let after = agent(&fixture, look);
    assert!(!after.stdout.contains("LOGIN-ONE"), "{after:?}");
    assert_ne!(fixture.ringfence(&["logout", "claude-code"]).code, 0);
    assert_ne!(fixture.ringfence(&["logout", "../x"]).code, 0);
}

/// C14, F11: what is put in the place of a login at the end of a run is not taken back; the control
/// group is the same run with a plain login.
#[test]
fn c14_f11_what_replaces_a_login_is_not_kept() {
    let fixture = Fixture::new();
    let outside = fixture.root().join("outside.json");
    write(&outside, "{\"token\":\"CANARY-OUTSIDE\"}");
    let file = "~/.claude/.credentials.json";
    let attacks = [
        format!("ln -sf {} {file}", outside.display()),
        "rm -rf ~/.claude; mkdir ~/x; echo '{\"token\":\"EVIL\"}' > ~/x/.credentials.json; ln -s ~/x ~/.claude".to_owned(),
        format!("truncate -s 1T {file} || head -c 2000000 /dev/zero > {file}"),
        format!("rm {file}; mkfifo {file}"),
        format!("rm {file}; mkdir {file}"),
        format!("printf '[%.0s' $(seq 20000) > {file}"),
        format!("echo '[\"EVIL\"]' > {file}"),
        format!("echo EVIL > {file}"),
    ];
    assert_eq!(agent(&fixture, LOG_IN).code, 0);
    for attack in attacks {
        let hostile = agent(&fixture, &format!("{attack}; exit 0"));
        assert_eq!(hostile.code, 0, "{attack}: {hostile:?}");
        assert!(hostile.stderr.contains("is not kept"), "{attack}: {hostile:?}");
        let next = agent(&fixture, &format!("cat {file}"));
        assert!(next.stdout.contains("LOGIN-ONE"), "{attack}: {next:?}");
        assert!(!next.stdout.contains("EVIL") && !next.text().contains("CANARY"), "{next:?}");
    }
    let plain = agent(&fixture, &format!("echo '{{\"token\":\"LOGIN-TWO\"}}' > {file}"));
    assert!(plain.stderr.contains("is kept"), "{plain:?}");
    assert!(agent(&fixture, &format!("cat {file}")).stdout.contains("LOGIN-TWO"));
}

/// C14: a named home that an agent has filled with links does not lead what is written there.
#[test]
fn c14_a_named_home_full_of_links_leads_nothing_out() {
    let fixture = Fixture::new();
    let home = fixture.home();
    write(&home.join(".claude/CLAUDE.md"), "Be kind.\n");
    write(&home.join(".claude/settings.json"), "{\"model\":\"opus\"}");
    let outside = fixture.root().join("outside");
    fs::create_dir_all(&outside).unwrap();
    let named = |script: &str| job(&fixture).flags(["--name", "web"]).sh(script);
    let bare = fixture
        .job()
        .flags(["--name", "web"])
        .sh(&format!("ln -s {} ~/.claude", outside.display()));
    assert_eq!(bare.code, 0, "{bare:?}");
    let next = named("cat ~/.claude/CLAUDE.md; echo still-here");
    assert!(next.stdout.contains("still-here"), "{next:?}");
    assert!(next.stderr.contains("stays out"), "{next:?}");
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        0,
        "something was written through the link"
    );
    // The control group: a plain write follows it.
    let link = fixture.state().join("ringfence/homes/web/.claude");
    fs::write(link.join("x"), "x").unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

/// A browser's callback reaches the agent's listener inside through a published port, also when it
/// begins to listen only later; without it, nothing on the host does.
#[test]
fn a_login_by_callback_works_through_a_published_port() {
    needs!("python3");
    let fixture = Fixture::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let listen = format!(
        "echo \"BROWSER=$BROWSER\"; exec python3 -c \"\nimport http.server\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200); s.end_headers(); s.wfile.write(b'logged in'); print('callback', s.path, flush=True)\ns = http.server.HTTPServer(('127.0.0.1', {port}), H)\nprint('waiting', flush=True)\ns.handle_request()\""
    );
    if !Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped: no python3 in the base");
        return;
    }
    let call = || -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET /cb?code=7 HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    let mut closed = job(&fixture).start_sh(&listen);
    closed.wait_for("waiting");
    assert!(call().is_none_or(|text| !text.contains("logged in")), "unpublished");
    closed.signal(rustix::process::Signal::TERM);
    let _ = closed.wait();
    let mut open = job(&fixture).flags(["--publish", &port.to_string()]).start_sh(&listen);
    open.wait_for("waiting");
    assert!(call().is_some_and(|text| text.contains("logged in")));
    let outcome = open.wait();
    assert!(outcome.stdout.contains("callback /cb?code=7"), "{outcome:?}");
    assert!(outcome.stdout.contains("BROWSER=/bin/false"), "{outcome:?}");
}

/// F15, F10: what is made for the sandbox in its home is there at every start of a kept one, whatever the
/// last agent put in its place; it cannot be changed or moved away, and nothing is written through a link.
#[test]
fn f15_f10_a_file_made_in_a_kept_home_is_there_at_every_start() {
    let fixture = Fixture::new();
    // With this home git's settings, which are made for every sandbox, lie in it.
    let named = |script: &str| {
        fixture
            .job()
            .env("HOME", "/etc")
            .flags(["--name", "own", "--workspace", "review"])
            .sh(script)
    };
    let script = "cat /etc/gitconfig; echo evil > /etc/gitconfig; mv /etc/gitconfig /etc/x; rm -f /etc/gitconfig; exit 0";
    for _start in 0..3 {
        let seen = named(script);
        assert_eq!(seen.code, 0, "{seen:?}");
        assert!(seen.stdout.contains("directory = "), "{seen:?}");
    }
    let place = fixture.state().join("ringfence/homes/own/gitconfig");
    fs::write(&place, "theirs\n").unwrap();
    let seen = named(script);
    assert!(seen.code == 0 && !seen.stdout.contains("theirs"), "{seen:?}");
    assert_eq!(fs::read_to_string(&place).unwrap(), "theirs\n", "what lay there is left alone");
    let victim = fixture.root().join("victim");
    fs::write(&victim, "untouched\n").unwrap();
    fs::remove_file(&place).unwrap();
    symlink(&victim, &place).unwrap();
    let seen = named(script);
    assert_eq!(seen.code, 125, "{seen:?}");
    assert!(seen.stderr.contains("/etc/gitconfig: it exists and is no file"), "{seen:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched\n");
}
