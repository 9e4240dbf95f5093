//! Layers as real overlay mounts and as hostile hands make them: what is shown, what is applied.
#![allow(clippy::unwrap_used)] // A failed set-up may panic.

mod common;

use common::{Fixture, os, paths};
use ringfence_workspace::{Class, Kind, Node, Selection, Style, render, stat};
use std::os::unix::fs::{PermissionsExt, symlink};

const PROJECT: &str = "mkdir -p src/deep gone; echo one >a; echo two >b; echo x >src/x; echo y >src/deep/y; \
    echo g >gone/g; echo t >type; chmod 755 b; ln -s a link; mkdir todir; echo i >todir/i";

const WORK: &str = "echo more >>a; rm b; echo new >n; chmod +x n; mkdir -p new/dir; echo f >new/dir/f; \
    rm -r gone; chmod 600 src/x; rm type; mkdir type; echo in >type/in; rm -r todir; echo file >todir; \
    rm -r src/deep; mkdir src/deep; echo z >src/deep/z; ln -sfn src link; touch src/x";

fn text(fixture: &Fixture) -> String {
    let mut out = Vec::new();
    render(&fixture.layer(), &fixture.changes(), Style::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn s04_a_real_overlay_is_shown_applied_and_empty_afterwards() {
    let f = Fixture::new(PROJECT);
    if !f.overlay(WORK) {
        return;
    }
    let before = f.tree("lower");
    assert_eq!(
        f.listed(),
        [
            "M a",
            "D b",
            "D gone",
            "D gone/g",
            "M link",
            "A n",
            "A new",
            "A new/dir",
            "A new/dir/f",
            "D src/deep/y",
            "A src/deep/z",
            "P src/x",
            "D todir/i",
            "T todir",
            "T type",
            "A type/in",
        ]
    );
    assert_eq!(f.tree("lower"), before, "looking changes nothing");
    let direct = Fixture::new(PROJECT);
    direct.shell("lower", WORK);
    let report = f.apply(&[]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(f.tree("lower"), direct.tree("lower"));
    assert_eq!((f.listed(), f.tree("upper").len(), report.kept), (Vec::new(), 0, None));
}

#[test]
fn f31_part_of_a_hidden_directory_can_be_applied_and_the_rest_later() {
    let f = Fixture::new(PROJECT);
    if !f.overlay(WORK) {
        return;
    }
    let some =
        Selection::Paths(vec![b"src/deep/z".to_vec(), b"new/dir/f".to_vec(), b"nothing".to_vec()]);
    let report = f.apply_paths(some, &[]);
    assert_eq!(report.applied.len(), 2, "{report:?}");
    assert_eq!(report.unknown, [b"nothing".to_vec()]);
    assert!(!f.listed().iter().any(|line| line.contains("deep/z") || line.contains("new/dir/f")));
    assert!(f.listed().contains(&"D src/deep/y".to_owned()), "{:?}", f.listed());
    assert!(f.apply(&[]).is_complete());
    let direct = Fixture::new(PROJECT);
    direct.shell("lower", WORK);
    assert_eq!(f.tree("lower"), direct.tree("lower"));
}

#[test]
fn s07_s08_f11_f13_what_the_host_runs_is_held_back_until_named() {
    let f = Fixture::new(
        "mkdir .git; echo '[core]' >.git/config; echo ref >.git/HEAD; mkdir .git/objects; echo a >a",
    );
    f.shell(
        "upper",
        "echo b >a; mkdir -p .git/hooks .claude .github/workflows sub/.git/hooks .VSCode bare/hooks bare/objects; \
         echo evil >.git/config; echo x >.git/hooks/pre-commit; echo x >.claude/settings.json; echo x >.envrc; \
         echo x >.github/workflows/ci.yml; echo x >sub/.git/hooks/post-checkout; echo x >.VSCode/tasks.json; \
         echo x >bare/HEAD; echo x >bare/config; echo x >bare/hooks/post-checkout; echo x >package.json",
    );
    let report = f.apply(&[]);
    assert_eq!(
        paths(&report.held_back),
        [
            ".VSCode",
            ".VSCode/tasks.json",
            ".claude",
            ".claude/settings.json",
            ".envrc",
            ".git/config",
            ".git/hooks",
            ".git/hooks/pre-commit",
            ".github/workflows",
            ".github/workflows/ci.yml",
            "bare/config",
            "bare/hooks",
            "bare/hooks/post-checkout",
            "sub/.git/hooks",
            "sub/.git/hooks/post-checkout",
        ]
    );
    assert!(report.held_back.iter().all(|left| !left.why.is_empty()));
    assert_eq!(std::fs::read_to_string(f.at("lower/a")).unwrap(), "b\n");
    assert_eq!(std::fs::read_to_string(f.at("lower/.git/config")).unwrap(), "[core]\n");
    assert!(!f.at("lower/.claude").exists());
    let note = report.applied.iter().find(|c| c.path == b"package.json").unwrap().note;
    assert!(note.is_some(), "a build file is never silent");

    // `.` names nothing; a host-executed directory names what is in it; a file only itself.
    let report = f.apply(&[".", "", ".github", ".github/workflows", ".envrc"]);
    let applied: Vec<_> = report.applied.iter().map(|c| c.shown()).collect();
    assert_eq!(applied, [".envrc", ".github/workflows", ".github/workflows/ci.yml"]);
    assert!(f.at("upper/.git/config").exists() && !f.at("upper/.envrc").exists());
}

#[test]
fn f08_f15_what_the_project_itself_links_or_configures_is_held_back() {
    let f = Fixture::new(
        "mkdir .git conf ci hk; printf '[core]\\n\\thooksPath = ./hk/\\n' >.git/config; ln -s conf .claude; ln -s ci .github",
    );
    f.shell("upper", "mkdir conf hk ci; echo x >conf/settings.json; echo x >hk/pre-push; echo x >ci/x; echo x >ok");
    let report = f.apply(&[]);
    assert_eq!(paths(&report.held_back), ["ci/x", "conf/settings.json", "hk/pre-push"]);
    assert_eq!(report.applied.len(), 1);
}

#[test]
fn s04_a_repository_is_not_lost_by_apply_all() {
    let f = Fixture::new("mkdir -p .git/objects; echo o >.git/objects/o; echo a >a");
    if f.overlay("rm -rf .git a") {
        let report = f.apply(&[]);
        assert_eq!(paths(&report.held_back), [".git", ".git/objects", ".git/objects/o"]);
        assert!(f.at("lower/.git/objects/o").exists() && !f.at("lower/a").exists());
    }
}

#[test]
fn f07_f26_nothing_is_written_through_a_link_of_the_project() {
    let f = Fixture::new("mkdir d e; echo x >d/x; echo x >e/x");
    f.shell("upper", "mkdir d e; echo evil >d/x; echo evil >d/new; echo evil >e/x");
    // The project's directory becomes a link to elsewhere after the run has started.
    f.shell("lower", "rm -r d; ln -s ../outside d");
    std::fs::write(f.at("outside/x"), "precious").unwrap();
    let report = f.apply(&[]);
    assert_eq!(f.tree("outside").len(), 1);
    assert_eq!(std::fs::read_to_string(f.at("outside/x")).unwrap(), "precious");
    assert!(!report.is_complete());
    assert_eq!(std::fs::read_to_string(f.at("lower/e/x")).unwrap(), "evil\n", "the rest lands");
}

#[test]
fn f07_f31_links_are_applied_as_links_or_held_back() {
    let f = Fixture::new("mkdir d; echo x >d/x; ln -s /etc out; echo s >swap");
    symlink("/etc/passwd", f.at("upper/abs")).unwrap();
    symlink("../../outside", f.at("upper/up")).unwrap();
    symlink("out/passwd", f.at("upper/through")).unwrap();
    symlink("d/x", f.at("upper/fine")).unwrap();
    symlink("/etc/shadow", f.at("upper/swap")).unwrap();
    let report = f.apply(&[]);
    assert_eq!(paths(&report.held_back), ["abs", "swap", "through", "up"]);
    assert_eq!(std::fs::read_link(f.at("lower/fine")).unwrap(), os(b"d/x"));
    assert!(f.at("lower/swap").symlink_metadata().unwrap().is_file());
    // Named, a link becomes that link; it is never followed.
    assert!(f.apply(&["swap", "abs"]).applied.len() == 2);
    assert_eq!(std::fs::read_link(f.at("lower/swap")).unwrap(), os(b"/etc/shadow"));
}

#[test]
fn f20_special_bits_are_held_back_and_capabilities_do_not_land() {
    let f = Fixture::new("echo p >p");
    f.shell("upper", "echo s >s; chmod 6755 s; echo p >p; chmod 4755 p; mkdir g; chmod 2775 g; echo e >e; chmod 755 e");
    let report = f.apply(&[]);
    assert_eq!(paths(&report.held_back), ["p", "s"]);
    assert!(report.applied.iter().find(|c| c.path == b"e").unwrap().new_executable);
    let mode = |path: &str| f.at(path).symlink_metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("lower/p") & 0o6000, mode("lower/g"), mode("lower/e")), (0, 0o775, 0o755));
    f.apply(&["s"]);
    assert_eq!(mode("lower/s"), 0o6755, "named");
}

#[test]
fn f21_f33_pipes_sockets_and_devices_are_shown_and_never_applied_or_opened() {
    let f = Fixture::new("echo a >a");
    f.shell("upper", "mkfifo pipe; mkfifo a");
    let _socket = std::os::unix::net::UnixListener::bind(f.at("upper/socket")).unwrap();
    let nodes: Vec<_> = f.changes().iter().map(|c| (c.shown(), c.node, c.kind)).collect();
    assert_eq!(
        nodes,
        [
            ("a".to_owned(), Node::Fifo, Kind::TypeChanged),
            ("pipe".to_owned(), Node::Fifo, Kind::Added),
            ("socket".to_owned(), Node::Socket, Kind::Added),
        ]
    );
    assert!(text(&f).contains("named pipe: pipe"), "{}", text(&f));
    // Even when all are named.
    let report = f.apply(&["a", "pipe", "socket"]);
    assert_eq!(paths(&report.refused), ["a", "pipe", "socket"]);
    assert_eq!(f.tree("lower").len(), 1);
}

#[test]
fn f31_what_the_project_changed_meanwhile_is_not_overwritten() {
    let f = Fixture::new("echo 1 >mine; echo 1 >theirs; echo 1 >deleted; echo 1 >both");
    f.shell("upper", "echo 2 >mine; echo 2 >theirs; echo 2 >appeared; echo same >both");
    f.edit_on_host("theirs", "host\n");
    f.edit_on_host("appeared", "host\n");
    f.edit_on_host("both", "same\n");
    let report = f.apply(&[]);
    assert_eq!(paths(&report.conflicts), ["appeared", "theirs"]);
    assert_eq!(std::fs::read_to_string(f.at("lower/theirs")).unwrap(), "host\n");
    assert_eq!(std::fs::read_to_string(f.at("lower/appeared")).unwrap(), "host\n");
    assert_eq!(std::fs::read_to_string(f.at("lower/mine")).unwrap(), "2\n");
    assert!(f.at("upper/theirs").exists() && !f.at("upper/mine").exists());
}

#[test]
fn f31_a_file_that_the_host_removed_is_a_conflict() {
    let f = Fixture::new("echo 1 >x; echo 1 >y");
    if f.overlay("echo 2 >x; rm y") {
        f.shell("lower", "rm x y");
        let report = f.apply(&[]);
        assert_eq!(paths(&report.conflicts), ["x", "y"]);
        assert!(!f.at("lower/x").exists());
    }
}

#[test]
fn f31_f34_names_that_differ_only_in_case_are_conflicts() {
    let f = Fixture::new("echo 1 >Readme; echo 1 >old");
    f.shell("upper", "echo 2 >README; echo 2 >one; echo 2 >ONE; echo 2 >fine");
    let report = f.apply(&[]);
    assert_eq!(paths(&report.conflicts), ["ONE", "README", "one"]);
    assert_eq!(report.applied.len(), 1);
    let f = Fixture::new("echo 1 >old");
    if f.overlay("mv old OLD") {
        assert!(f.apply(&[]).is_complete(), "a change of case alone is none");
    }
}

#[test]
fn f34_odd_names_are_shown_escaped_and_applied_exactly() {
    let f = Fixture::new("true");
    let names: [&[u8]; 7] =
        [b"a\nb", b"-rf", b"\x1b[2Jx", b"\xff\xfe", "\u{202e}txt".as_bytes(), b" ", b"a\\n"];
    for name in names {
        std::fs::write(f.at("upper").join(os(name)), "line\x1b[31m\n\ttab \\n\n").unwrap();
    }
    let mut out = text(&f);
    let mut short = Vec::new();
    stat(&f.changes(), Style::default(), &mut short).unwrap();
    out.push_str(&String::from_utf8(short).unwrap());
    assert!(
        out.chars().all(|c| c == '\n' || c == '\t' || ringfence_model::text::is_plain(c)),
        "{out:?}"
    );
    for shown in
        ["a\\nb", "\\u{1b}[2Jx", "\\xff\\xfe", "\\u{202e}txt", "+line\\u{1b}[31m\n+\ttab \\n\n"]
    {
        assert!(out.contains(shown), "{shown} in {out}");
    }
    let json = serde_json::to_string(&f.changes()).unwrap();
    assert!(json.contains("\"path_hex\":\"fffe\"") && json.contains("\"path\":null"), "{json}");
    assert!(f.apply(&[]).is_complete());
    for name in names {
        assert!(f.at("lower").join(os(name)).exists());
    }
}

#[test]
fn f30_whiteouts_of_both_forms_and_for_nothing() {
    use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, open};
    let f = Fixture::new("mkdir d o; echo x >d/x; echo y >d/y; echo p >o/p; echo keep >.wh.keep");
    f.shell("upper", "mkdir d o; : >d/x; : >d/nothing; : >o/new; : >.wh.real");
    let set = |path: &str, name: &str, value: &[u8]| {
        let fd = open(f.at(path), OFlags::RDONLY, Mode::empty()).unwrap();
        fsetxattr(fd, name, value, XattrFlags::empty()).unwrap();
    };
    set("upper/d", "user.overlay.opaque", b"x");
    set("upper/d/x", "user.overlay.whiteout", b"y");
    set("upper/d/nothing", "user.overlay.whiteout", b"y");
    set("upper/o", "user.overlay.opaque", b"y");
    set("upper/o/new", "user.kept", b"v");
    assert_eq!(f.listed(), ["A .wh.real", "D d/nothing", "D d/x", "A o/new", "D o/p"]);
    let report = f.apply(&[]);
    assert_eq!(paths(&report.conflicts), ["d/nothing"]);
    let tree: Vec<_> = f.tree("lower").into_keys().map(|k| String::from_utf8(k).unwrap()).collect();
    assert_eq!(tree, [".wh.keep", ".wh.real", "d", "d/y", "o", "o/new"]);
    let new = open(f.at("lower/o/new"), OFlags::RDONLY, Mode::empty()).unwrap();
    let mut names = [0u8; 256];
    let length = rustix::fs::flistxattr(&new, &mut names).unwrap();
    assert_eq!(&names[..length], b"user.kept\0", "overlay's own marks do not land");
}

