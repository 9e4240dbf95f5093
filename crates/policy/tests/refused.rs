//! Definitions that must be refused, with place, cause and fix.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Layers, facts, project, refused, user};
use ringfence_policy::{CommandLine, Facts};

/// PB3: keys that do not exist, with the one that was meant.
#[test]
fn pb3_unknown_keys_are_refused_with_their_place() {
    let text = refused("[network]\n  alow = []");
    assert_eq!(
        text,
        "/code/p/ringfence.toml:3:3: unknown key `alow` in [network]\n  fix: did you mean `allow`?"
    );
    assert!(refused("[netwrk]").contains("did you mean `network`?"));
    assert!(refused("allow = []").contains("did you mean `allow` under `[network]`?"));
    assert!(refused("rules = []").contains("unknown key `rules`"));
    assert!(
        refused("[files]\nread = [{ path = \"/srv/data\", fro = \"2h\" }]")
            .contains("did you mean `for`?")
    );
    assert!(
        refused("[network]\ndeny = [{ host = \"a.example\", for = \"2h\" }]")
            .contains("unknown key `for`")
    );
    assert!(refused("[workspace]\nmode = \"review\"\n[workspace]\n").contains("not valid TOML"));
    assert!(refused("[limits]\nmemory = \"1G\"\nmemory = \"2G\"").contains("duplicate key"));
}

