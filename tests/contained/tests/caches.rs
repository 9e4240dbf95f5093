//! Package caches: seen from inside, changed only inside, wherever the host keeps them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_contained_tests::{Fixture, Job, write_script};

/// A fixture whose `PATH` has a program of each of these names.
fn with_tools<'a>(fixture: &'a Fixture, names: &[&str]) -> Job<'a> {
    let bin = fixture.home().join(".local/bin");
    fs::create_dir_all(&bin).unwrap();
    for name in names {
        write_script(&bin.join(name), "#!/bin/sh\n");
    }
    fixture.job().env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
}

fn plant(directory: &Path) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let file = directory.join("package");
    fs::write(&file, "genuine\n").unwrap();
    file
}

/// What a poisoned package does to a cache: it changes what is there and adds something.
fn poison(at: &str) -> String {
    format!(
        "cat {at}/package && echo poisoned > {at}/package && echo more > {at}/added && cat {at}/package"
    )
}

/// Each cache: its tool, and where it is without any variable.
const CACHES: &[(&str, &str)] = &[
    ("cargo", ".cargo/registry"),
    ("cargo", ".cargo/git"),
    ("npm", ".npm/_cacache"),
    ("go", "go/pkg/mod"),
    ("mvn", ".m2/repository"),
    ("gradle", ".gradle/caches"),
    ("dotnet", ".nuget/packages"),
    ("pnpm", ".local/share/pnpm/store"),
    ("yarn", ".yarn/berry/cache"),
    ("bun", ".bun/install/cache"),
];

#[test]
fn s22_a_poisoned_package_changes_no_cache_of_the_host() {
    let fixture = Fixture::new();
    let tools: Vec<&str> = CACHES.iter().map(|(tool, _)| *tool).collect();
    let run = with_tools(&fixture, &tools);
    for (_, place) in CACHES {
        let file = plant(&fixture.home().join(place));
        let attack = poison(&format!("\"$HOME/{place}\""));
        // The control group: without a boundary the same words do poison it.
        let control = run.unprotected_sh(&attack);
        assert_eq!(control.stdout, "genuine\npoisoned\n", "{control:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "poisoned\n");
        fs::remove_file(file.with_file_name("added")).unwrap();
        fs::write(&file, "genuine\n").unwrap();
    }
    let attack: Vec<String> =
        CACHES.iter().map(|(_, at)| poison(&format!("\"$HOME/{at}\""))).collect();
    for _again in 0..2 {
        // The second run shows that the first left nothing behind for it either.
        let inside = run.sh(&attack.join(" && "));
        assert_eq!(inside.stdout, "genuine\npoisoned\n".repeat(CACHES.len()), "{inside:?}");
        for (_, place) in CACHES {
            let directory = fixture.home().join(place);
            assert_eq!(fs::read_to_string(directory.join("package")).unwrap(), "genuine\n");
            assert!(!directory.join("added").exists(), "{place}");
        }
    }
}

/// Caches that a variable moved: the tool, the variable, what is appended, where it is seen
/// without the variable.
const MOVED: &[(&str, &str, &str, &str)] = &[
    ("cargo", "CARGO_HOME", "/registry", ".cargo/registry"),
    ("npm", "npm_config_cache", "/_cacache", ".npm/_cacache"),
    ("pip", "PIP_CACHE_DIR", "", ".cache/pip"),
    ("uv", "UV_CACHE_DIR", "", ".cache/uv"),
    ("go", "GOMODCACHE", "", "go/pkg/mod"),
    ("go", "GOCACHE", "", ".cache/go-build"),
];

#[test]
fn s22_a_cache_that_was_moved_is_found_and_kept_as_well() {
    let fixture = Fixture::new();
    for (tool, variable, rest, unmoved) in MOVED {
        for (base, stays) in
            [(fixture.home().join("moved"), true), (fixture.root().join("srv"), false)]
        {
            let at = base.join(variable);
            let file = plant(Path::new(&format!("{}{rest}", at.display())));
            let run = with_tools(&fixture, &[tool]).env(variable, &at);
            let place = if stays {
                format!("\"${{{variable}}}{rest}\"")
            } else {
                format!("\"${{{variable}-$HOME/{unmoved}}}\"")
            };
            let inside = run.sh(&poison(&place));
            assert_eq!(inside.stdout, "genuine\npoisoned\n", "{variable} {stays}: {inside:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), "genuine\n", "{variable}");
        }
    }
    // All at once, by the base directory.
    let base = fixture.root().join("xdg");
    plant(&base.join("uv"));
    let run = with_tools(&fixture, &["uv"]).env("XDG_CACHE_HOME", &base);
    let inside = run.sh(&poison("\"$HOME/.cache/uv\""));
    assert_eq!(inside.stdout, "genuine\npoisoned\n", "{inside:?}");
    assert_eq!(fs::read_to_string(base.join("uv/package")).unwrap(), "genuine\n");
}

#[test]
fn s22_a_cache_that_does_not_exist_is_not_made_on_the_host() {
    let fixture = Fixture::new();
    let run = with_tools(&fixture, &["cargo", "npm", "go"]);
    let script = "mkdir -p ~/.cargo/registry ~/.npm/_cacache ~/go/pkg/mod && echo x > ~/.npm/_cacache/x && cat ~/.npm/_cacache/x";
    let inside = run.sh(script);
    assert_eq!(inside.stdout, "x\n", "{inside:?}");
    for place in [".cargo", ".npm", "go"] {
        assert!(!fixture.home().join(place).exists(), "{place} was made on the host");
    }
    assert_eq!(run.unprotected_sh(script).code, 0);
    assert!(fixture.home().join(".npm/_cacache/x").exists(), "the control group made nothing");
}

#[test]
fn only_caches_of_tools_that_are_on_path_cost_a_mount() {
    let fixture = Fixture::new();
    plant(&fixture.home().join(".nuget/packages"));
    plant(&fixture.home().join(".gradle/caches"));
    let count = "grep -c ' - overlay ' /proc/self/mountinfo";
    let without = with_tools(&fixture, &[]).sh(count).stdout;
    let with = with_tools(&fixture, &["dotnet"]).sh(count).stdout;
    let number = |text: &str| text.trim().parse::<u32>().unwrap();
    assert_eq!(number(&with), number(&without) + 1);
}

#[test]
fn s22_a_variable_cannot_name_a_place_of_secrets_as_a_cache() {
    let fixture = Fixture::new();
    for place in [fixture.home().join(".ssh"), fixture.home()] {
        let run = with_tools(&fixture, &["pip"]).env("PIP_CACHE_DIR", &place);
        let control =
            run.unprotected_sh("cat \"$PIP_CACHE_DIR\"/id_rsa \"$PIP_CACHE_DIR\"/.ssh/id_rsa");
        assert!(control.stdout.contains("CANARY"), "{control:?}");
        let inside = run.sh("ls -A ~/.ssh ~/.cache/pip; cat ~/.ssh/* ~/.cache/pip/*");
        assert!(
            !inside.stdout.contains("id_rsa") && !inside.text().contains("CANARY"),
            "{inside:?}"
        );
    }
}
