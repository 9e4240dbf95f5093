//! Toolchains of the user: found from `PATH`, wherever they lie, and seen without the credentials
//! beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ringfence_contained_tests::{Fixture, Job, write_script};

const SYSTEM: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that says who it is and where it was started from.
fn tool(path: &Path, says: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_script(path, &format!("#!/bin/sh\necho {says}\n"));
}

fn file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A run whose `PATH` begins with these directories of the host.
fn with_path<'a>(fixture: &'a Fixture, entries: &[&Path]) -> Job<'a> {
    let entries: Vec<String> = entries.iter().map(|e| e.display().to_string()).collect();
    fixture.job().env("PATH", format!("{}:{SYSTEM}", entries.join(":")))
}

/// Each family: where its program lies below the home, and a secret beside it that stays outside.
const FAMILIES: &[(&str, &str)] = &[
    (".cargo/bin/tool-rust", ".cargo/credentials.toml"),
    (".nvm/versions/node/v20/bin/tool-nvm", ".nvm/.env"),
    (".local/share/fnm/node-versions/v20/installation/bin/tool-fnm", ".local/share/fnm/token"),
    (".volta/bin/tool-volta", ".volta/credentials"),
    (".pyenv/shims/tool-pyenv", ".pypirc"),
    (".local/share/uv/tools/x/bin/tool-uv", ".local/share/uv/credentials/login"),
    (".local/bin/tool-local", ".local/secret"),
    (".local/share/mise/installs/node/20/bin/tool-mise", ".config/mise/config.toml"),
    (".asdf/shims/tool-asdf", ".netrc"),
    (".sdkman/candidates/java/21/bin/tool-sdkman", ".sdkman/etc/config"),
    ("go/bin/tool-go", "go/secret"),
    (".dotnet/tools/tool-dotnet", ".dotnet/corefx/cryptography/key.pfx"),
    (".deno/bin/tool-deno", ".deno/token"),
    (".bun/bin/tool-bun", ".bunfig.toml"),
    (".local/share/pnpm/tool-pnpm", ".config/pnpm/rc"),
    (".ghcup/bin/tool-ghcup", ".ghcup/config.yaml"),
    (".rbenv/shims/tool-rbenv", ".gem/credentials"),
    ("miniconda3/bin/tool-conda", ".condarc"),
    ("Android/Sdk/platform-tools/tool-android", ".android/adbkey"),
];

#[test]
fn tc1_each_family_runs_inside_without_the_secret_beside_it() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.home().join("miniconda3/conda-meta")).unwrap();
    let mut directories = Vec::new();
    let mut script = String::new();
    for (program, secret) in FAMILIES {
        let path = fixture.home().join(program);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        tool(&path, &format!("i-am-{name}"));
        file(&fixture.home().join(secret), "SECRET-BESIDE-A-TOOL");
        directories.push(path.parent().unwrap().to_owned());
        script.push_str(&format!(
            "printf '{name}\\t'; {name} 2>&1 || echo none; cat \"$HOME/{secret}\" 2>/dev/null; "
        ));
    }
    let directories: Vec<&Path> = directories.iter().map(|d| d.as_path()).collect();
    let run = with_path(&fixture, &directories);
    let inside = run.sh(&script);
    let control = run.unprotected_sh(&script);
    assert!(control.stdout.contains("SECRET-BESIDE-A-TOOL"), "{control:?}");
    assert!(!inside.text().contains("SECRET-BESIDE-A-TOOL"), "{inside:?}");
    for (program, _) in FAMILIES {
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        assert_eq!(inside.answer(name), format!("i-am-{name}"), "{inside:?}");
    }
}

#[test]
fn tc2_a_toolchain_outside_the_home_comes_in_and_what_lies_beside_it_does_not() {
    let fixture = Fixture::new();
    let srv = fixture.root().join("srv/tools");
    tool(&srv.join("bin/elsewhere"), "elsewhere");
    file(&srv.join("lib/part"), "a part");
    file(&srv.join("deploy.env"), "SECRET-BESIDE-A-TOOL");
    let run = with_path(&fixture, &[&srv.join("bin")]);
    let inside = run
        .sh(&format!("elsewhere; cat {0}/lib/part {0}/deploy.env; touch {0}/bin/x", srv.display()));
    assert!(inside.stdout.contains("elsewhere") && inside.stdout.contains("a part"), "{inside:?}");
    assert!(!inside.text().contains("SECRET-BESIDE-A-TOOL"), "{inside:?}");
    assert!(!srv.join("bin/x").exists(), "the host's tools were changed");
}

