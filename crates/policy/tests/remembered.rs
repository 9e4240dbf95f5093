//! Entries that are added to a definition's text: what stands there stays, byte for byte.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use proptest::prelude::*;
use ringfence_model::provenance::Layer;
use ringfence_policy::{DefinitionText, Key, Problems, Remember, Remembered, remember};

fn entry(key: Key, text: &str) -> Remember {
    Remember { key, text: text.to_owned() }
}

fn add(text: &str, entries: &[Remember]) -> Result<Remembered, Problems> {
    let file = Path::new("/p/ringfence.toml");
    remember(&DefinitionText { file, bytes: text.as_bytes() }, Layer::Project, entries)
}

fn allow(text: &str, host: &str) -> String {
    add(text, &[entry(Key::Allow, host)]).unwrap().text
}

#[test]
fn every_way_of_writing_a_list_is_kept() {
    let cases = [
        ("version = 1\n", "version = 1\n\n[network]\nallow = [\"n.example\"]\n"),
        ("version = 1", "version = 1\n\n[network]\nallow = [\"n.example\"]\n"),
        (
            "version = 1\n[network] # why\n# allow = [\"x\"]\n[files]\n",
            "version = 1\n[network] # why\nallow = [\"n.example\"]\n# allow = [\"x\"]\n[files]\n",
        ),
        ("version = 1\n[network]", "version = 1\n[network]\nallow = [\"n.example\"]\n"),
        (
            "version = 1\n[network]\nallow = [\"a.example\"] # one\ndeny = [\"b.example\"]\n",
            "version = 1\n[network]\nallow = [\"a.example\", \"n.example\"] # one\ndeny = [\"b.example\"]\n",
        ),
        (
            "version = 1\n[network]\nallow = ['a.example', ]\n",
            "version = 1\n[network]\nallow = ['a.example', \"n.example\", ]\n",
        ),
        (
            "version = 1\n[network]\nallow = [\n    \"a.example\", # a, \"x\"\n    # last\n]\n",
            "version = 1\n[network]\nallow = [\n    \"a.example\", # a, \"x\"\n    \"n.example\",\n    # last\n]\n",
        ),
        (
            "version = 1\n[network]\nallow = [\n\t\"a.example\" # no comma, none\n]\n",
            "version = 1\n[network]\nallow = [\n\t\"a.example\", # no comma, none\n\t\"n.example\"\n]\n",
        ),
        (
            "version = 1\n[network]\nallow = [\n  \"a.example\"]\n",
            "version = 1\n[network]\nallow = [\n  \"a.example\", \"n.example\"]\n",
        ),
        (
            "version = 1\n[network]\nallow = [\n  { host = \"a.example\", for = \"2h\" },\n]\n",
            "version = 1\n[network]\nallow = [\n  { host = \"a.example\", for = \"2h\" },\n  \"n.example\",\n]\n",
        ),
        (
            "version = 1\r\n[network]\r\nallow = [\r\n  \"a.example\",\r\n]\r\n",
            "version = 1\r\n[network]\r\nallow = [\r\n  \"a.example\",\r\n  \"n.example\",\r\n]\r\n",
        ),
        (
            "version = 1\nnetwork.deny = [\"b.example\"]\n",
            "version = 1\nnetwork.allow = [\"n.example\"]\nnetwork.deny = [\"b.example\"]\n",
        ),
        (
            "version = 1\nnetwork = { deny = [\"b.example\"] }\n",
            "version = 1\nnetwork = { allow = [\"n.example\"], deny = [\"b.example\"] }\n",
        ),
        ("version = 1\nnetwork = {}\n", "version = 1\nnetwork = { allow = [\"n.example\"] }\n"),
        ("\u{feff}version = 1\n[network]\nallow = [\"ä.example\", \"b.example\"]\n", ""),
        (
            "\u{feff}version = 1\n# ä\n[network]\nallow = [\"b.example\"]\n",
            "\u{feff}version = 1\n# ä\n[network]\nallow = [\"b.example\", \"n.example\"]\n",
        ),
    ];
    for (before, after) in cases {
        if after.is_empty() {
            // What is no definition is refused with its place, not mended.
            let error = add(before, &[entry(Key::Allow, "n.example")]).unwrap_err().to_string();
            assert!(error.starts_with("/p/ringfence.toml:3:"), "{error}");
            continue;
        }
        assert_eq!(allow(before, "n.example"), after);
        assert_eq!(allow(after, "n.example"), after, "added twice");
    }
}