#[test]
fn f30_what_is_too_deep_is_refused_by_name_and_the_rest_lands() {
    let f = Fixture::new("true");
    f.shell("upper", "echo a >a; i=0; while [ $i -lt 300 ]; do mkdir dddddddddddddddddddddddddddddd; cd -P dddddddddddddddddddddddddddddd; i=$((i+1)); done");
    let report = f.apply(&[]);
    assert_eq!(report.refused.len(), 1);
    assert!(report.refused[0].why.contains("200"), "{}", report.refused[0].why);
    assert!(f.at("lower/a").exists());
    ringfence_workspace::remove_tree(&f.at("upper")).unwrap();
    ringfence_workspace::remove_tree(&f.at("lower")).unwrap();
}

#[test]
fn f20_a_file_without_read_permission_is_refused_or_applied_whole() {
    let f = Fixture::new("echo a >a");
    f.shell(
        "upper",
        "echo s >s; chmod 000 s; mkdir closed; echo x >closed/x; chmod 000 closed; echo b >a",
    );
    let report = f.apply(&[]);
    if rustix::process::geteuid().is_root() {
        assert!(report.is_complete(), "{report:?}");
    } else {
        assert_eq!(paths(&report.refused), ["closed", "s"]);
        assert!(report.applied.iter().any(|c| c.path == b"a"));
    }
    f.shell("upper", "chmod 700 . * 2>/dev/null || true");
    f.shell("lower", "chmod 700 . * 2>/dev/null || true");
}