#[test]
fn tc3_links_and_shims_lead_to_where_the_program_really_is() {
    let fixture = Fixture::new();
    let real = fixture.root().join("srv/node");
    tool(&real.join("bin/noder"), "noder");
    tool(&fixture.root().join("srv/hidden/bin/engine"), "engine");
    let bin = fixture.home().join(".local/bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(real.join("bin/noder"), bin.join("noder")).unwrap();
    let engine = fixture.root().join("srv/hidden/bin/engine");
    write_script(&bin.join("shim"), &format!("#!/bin/sh\nexec \"{}\" \"$@\"\n", engine.display()));
    // The entry itself is a link to a place elsewhere.
    tool(&fixture.root().join("srv/more/bin/linked"), "linked");
    symlink(fixture.root().join("srv/more/bin"), fixture.home().join("more")).unwrap();
    let inside =
        with_path(&fixture, &[&bin, &fixture.home().join("more")]).sh("noder; shim; linked");
    assert_eq!(inside.stdout, "noder\nengine\nlinked\n", "{inside:?}");
}

#[test]
fn tc4_a_place_that_others_can_write_to_stays_outside_and_a_note_says_why() {
    let fixture = Fixture::new();
    let open = fixture.root().join("srv/open/bin");
    tool(&open.join("planted"), "planted");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let run = with_path(&fixture, &[&open]);
    let control = run.unprotected_sh("planted");
    assert_eq!(control.stdout, "planted\n", "{control:?}");
    let inside = run.sh("planted; echo \"$PATH\"");
    assert!(
        !inside.stdout.contains("planted") && !inside.stdout.contains("srv/open"),
        "{inside:?}"
    );
    assert!(inside.stderr.contains("everybody may write to"), "{inside:?}");
}

#[test]
fn tc5_a_directory_of_the_workspace_is_no_tool_of_the_host() {
    let fixture = Fixture::new();
    tool(&fixture.project().join("bin/own"), "own");
    let bin = fixture.project().join("bin");
    symlink(fixture.home().join("notes/token.txt"), bin.join("lure")).unwrap();
    let inside = with_path(&fixture, &[&bin]).sh("own; cat bin/lure; ls \"$HOME/notes\"");
    assert!(inside.stdout.contains("own"), "{inside:?}");
    assert!(!inside.text().contains("CANARY"), "{inside:?}");
    assert!(inside.stderr.contains("lies in the workspace"), "{inside:?}");
}

#[test]
fn tc6_virtual_environments_work_in_the_project_and_elsewhere() {
    let fixture = Fixture::new();
    let python = fixture.home().join(".pyenv/versions/3.12/bin/python-real");
    tool(&python, "python");
    for place in [fixture.project().join(".venv"), fixture.root().join("srv/venv")] {
        file(&place.join("pyvenv.cfg"), "home = /srv\n");
        file(&place.join("lib/site/x.py"), "x\n");
        fs::create_dir_all(place.join("bin")).unwrap();
        symlink(&python, place.join("bin/python-venv")).unwrap();
        let run = with_path(&fixture, &[&place.join("bin")]).env("VIRTUAL_ENV", &place);
        let inside = run.sh("python-venv; cat \"$VIRTUAL_ENV/lib/site/x.py\"");
        assert_eq!(inside.stdout, "python\nx\n", "{place:?}: {inside:?}");
        assert!(!inside.stderr.contains("lies in the workspace"), "{inside:?}");
    }
}

#[test]
fn tc6_s22_links_that_an_agent_left_in_an_environment_lead_nowhere() {
    let fixture = Fixture::new();
    let venv = fixture.project().join(".venv");
    file(&venv.join("pyvenv.cfg"), "home = /srv\n");
    fs::create_dir_all(venv.join("bin")).unwrap();
    let secret = fixture.sibling().join("secret.txt");
    let program = fixture.sibling().join("bin/private");
    tool(&program, "private");
    file(&fixture.sibling().join("share/notes"), "SECRET-BESIDE-A-TOOL");
    for (name, target) in [("python", &secret), ("python3", &program)] {
        symlink(target, venv.join("bin").join(name)).unwrap();
    }
    let run = with_path(&fixture, &[&venv.join("bin")]).env("VIRTUAL_ENV", &venv);
    let script = format!(
        "cat .venv/bin/python {0}/share/notes; python3; ls {0}",
        fixture.sibling().display()
    );
    let control = run.unprotected_sh(&script);
    assert!(
        control.stdout.contains("CANARY-sibling") && control.stdout.contains("private\n"),
        "{control:?}"
    );
    let inside = run.sh(&script);
    for secret in ["CANARY", "private", "SECRET", "share"] {
        assert!(!inside.stdout.contains(secret), "{inside:?}");
    }
}

#[test]
fn tc7_variables_of_toolchains_are_set_where_what_they_name_is_seen() {
    let fixture = Fixture::new();
    let java = fixture.root().join("srv/jdk");
    tool(&java.join("bin/java"), "java");
    file(&java.join("release"), "JAVA_VERSION=21\n");
    file(&java.join("lib/modules"), "modules\n");
    tool(&fixture.home().join(".nvm/versions/node/v20/bin/n"), "n");
    let other = fixture.root().join("srv/nothing");
    let run = with_path(&fixture, &[&fixture.home().join(".nvm/versions/node/v20/bin")])
        .env("JAVA_HOME", &java)
        .env("NVM_DIR", fixture.home().join(".nvm"))
        .env("PYENV_ROOT", &other)
        .env("CARGO_HOME", fixture.root().join("srv/cargo"))
        .env("RUSTUP_TOOLCHAIN", "stable")
        .env("GOROOT", fixture.home().join(".ssh"))
        .env("ANDROID_HOME", fixture.home())
        .env("MISE_GITHUB_TOKEN", "SECRET-BESIDE-A-TOOL")
        .env("UV_PUBLISH_TOKEN", "SECRET-BESIDE-A-TOOL");
    let inside = run.sh("env; \"$JAVA_HOME/bin/java\"; cat \"$JAVA_HOME/lib/modules\"");
    for set in [
        format!("JAVA_HOME={}\n", java.display()),
        format!("NVM_DIR={}\n", fixture.home().join(".nvm").display()),
        "RUSTUP_TOOLCHAIN=stable\n".to_owned(),
        "java\nmodules\n".to_owned(),
    ] {
        assert!(inside.stdout.contains(&set), "{set}: {inside:?}");
    }
    for unset in ["PYENV_ROOT=", "CARGO_HOME=", "GOROOT=", "ANDROID_HOME=", "SECRET"] {
        assert!(!inside.stdout.contains(unset), "{unset}: {inside:?}");
    }
}

#[test]
fn tc7_a_family_that_a_variable_moved_is_found_at_both_places() {
    let fixture = Fixture::new();
    let (usual, moved) = (fixture.home().join(".cargo/bin"), fixture.root().join("srv/cargo/bin"));
    tool(&usual.join("at-home"), "at-home");
    tool(&moved.join("moved"), "moved");
    file(&fixture.root().join("srv/rustup/toolchains/stable/lib/x"), "a toolchain\n");
    file(&fixture.root().join("srv/cargo/credentials.toml"), "SECRET-BESIDE-A-TOOL");
    let run = with_path(&fixture, &[&usual, &moved])
        .env("CARGO_HOME", fixture.root().join("srv/cargo"))
        .env("RUSTUP_HOME", fixture.root().join("srv/rustup"));
    let script = "at-home; moved; cat \"$RUSTUP_HOME/toolchains/stable/lib/x\"";
    let inside = run.sh(&format!("{script}; cat {}/../credentials.toml", moved.display()));
    assert_eq!(inside.stdout, "at-home\nmoved\na toolchain\n", "{inside:?}");
}

#[test]
fn tc8_settings_in_the_tree_of_a_tool_hide_when_they_hold_a_credential() {
    let fixture = Fixture::new();
    let node = fixture.home().join(".nvm/versions/node/v20");
    tool(&node.join("bin/n"), "n");
    file(&node.join("etc/npmrc"), "//r.test/:_authToken=SECRET-BESIDE-A-TOOL\n");
    file(&fixture.home().join(".nvm/versions/node/v18/etc/npmrc"), "fund=false\n");
    let maven = fixture.root().join("srv/maven");
    tool(&maven.join("bin/mvn"), "mvn");
    file(&maven.join("boot/x.jar"), "x");
    file(
        &maven.join("conf/settings.xml"),
        "<server><password>SECRET-BESIDE-A-TOOL</password></server>",
    );
    let run = with_path(&fixture, &[&node.join("bin"), &maven.join("bin")]);
    let script = format!(
        "cat {0}/etc/npmrc {1}/conf/settings.xml; cat {0}/../v18/etc/npmrc {1}/boot/x.jar; n; mvn",
        node.display(),
        maven.display()
    );
    assert!(run.unprotected_sh(&script).stdout.contains("SECRET-BESIDE-A-TOOL"));
    let inside = run.sh(&script);
    assert!(!inside.text().contains("SECRET-BESIDE-A-TOOL"), "{inside:?}");
    assert!(inside.stdout.ends_with("fund=false\nxn\nmvn\n"), "{inside:?}");
}
