//! What each tool's settings mean, from made-up homes; and that no login is ever taken along.

use std::collections::BTreeMap;
use std::fs;

use ringfence_policy::{Bundle, BundleHosts, NoBundle};

use super::{Hints, Look, hosts, settings};

const SECRET: &str = "hunter2-SECRET";

/// A made-up host: a home, a project, a system root and variables.
struct Made {
    base: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Made {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for place in ["home", "project", "root"] {
            fs::create_dir_all(base.path().join(place)).unwrap();
        }
        Self { base, variables: BTreeMap::new() }
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.base.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        let value = value.replace("@", &self.base.path().display().to_string());
        self.variables.insert(name.to_owned(), value);
        self
    }

    fn look<T>(&self, ask: impl FnOnce(&Look<'_>) -> T) -> T {
        let base = fs::canonicalize(self.base.path()).unwrap();
        let at = |name: &str| base.join(name);
        let variable = |name: &str| self.variables.get(name).cloned();
        ask(&Look {
            home: &at("home"),
            workspace: &at("project"),
            root: &at("root"),
            variable: &variable,
        })
    }

    fn hosts(&self, bundle: Bundle) -> Result<BundleHosts, NoBundle> {
        self.look(|look| hosts(bundle, look))
    }

    /// `HOST:PORT from PLACE` of each host.
    fn words(&self, bundle: Bundle) -> Vec<String> {
        let base = fs::canonicalize(self.base.path()).unwrap().display().to_string();
        let found = self.hosts(bundle).unwrap().hosts.into_iter();
        found.map(|h| format!("{} from {}", h.destination, h.from).replace(&base, "@")).collect()
    }

    /// Everything that goes inside, as one text.
    fn inside(&self, bundle: Bundle) -> String {
        format!("{:?}", self.look(|look| settings(bundle, look)))
    }
}

#[test]
fn npm_reads_the_users_file_before_the_machines_and_scopes_beside_them() {
    let own = Made::new()
        .file("home/.npmrc", "; comment\nregistry = http://127.0.0.1:4873/\n@acme:registry=https://npm.corp.test/x/\n//npm.corp.test/x/:_authToken=hunter2-SECRET\n")
        .file("root/etc/npmrc", "registry=https://machine.test/\n@other:registry=https://other.test:8443/\n");
    assert_eq!(
        own.words(Bundle::Npm),
        [
            "host.ringfence:4873 from ~/.npmrc:2",
            "npm.corp.test:443 from ~/.npmrc:3",
            "other.test:8443 from @/root/etc/npmrc:2"
        ]
    );
    let inside = own.inside(Bundle::Npm);
    assert!(inside.contains("registry=http://host.ringfence:4873/"), "{inside}");
    assert!(inside.contains("@acme:registry=https://npm.corp.test/x/"), "{inside}");
    assert!(inside.contains("replace-registry-host=always"), "{inside}");
    assert!(!inside.contains(SECRET), "{inside}");
}

#[test]
fn npm_without_settings_asks_what_the_installed_one_says() {
    let own = Made::new().file("root/lib/node_modules/npm/bin/npm-cli.js", "").file(
        "root/lib/node_modules/npm/node_modules/npm-registry-fetch/lib/default-opts.js",
        "module.exports = {\n  registry: 'https://npm.default.test/',\n}\n",
    );
    let bin = own.base.path().join("root/bin");
    fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink("../lib/node_modules/npm/bin/npm-cli.js", bin.join("npm")).unwrap();
    let own = own.set("PATH", "@/root/bin");
    assert!(own.words(Bundle::Npm)[0].starts_with("npm.default.test:443 from "));
    // What the tool says by itself leads to public addresses only.
    assert!(own.hosts(Bundle::Npm).unwrap().hosts[0].addresses.is_empty());
    let found =
        |name: &str| own.look(|look| Hints::default().of(&name.parse().unwrap(), 443, look));
    assert_eq!(found("npm.default.test"), Some(Bundle::Npm));
    assert_eq!(found("elsewhere.test"), None);
}

#[test]
fn a_private_range_opens_for_a_configured_name_and_for_no_address_or_loopback() {
    let own = Made::new().set(
        "GOPROXY",
        "https://proxy.corp.test|http://localhost:3000,https://10.1.2.3:8443/go,direct",
    );
    let own = own.set("GOSUMDB", "sum.test+0123 https://sums.corp.test");
    let found = own.hosts(Bundle::Go).unwrap().hosts;
    let words: Vec<_> =
        found.iter().map(|h| (h.destination.to_string(), h.addresses.len())).collect();
    let expected = [
        ("proxy.corp.test:443", 4),
        ("host.ringfence:3000", 0),
        ("10.1.2.3/32:8443", 0),
        ("sums.corp.test:443", 4),
    ];
    assert_eq!(words, expected.map(|(text, count)| (text.to_owned(), count)));
    let inside = own.inside(Bundle::Go);
    assert!(inside.contains("https://proxy.corp.test|http://host.ringfence:3000,"), "{inside}");
}

#[test]
fn another_loopback_address_is_left_out_and_said() {
    let own = Made::new().file("home/.npmrc", "registry=http://127.0.0.5:4873/\n");
    let why = own.hosts(Bundle::Npm).unwrap_err().why;
    assert!(why.contains("127.0.0.5 is a loopback address other than 127.0.0.1"), "{why}");
}

#[test]
fn pip_and_uv_read_their_files_and_no_login_goes_inside() {
    let own = Made::new()
        .file(
            "home/.config/pip/pip.conf",
            "[global]\nindex-url = https://me:hunter2-SECRET@pip.corp.test/simple\nextra-index-url =\n    http://127.0.0.1:3141/x\n    https://more.test/simple\n",
        )
        .file("root/etc/pip.conf", "[global]\nindex-url = https://machine.test/simple\n");
    assert_eq!(
        own.words(Bundle::Pypi),
        [
            "pip.corp.test:443 from ~/.config/pip/pip.conf:2",
            "host.ringfence:3141 from ~/.config/pip/pip.conf:4",
            "more.test:443 from ~/.config/pip/pip.conf:5"
        ]
    );
    let inside = own.inside(Bundle::Pypi);
    assert!(inside.contains("index-url = https://pip.corp.test/simple"), "{inside}");
    assert!(inside.contains("trusted-host = host.ringfence"), "{inside}");
    assert!(!inside.contains(SECRET) && !inside.contains("me:"), "{inside}");
    let own = Made::new().set("UV_INDEX", "corp=https://uv.corp.test/simple");
    assert_eq!(own.words(Bundle::Pypi), ["uv.corp.test:443 from $UV_INDEX"]);
}

#[test]
fn pip_without_settings_asks_the_index_and_the_file_host_of_its_own_source() {
    let index = "PyPI = PackageIndex(\n    \"https://index.test/\", file_storage_domain=\"files.test\"\n)\nTestPyPI = 1\n";
    let path = "root/usr/lib/python3/dist-packages/pip/_internal/models/index.py";
    let own = Made::new().file(path, index);
    let hosts: Vec<_> =
        own.hosts(Bundle::Pypi).unwrap().hosts.iter().map(|h| h.destination.to_string()).collect();
    assert_eq!(hosts, ["index.test:443", "files.test:443"]);
}

#[test]
fn cargo_follows_replacement_and_the_copy_of_the_index() {
    let own = Made::new()
        .file(
            "home/.cargo/config.toml",
            "[source.crates-io]\nreplace-with = 'one'\n[source.one]\nreplace-with = \"two\"\n[source.two]\nregistry = \"sparse+https://crates.corp.test/index/\"\n[registries.acme]\nindex = \"sparse+https://acme.test/\"\ntoken = \"hunter2-SECRET\"\n",
        )
        .file(
            "home/.cargo/registry/index/crates.corp.test-0123456789abcdef/config.json",
            "{\"dl\":\"https://files.corp.test/{crate}\"}",
        )
        // A project's registry that the user once built with: another host, so no part of it.
        .file(
            "home/.cargo/registry/index/evil.test-0123456789abcdef/config.json",
            "{\"dl\":\"https://evil.test/dl\"}",
        );
    let words = own.words(Bundle::Crates);
    let hosts: Vec<&str> = words.iter().map(|w| w.split(' ').next().unwrap()).collect();
    assert_eq!(hosts, ["acme.test:443", "crates.corp.test:443", "files.corp.test:443"]);
    assert!(!own.inside(Bundle::Crates).contains(SECRET));
}

#[test]
fn an_index_opens_no_loopback_and_no_private_network_by_the_downloads_that_it_names() {
    let copy = |dl: &str| {
        let config = "[source.crates-io]\nreplace-with = \"c\"\n[source.c]\nregistry = \"sparse+https://crates.corp.test/\"\n";
        let file = "home/.cargo/registry/index/crates.corp.test-0123456789abcdef/config.json";
        let own = Made::new()
            .file("home/.cargo/config.toml", config)
            .file(file, &format!("{{\"dl\":\"{dl}\"}}"));
        let found = own.hosts(Bundle::Crates).unwrap();
        let hosts = found.hosts.iter().map(|h| (h.destination.to_string(), h.addresses.len()));
        (hosts.collect::<Vec<_>>(), found.notes.join(" "))
    };
    let index = ("crates.corp.test:443".to_owned(), 4);
    for dl in ["http://127.0.0.1:5432/x", "https://10.0.0.1/x", "http://localhost:80/"] {
        let (hosts, notes) = copy(dl);
        assert_eq!(hosts, std::slice::from_ref(&index), "{dl}");
        assert!(notes.contains("does not count"), "{notes}");
    }
    let (hosts, _) = copy("https://internal.corp.test/x");
    assert_eq!(hosts, [index, ("internal.corp.test:443".to_owned(), 0)]);
}

#[test]
fn cargo_without_settings_asks_the_index_that_stands_in_the_program() {
    let own = Made::new().file(
        "home/.rustup/toolchains/stable/bin/cargo",
        "\0sparse+https://not a host\0see sparse+https://\0sparse+https://index.test/\0",
    );
    let words = own.words(Bundle::Crates);
    assert_eq!(words, ["index.test:443 from ~/.rustup/toolchains/stable/bin/cargo"]);
}

#[test]
fn apt_reads_both_formats_and_the_proxy() {
    let own = Made::new()
        .file("root/etc/apt/sources.list", "# deb http://off.test x\ndeb [arch=amd64] https://me:hunter2-SECRET@one.test/debian stable main\n")
        .file("root/etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: http://two.test/debian\n https://three.test/\nSuites: stable\n\nEnabled: no\nURIs: http://off.test\n")
        .file("root/etc/apt/sources.list.d/b.list", "deb cdrom:[x]/ stable\n")
        .file("root/etc/apt/apt.conf.d/p", "Acquire::http::Proxy \"http://cache.test:3142\";\n");
    let words = own.words(Bundle::Debian);
    let hosts: Vec<&str> = words.iter().map(|w| w.split(' ').next().unwrap()).collect();
    assert_eq!(hosts, ["one.test:443", "two.test:80", "three.test:443", "cache.test:3142"]);
}

#[test]
fn go_falls_back_to_the_installed_tree() {
    let own = Made::new()
        .file("root/go/bin/go", "")
        .file("root/go/go.env", "GOPROXY=https://proxy.test,direct\nGOSUMDB=sum.test\n")
        .set("PATH", "@/root/go/bin");
    let words = own.words(Bundle::Go);
    let hosts: Vec<&str> = words.iter().map(|w| w.split(' ').next().unwrap()).collect();
    assert_eq!(hosts, ["proxy.test:443", "sum.test:443"]);
}

#[test]
fn maven_reads_mirrors_and_never_a_server() {
    let own = Made::new().file(
        "home/.m2/settings.xml",
        "<settings>\n<!-- <mirror><url>https://off.test/</url></mirror> -->\n<mirrors><mirror><id>c</id><mirrorOf>*</mirrorOf>\n<url>https://maven.corp.test/all</url></mirror>\n<mirror><url>http://0.0.0.0/</url><blocked>true</blocked></mirror></mirrors>\n<servers><server><id>c</id><password>hunter2-SECRET</password></server></servers></settings>",
    );
    assert_eq!(own.words(Bundle::Maven), ["maven.corp.test:443 from ~/.m2/settings.xml:3"]);
    let inside = own.inside(Bundle::Maven);
    assert!(inside.contains("https://maven.corp.test/all") && !inside.contains(SECRET), "{inside}");
}

#[test]
fn files_of_the_project_are_noted_and_open_nothing() {
    let own = Made::new()
        .file("home/.npmrc", "registry=https://npm.corp.test/\n")
        .file("project/.npmrc", "registry=https://evil.test/\n")
        .file("project/bin/npm", "")
        .set("PATH", "@/project/bin")
        .set("npm_config_globalconfig", "@/project/.npmrc");
    assert_eq!(own.words(Bundle::Npm), ["npm.corp.test:443 from ~/.npmrc:1"]);
    let notes = own.hosts(Bundle::Npm).unwrap().notes;
    assert!(notes[0].contains(".npmrc:1 names a registry, which does not count"), "{notes:?}");
}

#[test]
fn where_nothing_is_known_the_answer_says_what_was_looked_at() {
    let own = Made::new();
    for bundle in Bundle::ALL.into_iter().filter(|bundle| *bundle != Bundle::GithubRead) {
        let NoBundle { why, fix } = own.hosts(bundle).unwrap_err();
        assert!(why.contains("looked at") && !fix.is_empty(), "{bundle}: {why} / {fix}");
    }
}

#[test]
fn an_address_is_read_strictly_and_its_login_is_dropped() {
    let read = |text: &str| text.parse::<super::url::Url>().map(|url| url.to_string());
    assert_eq!(
        read("sparse+https://u:p@Host.Test:8443/a?b#c").as_deref(),
        Ok("https://host.test:8443/a")
    );
    assert_eq!(read("http://[::1]:80/x").as_deref(), Ok("http://[::1]/x"));
    for bad in [
        "ftp://a/",
        "a.test",
        "https://",
        "https://a:0/",
        "https://a b/",
        "https://a/\"\n[x]",
        "file:///x",
    ] {
        let why = read(bad).unwrap_err();
        assert!(!why.contains("a b"), "{bad}");
    }
}