/// PB3: every key, with each wrong type, is refused with a place; no value is coerced.
#[test]
fn pb3_wrong_types_are_refused_for_every_key() {
    let schema = ringfence_policy::schema();
    let sections = schema["properties"].as_object().unwrap();
    let mut seen = 0;
    for (section, body) in sections {
        let Some(keys) = body["properties"].as_object() else {
            continue;
        };
        for key in keys.keys() {
            for value in ["2099-01-01T00:00:00Z", "[[1]]", "-1", "[true]", "{ a = [1] }"] {
                let text = refused(&format!("[{section}]\n{key} = {value}"));
                assert!(text.starts_with("/code/p/ringfence.toml:3:"), "{key} = {value}: {text}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 100, "{seen}");
}

#[test]
fn the_version_is_required_and_known() {
    let check = |text: &str| {
        let layers = Layers { project: text, ..Layers::default() };
        layers.problems()
    };
    assert!(check("name = \"x\"").contains("no `version`"));
    assert!(check("version = 2").contains("does not read version 2"));
    assert!(check("version = \"1\"").contains("does not read version"));
    assert_eq!(check("\u{feff}version = 1"), "no problem");
    assert!(check("version = 1\nname = \"A\"").contains("not a sandbox name"));
    assert!(
        check("version = 1\nprofile = \"nope\"").contains("the profiles are: default, claude-code")
    );
}

/// Several problems come at once, in the order of the file.
#[test]
fn all_problems_are_reported_together() {
    let text = refused(
        "[network]\nallow = [\"*\", \"a.example:0\"]\n[limits]\nmemory = \"4GB\"\nwall = \"8\"\n",
    );
    let lines: Vec<_> =
        text.lines().filter(|line| line.starts_with("/code/p/ringfence.toml:")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(lines, sorted);
}

/// PB3: grants that open far more than a task needs.
#[test]
fn pb3_over_broad_paths_are_refused() {
    for path in [
        "/",
        "~",
        "~/",
        "/home",
        "/home/ann",
        "/etc",
        "/proc",
        "/sys",
        "/dev",
        "/root",
        "/tmp",
        "/proc/1",
        "/code/link-to-home",
    ] {
        let text = refused(&format!("[files]\nread = [\"{path}\"]"));
        assert!(text.contains("too broad"), "{path}: {text}");
    }
    assert!(refused("[files]\nwrite = [\"/usr/lib\"]").contains("too broad"));
    assert!(project("[files]\nread = [\"/usr/lib\"]").is_ok());
}

/// F06: a rule that can match nothing is a mistake, never silent.
#[test]
fn f06_rules_that_can_match_nothing_are_refused() {
    for (body, cause) in [
        ("[files]\nread = [\"/srv/nothing\"]", "does not exist"),
        ("[files]\nread = [\"~bob/x\"]", "`~name` is not read"),
        ("[files]\nread = [\"./~/x\"]", "`~` is a plain name"),
        ("[files]\ndeny = [\"~/.ssh\"]", "`~` is a plain name there"),
        ("[files]\ndeny = [\"secrets//\"]", "empty part"),
        ("[files]\ndeny = [\"!x\"]", "cannot be taken back"),
        ("[network]\nallow = [\"localhost:3000\"]", "host.ringfence"),
        ("[network]\nallow = [\"a.example:70000\"]", "not a port"),
        ("[network]\nallow = [\"https://a.example/x\"]", "write \"a.example\""),
        ("[network]\nallow = [\"a.x.example\"]\ndeny = [\"*.x.example\"]", "denies all of it"),
        ("[network]\npublish = [70000]", "1 to 65535"),
        ("[network]\npublish = [\"80:81\", \"80:82\"]", "is published by"),
        ("[network]\nresolver = \"dns.example\"", "ADDRESS:PORT"),
        ("[workspace]\nunprotect = [\".vscodes\"]", "the protected paths are: .git/hooks"),
        (
            "[files]\nread = [{ path = \"/srv/data\", expires = 2026-11-01T00:00:00Z }]",
            "has expired",
        ),
        ("[network]\nallow = [{ host = \"a.example\", expires = 2026-11-01 }]", "with an offset"),
        ("[network]\nallow = [{ host = \"a.example\", for = \"0s\" }]", "longer than nothing"),
        ("[network]\nallow = [{ reason = \"x\" }]", "has no `host`"),
        ("[limits]\nmemory = \"1K\"", "nothing could run"),
        ("[limits]\ntmp = \"none\"", "always have a size"),
        ("[limits]\ncpu = 0", "nothing could run"),
    ] {
        let text = refused(body);
        assert!(text.contains(cause), "{body}: {text}");
        assert!(text.starts_with("/code/p/ringfence.toml:"), "{text}");
    }
}

/// A user's policy has no directory of its own to start from.
#[test]
fn relative_paths_are_for_projects_and_the_command_line() {
    assert!(
        user("[files]\nread = [\"data\"]")
            .unwrap_err()
            .to_string()
            .contains("begins with `/` or `~/`")
    );
    let sub = project("[files]\nread = [\"../sibling\"]");
    assert!(sub.unwrap_err().to_string().contains("does not exist"), "the fake host knows no `..`");
    assert!(project("[files]\nread = [\"sub\"]").is_ok());
}

/// DX1: places where secrets are kept: a project never opens them, a person only by their very name.
#[test]
fn dx1_f01_sensitive_places_are_opened_by_exact_name_only() {
    assert!(ringfence_policy::SENSITIVE.len() >= 33);
    for path in ["~/.ssh", "~/.aws", "~/.config/gh", "~/.netrc", "/code/link-to-ssh"] {
        assert!(refused(&format!("[files]\nread = [\"{path}\"]")).contains(" holds "), "{path}");
    }
    let opened = user("[files]\nread = [\"~/.ssh\"]").unwrap();
    assert_eq!(opened.residual_risks[0].value, "the agent sees /home/ann/.ssh (SSH keys)");
    let through_a_link = user("[files]\nread = [\"/code/link-to-ssh\"]").unwrap_err();
    assert!(through_a_link.to_string().contains("name the very path"), "{through_a_link}");
    let line = Layers {
        command: CommandLine { ro: vec!["/home/ann/.aws/".to_owned()], ..CommandLine::default() },
        host: Some({
            let mut host = common::FakeHost::new();
            host.add("/home/ann/.aws/", "/home/ann/.aws", ringfence_policy::FoundKind::Directory);
            host
        }),
        ..Layers::default()
    };
    assert_eq!(line.compile().unwrap().residual_risks.len(), 1);
}

/// DX1, F05: below a granted parent, sensitive places stay hidden unless granted themselves.
#[test]
fn dx1_f05_sensitive_places_below_a_grant_stay_hidden() {
    let masked = |body: &str| -> Vec<String> {
        let masks = user(body).unwrap().masks;
        masks.iter().map(|mask| mask.path.display().to_string()).collect()
    };
    let masks = masked("[files]\nread = [\"~/.config\"]");
    for path in
        ["/home/ann/.config/gh", "/home/ann/.config/google-chrome", "/home/ann/.config/ringfence"]
    {
        assert!(masks.iter().any(|own| own == path), "{path} in {masks:?}");
    }
    assert!(!masks.iter().any(|own| own == "/home/ann/.ssh"));
    let masks = masked("[files]\nread = [\"~/.config\", \"~/.config/gh\"]");
    assert!(!masks.iter().any(|own| own == "/home/ann/.config/gh"));
}

/// S31, N21: sockets that hand out the host are refused in every layer.
#[test]
fn s31_n21_sockets_are_refused_everywhere() {
    for path in [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/srv/other.sock",
        "/srv/pipe",
        "/run/user/1000",
    ] {
        for access in ["read", "write"] {
            let body = format!("[files]\n{access} = [\"{path}\"]");
            assert!(refused(&body).contains("has the host"), "{body}");
            assert!(user(&body).unwrap_err().to_string().contains("has the host"), "{body}");
        }
        let line = Layers {
            command: CommandLine { rw: vec![path.to_owned()], ..CommandLine::default() },
            ..Layers::default()
        };
        assert!(
            line.problems().starts_with(&format!("command line: --rw {path}: ")),
            "{}",
            line.problems()
        );
    }
}

/// F36, S12, C02: what the agent may change never holds ringfence's own files.
#[test]
fn f36_s12_c02_write_grants_never_hold_the_policy() {
    let own = "would let the agent change";
    for path in [
        "/opt/rf",
        "~/.config",
        "~/.config/ringfence",
        "~/.local/state",
        "~/.local/state/ringfence",
    ] {
        let text = user(&format!("[files]\nwrite = [\"{path}\"]")).unwrap_err().to_string();
        assert!(text.contains(own), "{path}: {text}");
    }
    for path in ["/code/p", "/code/p/sub"] {
        let text = user(&format!("[files]\nwrite = [\"{path}\"]")).unwrap_err().to_string();
        assert!(text.contains("the workspace lies in it"), "{path}: {text}");
    }
    let records = user("[files]\nread = [\"~/.local/state/ringfence\"]").unwrap_err();
    assert!(records.to_string().contains("ringfence's own records"), "{records}");
}

/// F36: directories that are no project.
#[test]
fn f36_whole_trees_are_no_workspace() {
    let start = |workspace: &str, change: fn(&mut Facts)| {
        let mut facts = Facts { workspace: workspace.into(), ..facts() };
        change(&mut facts);
        Layers { facts: Some(facts), ..Layers::default() }.problems()
    };
    for workspace in [
        "/",
        "/home/ann",
        "/home",
        "/home/ann/.local",
        "/home/ann/.config/ringfence",
        "/home/ann/.ssh",
        "/etc/x",
        "/tmp",
        "/home/ann/.local/state/ringfence/runs",
    ] {
        let text = start(workspace, |_| ());
        assert!(text.contains("cannot be the workspace"), "{workspace}: {text}");
    }
    for workspace in ["/tmp/project", "/usr/src/app", "/var/lib/ci/jobs/1"] {
        assert_eq!(start(workspace, |_| ()), "no problem", "{workspace}");
    }
    let inside = start("/code/p", |facts| facts.state = "/code/p/.state".into());
    assert!(inside.contains("its own records"), "{inside}");
}

/// DX2, P10: variables that make programs load or run something are not passed by files of a project.
#[test]
fn dx2_p10_dangerous_variables_are_not_passed() {
    for name in
        ["LD_PRELOAD", "BASH_ENV", "NODE_OPTIONS", "GIT_SSH_COMMAND", "PYTHONSTARTUP", "PERL5OPT"]
    {
        let body = format!("[environment]\npass = [\"{name}\"]");
        assert!(refused(&body).contains("give it a value of its own"), "{name}");
        assert_eq!(user(&body).unwrap().residual_risks.len(), 1, "{name}");
    }
    assert!(refused("[environment]\npass = [\"A=B\"]").contains("letters, digits"));
    let set =
        project("[environment]\nset = { NODE_OPTIONS = \"--max-old-space-size=4096\" }").unwrap();
    assert_eq!(set.set["NODE_OPTIONS"].value, "--max-old-space-size=4096");
}

/// The organisation's policy only forbids, caps and requires.
#[test]
fn pb2_the_organisation_cannot_permit() {
    for body in [
        "[network]\nallow = [\"a.example\"]",
        "[network]\npublish = [80]",
        "[network]\nresolver = \"10.0.0.1:53\"",
        "[files]\nread = [\"/srv/data\"]",
        "[files]\nwrite = []",
        "[environment]\npass = [\"X\"]",
        "[environment]\nset = { X = \"1\" }",
        "[workspace]\nunprotect = [\".vscode\"]",
        "[process]\ndebug = true",
        "name = \"x\"",
        "profile = \"claude-code\"",
    ] {
        let layers = Layers { organisation: &format!("version = 1\n{body}"), ..Layers::default() };
        let text = layers.problems();
        assert!(text.contains("may only forbid, cap and require"), "{body}: {text}");
    }
}

/// The command line's own texts are the places of its faults; a secret value is not repeated.
#[test]
fn faults_of_options_name_the_option() {
    let layers = Layers {
        command: CommandLine {
            allow: vec!["*".to_owned()],
            limits: vec!["memroy=4G".to_owned()],
            env: vec!["1X=very-secret".to_owned()],
            mode: Some("fast".to_owned()),
            ..CommandLine::default()
        },
        ..Layers::default()
    };
    let text = layers.problems();
    for part in [
        "command line: --allow *: `*` is too broad",
        "did you mean `memory`?",
        "the modes are review, pair, direct, read-only",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("very-secret"));
}

/// PB8: a long line and many rules cost no more than their length.
#[test]
fn pb8_many_rules_on_one_line_have_their_columns() {
    let all: Vec<_> = (0..20_000).map(|at| format!("\"hä{at}.example\"")).collect();
    let text = refused(&format!("[network]\nallow = [{}]", all.join(",")));
    assert!(text.starts_with("/code/p/ringfence.toml:3:10: "), "{text}");
    assert_eq!(text.matches("only letters, digits").count(), ringfence_policy::limits::PROBLEMS);
    let second = text.lines().nth(1).unwrap();
    assert!(second.starts_with("/code/p/ringfence.toml:3:24: "), "{second}");
    let all: Vec<_> = (0..20_000).map(|at| format!("\"h{at}.example\"")).collect();
    let list = all.join(",");
    let text = refused(&format!("[network]\nallow = [{list}]\ndeny = [{list}]"));
    assert!(text.contains("denies all of it"));
    let text = refused(&format!("[environment]\npass = [{}]", "\"X\",".repeat(1001)));
    assert!(text.contains("has 1001 entries; at most 1000 are read"), "{text}");
}

#[test]
fn hostile_files_are_refused_without_a_panic() {
    for bytes in [&b"\xff\xfe"[..], b"version = ", b"a.b.c.d = [[[[", &[b'['; 5000], b"\0"] {
        let text = ringfence_policy::DefinitionText { file: std::path::Path::new("x"), bytes };
        let found = ringfence_policy::check(&text, ringfence_model::provenance::Layer::Project);
        assert!(!found.unwrap_err().0.is_empty());
    }
    let large = vec![b' '; ringfence_policy::limits::DEFINITION_BYTES + 1];
    let text = ringfence_policy::DefinitionText { file: std::path::Path::new("x"), bytes: &large };
    let found = ringfence_policy::check(&text, ringfence_model::provenance::Layer::Project);
    assert!(found.unwrap_err().to_string().contains("has 1048577 bytes"));
}