#[test]
fn pb9_a_mounted_layer_is_not_touched() {
    let f = Fixture::new("echo 1 >a");
    f.shell("upper", "echo 2 >a");
    let options = ringfence_workspace::ApplyOptions {
        selection: Selection::All,
        host_executed: Vec::new(),
        mounted: true,
    };
    let report = f.layer().apply(&options).unwrap();
    assert!(report.kept.is_some() && report.applied.len() == 1);
    assert!(f.at("upper/a").exists());
    assert_eq!(std::fs::read_to_string(f.at("lower/a")).unwrap(), "2\n");
    assert!(f.listed().is_empty(), "and shows no difference");
}

#[test]
fn a_diff_reads_as_a_diff() {
    let f = Fixture::new("printf '1\\n2\\n3\\n' >a; printf 'b' >bin; echo gone >gone; echo m >m");
    f.shell("upper", "printf '1\\ntwo\\n3' >a; printf '\\0x' >bin; echo m >m; chmod 755 m");
    let out = text(&f);
    assert!(out.contains("modified file: a\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n 1\n-2\n-3\n+two\n+3\n\\ No newline at end of file\n"), "{out}");
    assert!(out.contains("(binary, 2 bytes)"), "{out}");
    assert!(out.contains("permissions of file: m\n[new executable]\nmode 0644 → 0755\n"), "{out}");
    let large = vec![b'x'; 2 * 1024 * 1024];
    std::fs::write(f.at("upper/large"), large).unwrap();
    assert!(text(&f).contains("2097152 bytes: too large"));
    assert!(f.changes().iter().all(|c| c.class == Class::Ordinary));
    let mut coloured = Vec::new();
    render(&f.layer(), &f.changes(), Style { colour: true, raw: false }, &mut coloured).unwrap();
    assert!(String::from_utf8(coloured).unwrap().contains("\u{1b}[32m+two\u{1b}[0m"));
    assert_eq!(ringfence_workspace::change::digest(&f.changes()).len(), 64);
}

