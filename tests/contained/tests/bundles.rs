//! Bundles: `--allow npm` opens what the host's npm is configured to ask, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_contained_tests::{Fixture, needs, skip};
use support::registry::Registry;

const SECRET: &str = "SECRET-OF-A-REGISTRY";

fn file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn work(fixture: &Fixture) -> PathBuf {
    let work = fixture.root().join("packages");
    fs::create_dir_all(&work).unwrap();
    work
}

#[test]
fn bu1_npm_installs_from_the_registry_of_the_users_npmrc() {
    needs!("npm");
    let (fixture, registry) = (Fixture::new(), Registry::start());
    registry.npm(&work(&fixture), "tiny-thing");
    registry.npm(&work(&fixture), "@acme/tool");
    let (url, port) = (registry.url(), registry.port());
    file(
        &fixture.home().join(".npmrc"),
        &format!(
            "registry={url}/\n@acme:registry={url}/\n//127.0.0.1:{port}/:_authToken={SECRET}\n"
        ),
    );
    file(&fixture.project().join("package.json"), "{\"name\":\"p\",\"version\":\"1.0.0\"}");
    let install = "npm install --no-audit --no-fund --fetch-retries=0 tiny-thing @acme/tool >out.txt 2>&1; tail -n 5 out.txt; node -p \"require('tiny-thing') + require('@acme/tool')\"; cat ~/.npmrc /etc/ringfence/npmrc";
    // Without the bundle nothing is reached, and the hint names it.
    let denied = fixture.job().sh(install);
    assert!(!denied.stdout.contains("installedinstalled"), "{denied:?}");
    assert_eq!(registry.asked(), 0);
    assert!(denied.stderr.contains("keep: ringfence allow npm\n"), "{denied:?}");
    assert!(denied.stderr.contains("now:  ringfence run --allow npm"), "{denied:?}");
    let allowed = fixture.job().flags(["--allow", "npm"]).sh(install);
    assert!(allowed.stdout.contains("installedinstalled"), "{allowed:?}");
    assert!(allowed.stdout.contains(&format!("registry=http://host.ringfence:{port}/")));
    assert!(!allowed.text().contains(SECRET), "{allowed:?}");
    assert!(registry.asked() >= 4);
    let shown = fixture.ringfence(&["policy", "show", "--allow", "npm"]);
    let row = format!("host.ringfence:{port}");
    let row = shown.stdout.lines().find(|line| line.contains(&row)).expect("the row").to_owned();
    assert!(row.contains("bundle npm, from ~/.npmrc:1 (command line: --allow npm)"), "{row}");
}

#[test]
fn bu2_pip_installs_from_the_index_of_the_users_pip_conf() {
    needs!("python3");
    needs!("pip3");
    let (fixture, registry) = (Fixture::new(), Registry::start());
    registry.pypi(&work(&fixture));
    let index = format!("http://login:{SECRET}@127.0.0.1:{}/simple", registry.port());
    file(&fixture.config().join("pip/pip.conf"), &format!("[global]\nindex-url = {index}\n"));
    let install = "/usr/bin/pip3 install --quiet --retries 0 --target out tiny-thing 2>&1 | tail -n 3; python3 -c 'import sys; sys.path.insert(0, \"out\"); import tiny_thing; print(tiny_thing.word)'; cat /etc/pip.conf ~/.config/pip/pip.conf";
    let denied = fixture.job().sh(install);
    assert!(!denied.stdout.contains("\ninstalled\n"), "{denied:?}");
    assert_eq!(registry.asked(), 0);
    assert!(denied.stderr.contains("keep: ringfence allow pypi"), "{denied:?}");
    let allowed = fixture.job().flags(["--allow", "pypi"]).sh(install);
    assert!(allowed.stdout.contains("installed\n"), "{allowed:?}");
    assert!(!allowed.text().contains(SECRET), "{allowed:?}");
}

#[test]
fn bu3_cargo_fetches_from_the_source_of_the_users_configuration() {
    let Some(cargo) = std::env::var_os("CARGO").map(PathBuf::from).filter(|c| c.is_absolute())
    else {
        skip("cargo", "the test was not started by it");
        return;
    };
    let (fixture, registry) = (Fixture::new(), Registry::start());
    registry.cargo(&work(&fixture));
    let config = format!(
        "[source.crates-io]\nreplace-with = \"corp\"\n[source.corp]\nregistry = \"sparse+{}/index/\"\n[registry]\ntoken = \"{SECRET}\"\n",
        registry.url()
    );
    file(&fixture.home().join(".cargo/config.toml"), &config);
    file(&fixture.project().join("src/lib.rs"), "");
    file(
        &fixture.project().join("Cargo.toml"),
        "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\ntiny-thing = \"1\"\n",
    );
    let bin = cargo.parent().unwrap();
    let run = fixture.job().env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let fetch = "cargo fetch 2>&1 | tail -n 5; ls ~/.cargo/registry/src/*; cat /.cargo/config.toml ~/.cargo/config.toml";
    let denied = run.clone().sh(fetch);
    assert!(!denied.stdout.contains("\ntiny-thing-1.0.0"), "{denied:?}");
    assert_eq!(registry.asked(), 0);
    assert!(denied.stderr.contains("keep: ringfence allow crates"), "{denied:?}");
    let allowed = run.flags(["--allow", "crates"]).sh(fetch);
    assert!(allowed.stdout.contains("\ntiny-thing-1.0.0"), "{allowed:?}");
    assert!(!allowed.text().contains(SECRET), "{allowed:?}");
}

