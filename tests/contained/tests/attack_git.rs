//! Attacks by files that git outside obeys, in a workspace that is the project itself: F12, F14, F15, F16.
//!
//! Each ends with the person's own `git status` and `git commit` outside: the planted program must not run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_contained_tests::{Fixture, Outcome};

/// A program that git can be made to run: it leaves a mark. Inside it cannot reach the mark's place.
fn payload(fixture: &Fixture) -> String {
    format!("#!/bin/sh\ntouch '{}'\n", mark(fixture).display())
}

fn mark(fixture: &Fixture) -> PathBuf {
    fixture.root().join("payload-ran")
}

/// What a person does after a run.
fn person_uses_git(fixture: &Fixture, directory: &Path) -> Outcome {
    let script = "git status; git diff; git log -1; echo x > by-person; git add by-person; \
        git commit -m by-person; git checkout -q -b other; git submodule status; exit 0";
    fixture.job().directory(directory).unprotected_sh(script)
}

/// Attacks inside (a direct workspace), then lets the person use git; the same without a boundary
/// must run the payload.
fn attack(prepare: impl Fn(&Fixture) -> PathBuf, script: &str) {
    attack_and_use(prepare, script, |_, directory| directory.to_owned());
}

/// As [`attack`], with the person in another directory afterwards.
fn attack_and_use(
    prepare: impl Fn(&Fixture) -> PathBuf,
    script: &str,
    used: impl Fn(&Fixture, &Path) -> PathBuf,
) {
    for protected in [false, true] {
        let fixture = Fixture::new();
        let directory = prepare(&fixture);
        let payload = payload(&fixture);
        let script =
            format!("cat > evil.sh <<'END'\n{payload}END\nchmod +x evil.sh\n{script}\nexit 0");
        let job = fixture.job().directory(&directory);
        let outcome = if protected {
            job.flags(["--workspace", "direct"]).sh(&script)
        } else {
            job.unprotected_sh(&script)
        };
        assert!(!mark(&fixture).exists(), "the mark is out of reach inside: {outcome:?}");
        let person = person_uses_git(&fixture, &used(&fixture, &directory));
        let ran = mark(&fixture).exists();
        assert_eq!(ran, !protected, "protected: {protected}; {outcome:?}; {person:?}");
    }
}

fn project(fixture: &Fixture) -> PathBuf {
    fixture.project()
}

/// F15: the configuration of the repository names no program of the agent's.
#[test]
fn f15_the_configuration_stays() {
    attack(project, "git config core.fsmonitor \"$PWD/evil.sh\"");
    attack(project, "mkdir -p h; cp evil.sh h/pre-commit; git config core.hooksPath \"$PWD/h\"");
}

/// F15: a hook is not planted.
#[test]
fn f15_hooks_stay() {
    attack(project, "cp evil.sh .git/hooks/pre-commit");
    attack(project, "mv .git/hooks .git/h; mkdir .git/hooks; cp evil.sh .git/hooks/post-checkout");
}

/// F15: the configuration of a worktree (`extensions.worktreeConfig`) is not planted.
#[test]
fn f15_the_configuration_of_a_worktree_stays() {
    let with_extension = |fixture: &Fixture| {
        let set = fixture.unprotected("git config extensions.worktreeConfig true");
        assert_eq!(set.code, 0, "{set:?}");
        fixture.project()
    };
    attack(
        with_extension,
        "printf '[core]\\n\\tfsmonitor = %s/evil.sh\\n' \"$PWD\" > .git/config.worktree",
    );
}

/// F14: `commondir` does not lead git to a configuration of the agent's.
#[test]
fn f14_commondir_redirects_nothing() {
    attack(
        project,
        "mkdir -p c; cp -r .git/objects .git/refs c/; cp .git/config c/config
         printf '[core]\\n\\tfsmonitor = %s/evil.sh\\n' \"$PWD\" >> c/config
         echo \"$PWD/c\" > .git/commondir",
    );
}

/// F14: a `.git` that is replaced as a whole does not lead git elsewhere.
#[test]
fn f14_dot_git_is_not_replaced() {
    attack(
        project,
        "cp -r .git evil-git; printf '[core]\\n\\tfsmonitor = %s/evil.sh\\n' \"$PWD\" >> evil-git/config
         mv .git old-git; echo \"gitdir: $PWD/evil-git\" > .git",
    );
}

/// F14, F16: in a worktree, the `.git` file does not lead git elsewhere, and the main repository is
/// out of reach.
#[test]
fn f14_f16_a_worktree_leads_nowhere() {
    let worktree = |fixture: &Fixture| {
        let made = fixture.unprotected("git worktree add -q ../tree -b tree");
        assert_eq!(made.code, 0, "{made:?}");
        fixture.home().join("work/tree")
    };
    attack(
        worktree,
        "mkdir e; cp -r ../project/.git/* e/ 2>/dev/null || git init -q e2 && cp -rn e2/.git/* e/
         cp ../project/.git/worktrees/tree/index e/ 2>/dev/null
         printf '[core]\\n\\tfsmonitor = %s/evil.sh\\n' \"$PWD\" >> e/config
         echo \"gitdir: $PWD/e\" > .git",
    );
    attack(worktree, "cp evil.sh ../project/.git/hooks/pre-commit");
}

/// F12: in a workspace without a repository, none with programs of the agent's is made.
#[test]
fn f12_a_new_repository_has_no_programs() {
    let plain = |fixture: &Fixture| {
        let directory = fixture.home().join("work/plain");
        fs::create_dir_all(&directory).unwrap();
        directory
    };
    attack(
        plain,
        "git init -q .; mkdir -p .git/hooks; cp evil.sh .git/hooks/pre-commit
         git config core.fsmonitor \"$PWD/evil.sh\"",
    );
}

/// F15: the configuration of a submodule's repository names no program of the agent's.
#[test]
fn f15_the_repositories_of_submodules_stay() {
    let with_submodule = |fixture: &Fixture| {
        let made = fixture.unprotected(
            "git init -q ../lib && git -C ../lib commit -q --allow-empty -m lib && \
             git -c protocol.file.allow=always submodule --quiet add ../lib lib && git commit -qm lib",
        );
        assert_eq!(made.code, 0, "{made:?}");
        fixture.project()
    };
    attack(
        with_submodule,
        "printf '[core]\\n\\tfsmonitor = %s/evil.sh\\n' \"$PWD\" >> .git/modules/lib/config",
    );
}

/// F14, F16: from the main repository, a linked worktree of the person's is not led elsewhere.
#[test]
fn f14_f16_linked_worktrees_are_led_nowhere() {
    let with_worktree = |fixture: &Fixture| {
        let made = fixture.unprotected("git worktree add -q ../tree -b tree");
        assert_eq!(made.code, 0, "{made:?}");
        fixture.project()
    };
    attack_and_use(
        with_worktree,
        "mkdir -p c; cp -r .git/objects .git/refs c/; cp .git/config c/config
         printf '[core]\\n\\tfsmonitor = %s/evil.sh\\n' \"$PWD\" >> c/config
         echo \"$PWD/c\" > .git/worktrees/tree/commondir",
        |fixture, _| fixture.home().join("work/tree"),
    );
}