/// F13, S07: a link in place of a directory that tools look into is as good as what it leads to.
#[test]
fn f13_s07_a_link_in_place_of_a_special_directory_is_held_back() {
    let f = Fixture::new("mkdir -p .git/hooks; echo x >x");
    f.shell(
        "upper",
        "mkdir c m w .git; echo 'target.x.runner = \"evil\"' >c/config.toml; ln -s c .cargo; ln -s c .yarn; \
         ln -s c .github; ln -s ../m .git/modules; ln -s ../w .git/worktrees; ln -s ../c .git/info",
    );
    let report = f.apply(&[]);
    let held = paths(&report.held_back);
    for link in [".cargo", ".yarn", ".github", ".git/modules", ".git/worktrees", ".git/info"] {
        assert!(held.contains(&link.to_owned()), "{link}: {report:?}");
        assert!(!f.at("lower").join(link).is_symlink(), "{link}");
    }
    assert!(f.apply(&[".cargo"]).held_back.iter().all(|left| left.change.path != b".cargo"));
    assert!(f.at("lower/.cargo").is_symlink());
}

/// F13: a repository whose configuration lies in a directory of its own (`commondir`).
#[test]
fn f13_a_bare_repository_in_two_parts_is_held_back() {
    let f = Fixture::new("echo x >x");
    f.shell(
        "upper",
        "mkdir -p m/sub m/common/objects m/common/refs; echo 'ref: refs/heads/x' >m/sub/HEAD; \
         echo ../common >m/sub/commondir; printf '[core]\\n\\tfsmonitor = evil\\n' >m/common/config",
    );
    let held = paths(&f.apply(&[]).held_back);
    assert_eq!(held, ["m/common/config", "m/sub/commondir"]);
}