#[test]
fn bu4_go_downloads_from_the_proxy_of_the_environment() {
    needs!("python3");
    needs!("go");
    let (fixture, registry) = (Fixture::new(), Registry::start());
    registry.go(&work(&fixture));
    file(&fixture.project().join("go.mod"), "module p\n\nrequire tiny.test/thing v1.0.0\n");
    let run = fixture.job().env("GOPROXY", registry.url()).env("GOSUMDB", "off");
    let download = "go mod download tiny.test/thing 2>&1 | tail -n 3; ls ~/go/pkg/mod/tiny.test";
    let denied = run.clone().sh(download);
    assert!(!denied.stdout.contains("thing@v1.0.0\n"), "{denied:?}");
    assert_eq!(registry.asked(), 0);
    assert!(denied.stderr.contains("keep: ringfence allow go"), "{denied:?}");
    let allowed = run.flags(["--allow", "go"]).sh(download);
    assert!(allowed.stdout.contains("thing@v1.0.0\n"), "{allowed:?}");
}

#[test]
fn bu5_what_the_project_names_opens_nothing_and_a_note_says_so() {
    needs!("python3");
    let (fixture, users, strangers) = (Fixture::new(), Registry::start(), Registry::start());
    let user = |name: &str, text: String| file(&fixture.home().join(name), &text);
    user(".npmrc", format!("registry={}/\n", users.url()));
    user(
        ".cargo/config.toml",
        format!(
            "[source.crates-io]\nreplace-with = \"c\"\n[source.c]\nregistry = \"sparse+{}/\"\n",
            users.url()
        ),
    );
    file(
        &fixture.config().join("pip/pip.conf"),
        &format!("[global]\nindex-url = {}/simple\n", users.url()),
    );
    let evil = strangers.url();
    let project = |name: &str, text: String| file(&fixture.project().join(name), &text);
    project(".npmrc", format!("registry={evil}/\n"));
    project("pip.conf", format!("[global]\nindex-url = {evil}/simple\n"));
    project(
        ".cargo/config.toml",
        format!(
            "[source.crates-io]\nreplace-with = \"e\"\n[source.e]\nregistry = \"sparse+{evil}/\"\n"
        ),
    );
    for bundle in ["npm", "pypi", "crates"] {
        let shown = fixture.ringfence(&["policy", "show", "--allow", bundle]);
        assert!(shown.stdout.contains(&format!("host.ringfence:{}", users.port())), "{shown:?}");
        assert!(!shown.stdout.contains(&strangers.port().to_string()), "{shown:?}");
        let checked = fixture.ringfence(&["policy", "check", "--allow", bundle]);
        assert!(checked.stdout.contains("which does not count"), "{checked:?}");
    }
    let words = format!(
        "python3 - <<'E'\nimport socket\nfor port in ({}, {}):\n  try:\n    s = socket.create_connection(('host.ringfence', port), 5)\n    s.sendall(b'GET / HTTP/1.1\\r\\nHost: host.ringfence:%d\\r\\n\\r\\n' % port)\n    print(port, s.recv(12))\n  except OSError as e:\n    print(port, 'no')\nE",
        users.port(),
        strangers.port()
    );
    let inside = fixture.job().flags(["--allow", "npm"]).sh(&words);
    assert!(inside.stdout.contains("HTTP/1.1 404"), "{inside:?}");
    assert_eq!((users.asked(), strangers.asked()), (1, 0), "{inside:?}");
    // The control group: without a boundary the stranger's is reached.
    let control = fixture.unprotected(&words.replace("host.ringfence", "127.0.0.1"));
    assert!(strangers.asked() == 1, "{control:?}");
}

#[test]
fn bu6_a_bundle_in_a_projects_definition_widens_by_what_it_opens() {
    let fixture = Fixture::new();
    file(&fixture.home().join(".npmrc"), "registry=https://registry.corp.test/npm/\n");
    let definition = "version = 1\n[network]\nallow = [\"npm\"]\n";
    file(&fixture.project().join("ringfence.toml"), definition);
    let refused = fixture.job().sh("true");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("registry.corp.test:443"), "{refused:?}");
    assert!(refused.stderr.contains("bundle npm, from ~/.npmrc:1"), "{refused:?}");
    let shown = fixture.ringfence(&["policy", "check"]);
    assert!(shown.stdout.contains("not in force until you accept it"), "{shown:?}");
}

#[test]
fn bu7_where_nothing_is_known_the_error_names_tool_places_and_line() {
    let fixture = Fixture::new();
    file(&fixture.home().join(".npmrc"), "");
    let run = fixture.job().env("PATH", "/nowhere");
    let refused = run.bare().verb(&["policy", "check", "--allow", "npm"]);
    assert_ne!(refused.code, 0);
    for word in ["npm says nowhere", "~/.npmrc", "fix: install npm, or write the line"] {
        assert!(refused.stderr.contains(word), "{word}: {refused:?}");
    }
    let unknown = fixture.ringfence(&["policy", "check", "--allow", "nmp"]);
    assert!(unknown.stderr.contains("or a bundle: npm, pypi"), "{unknown:?}");
    let denied = fixture.ringfence(&["policy", "check", "--deny", "npm"]);
    assert!(denied.stderr.contains("a bundle can only be allowed"), "{denied:?}");
}

#[test]
fn bu8_github_read_opens_hosts_and_says_what_it_does_not_stop() {
    let fixture = Fixture::new();
    let shown = fixture.ringfence(&["policy", "show", "--allow", "github-read"]);
    let rows = shown.stdout.lines().filter(|line| line.contains("bundle github-read"));
    assert!(rows.count() >= 4, "{shown:?}");
    let risk = fixture.job().flags(["--allow", "github-read"]).sh("true");
    assert_eq!(risk.code, 0, "{risk:?}");
    let started = fixture.ledger();
    let text = format!("{:?}", started.events("start"));
    assert!(text.contains("a push with a token that the agent has is not stopped"), "{text}");
}