#[test]
fn the_place_and_the_line_are_named() {
    let text = "version = 1\n[network]\nallow = [\n  \"a.example\",\n]\n";
    let all = [
        entry(Key::Allow, "a.example:443"),
        entry(Key::Allow, "n.example:8443"),
        entry(Key::Read, "/srv/data"),
        entry(Key::Pass, "MY_VAR"),
    ];
    let own = add(text, &all).unwrap();
    let shown: Vec<_> =
        own.places.iter().map(|p| (p.source.to_string(), p.line.as_str(), p.was_there)).collect();
    assert_eq!(
        shown,
        [
            ("/p/ringfence.toml:4".to_owned(), "  \"a.example\",", true),
            ("/p/ringfence.toml:5".to_owned(), "  \"n.example:8443\",", false),
            ("/p/ringfence.toml:9".to_owned(), "read = [\"/srv/data\"]", false),
            ("/p/ringfence.toml:12".to_owned(), "pass = [\"MY_VAR\"]", false),
        ]
    );
}

#[test]
fn a_subsection_alone_gets_its_section() {
    let text = "version = 1\n[environment.set]\nA = \"1\"\n";
    let own = add(text, &[entry(Key::Pass, "MY_VAR")]).unwrap();
    assert_eq!(own.text, format!("{text}\n[environment]\npass = [\"MY_VAR\"]\n"));
}

/// A permission with an end is another one; it does not stand for the one that lasts.
#[test]
fn a_permission_that_ends_is_not_the_same() {
    let text = "version = 1\n[network]\nallow = [{ host = \"a.example\", for = \"2h\" }]\n";
    assert!(allow(text, "a.example").contains("}, \"a.example\"]"));
}

/// What is no text is refused, and not made one with other characters in it.
#[test]
fn what_is_not_utf8_is_left_alone() {
    let file = Path::new("/p/ringfence.toml");
    let text = DefinitionText { file, bytes: b"version = 1\n# caf\xe9\n" };
    for entries in [vec![], vec![entry(Key::Allow, "a.example")]] {
        let error = remember(&text, Layer::User, &entries).unwrap_err().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }
}

/// A name that an agent chose is seen in the file for what it is.
#[test]
fn marks_that_turn_a_line_around_are_escaped() {
    let path = "/srv/a\u{202e}\u{7f}\n\"\\é";
    let own = add("version = 1\n", &[entry(Key::Read, path)]).unwrap();
    assert_eq!(own.places[0].line, r#"read = ["/srv/a\U0000202E\U0000007F\U0000000A\"\\é"]"#);
    assert!(add(&own.text, &[entry(Key::Read, path)]).unwrap().places[0].was_there);
}

/// `allow = []` takes back what other layers permit; one entry more would give all of that again.
#[test]
fn an_empty_list_is_left_alone() {
    for (key, text) in [
        (Key::Allow, "version = 1\n[network]\nallow = []\n"),
        (Key::Pass, "version = 1\n[environment]\npass = [ # none\n]\n"),
    ] {
        let entry = entry(key, if key == Key::Allow { "a.example" } else { "A_B" });
        let error = add(text, &[entry]).unwrap_err().to_string();
        assert!(error.starts_with("/p/ringfence.toml:3:"), "{error}");
        assert!(error.contains("takes back what other layers permit"), "{error}");
    }
}

#[test]
fn what_run_refuses_is_refused() {
    for (host, why) in [
        ("*", "every host"),
        ("*.com", "top-level"),
        ("0.0.0.0/0", "too broad"),
        ("localhost:80", "sandbox itself"),
        ("https://a.example/", "not a URL"),
        ("a.example\n\"]\nallow", "host"),
        ("a\u{7f}b.example", "host"),
        ("169.254.169.254:80", "metadata"),
    ] {
        let error = add("version = 1\n", &[entry(Key::Allow, host)]).unwrap_err().to_string();
        assert!(error.contains(why), "{host:?}: {error}");
        assert!(!error.chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
    }
    let text = "version = 1\n[network]\ndeny = [\"*.evil.example\"]\n";
    let error = add(text, &[entry(Key::Allow, "a.evil.example")]).unwrap_err().to_string();
    assert!(error.contains("a deny always wins"), "{error}");
    let error = add("version = 1\n[netwrk]\n", &[entry(Key::Allow, "a.example")]).unwrap_err();
    assert!(error.to_string().starts_with("/p/ringfence.toml:2:2: unknown key"), "{error}");
}

proptest! {
    /// Whatever a path holds, it is one line, and every line that was there is still there in order.
    #[test]
    fn any_path_is_one_entry(path in "/[^\\x00*?]{1,40}", comment in "[ -~]{0,30}") {
        let text = format!("version = 1\n# {comment}\n[files]\nread = [\n  \"/a\", # {comment}\n]\n");
        let own = add(&text, &[entry(Key::Read, &path)]).unwrap();
        let mut lines = own.text.lines();
        for line in text.lines() {
            prop_assert!(lines.any(|new| new == line), "{line:?} is lost in {:?}", own.text);
        }
        prop_assert_eq!(own.text.lines().count(), text.lines().count() + usize::from(path != "/a"));
    }
}