/// F13, F15: the same names are held back in a repository of another name as in `.git`.
#[test]
fn f13_f15_what_git_follows_in_a_bare_repository_is_held_back() {
    let f = Fixture::new("mkdir -p .bare/objects .bare/refs; echo 'ref: refs/heads/x' >.bare/HEAD");
    f.shell(
        "upper",
        "mkdir -p .bare/remotes .bare/branches .bare/rebase-merge .bare/info; cd .bare; echo x >config.worktree; \
         echo x >remotes/origin; echo x >branches/origin; echo x >rebase-merge/git-rebase-todo; echo x >info/exclude",
    );
    let report = f.apply(&[]);
    assert_eq!(
        paths(&report.held_back),
        [
            ".bare/branches",
            ".bare/branches/origin",
            ".bare/config.worktree",
            ".bare/rebase-merge",
            ".bare/rebase-merge/git-rebase-todo",
            ".bare/remotes",
            ".bare/remotes/origin"
        ]
    );
    assert!(f.at("lower/.bare/info/exclude").exists(), "{report:?}");
}

/// F13, S07: what the project's own links and git settings have the host run, by whatever spelling.
#[test]
fn f13_s07_what_the_projects_links_lead_to_is_held_back() {
    let f = Fixture::new(
        "mkdir -p .git/hooks scripts tools/cargo hk inc deep/real; echo a >scripts/check; echo b >scripts/real; \
         ln -s ../../scripts/check .git/hooks/pre-commit; ln -s ../../scripts/link .git/hooks/pre-push; \
         ln -s real scripts/link; ln -s tools/cargo .cargo; echo c >tools/cargo/config.toml; echo f >scripts/free; \
         printf '[core]\\n\\thooksPath = \"%s/hk\" ; mine\\n[include]\\n\\tpath = ../inc/git\\n' \"$(pwd -P)\" >.git/config",
    );
    f.shell(
        "upper",
        "mkdir -p scripts tools/cargo hk inc; for x in scripts/check scripts/real scripts/free tools/cargo/config.toml hk/pre-commit inc/git; \
         do echo evil >$x; done",
    );
    let report = f.apply(&[]);
    assert_eq!(
        paths(&report.held_back),
        ["hk/pre-commit", "inc/git", "scripts/check", "scripts/real", "tools/cargo/config.toml"]
    );
    assert_eq!(report.applied.len(), 1, "{report:?}");
}
