//! Reading git's own settings files: the one parser, and what of a person's settings an agent may know.
//!
//! Nothing here runs git or follows an include. What cannot be read as git would read it is left out,
//! so that a strange file never opens anything.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::{GIT_CONFIG_BYTES, GIT_VALUE_BYTES};

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `section.key`, in lower case.
    pub name: String,
    /// The subsection, as it stands.
    pub subsection: Option<String>,
    /// The value; `true` for a key that stands alone.
    pub value: String,
}

/// The settings of a person that a commit needs; none of them names a program or a place.
const IDENTITY: [&str; 3] = ["user.name", "user.email", "init.defaultbranch"];

/// Reads a settings file, no more of it than git settings have; nothing where it cannot be read.
pub fn read(path: &Path) -> Vec<Entry> {
    let Ok(metadata) = std::fs::metadata(path) else { return Vec::new() };
    if !metadata.is_file() || metadata.len() > GIT_CONFIG_BYTES {
        return Vec::new();
    }
    let mut text = Vec::new();
    let read = File::open(path).and_then(|f| f.take(GIT_CONFIG_BYTES).read_to_end(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    parse(&String::from_utf8_lossy(&text))
}

/// Who commits, as a settings file for the whole sandbox: from the person's own settings files, where
/// the later file and the later line win, as in git.
pub fn identity(home: &Path, config_home: Option<&str>) -> String {
    let xdg = config_home.map_or_else(|| home.join(".config"), PathBuf::from);
    let files = [xdg.join("git/config"), home.join(".gitconfig")];
    let all: Vec<Entry> = files.iter().flat_map(|file| read(file)).collect();
    IDENTITY.iter().filter_map(|name| setting(&all, name)).collect()
}

fn setting(all: &[Entry], name: &str) -> Option<String> {
    let entry = all.iter().rev().find(|e| e.name == *name && e.subsection.is_none())?;
    let plain = !entry.value.is_empty()
        && entry.value.len() <= GIT_VALUE_BYTES
        && !entry.value.chars().any(char::is_control);
    let (section, key) = name.split_once('.')?;
    let value = entry.value.replace('\\', "\\\\").replace('"', "\\\"");
    plain.then(|| format!("[{section}]\n\t{key} = \"{value}\"\n"))
}

/// Parses as git-config(1) describes; stops at the first line that git would refuse.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut section: Option<(String, Option<String>)> = None;
    let mut rest = text.trim_start_matches('\u{feff}');
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return entries };
        match first {
            '#' | ';' => rest = rest.split_once('\n').map_or("", |(_, after)| after),
            '[' => {
                let Some((header, after)) = header(rest) else { return entries };
                section = Some(header);
                rest = after;
            }
            _ => {
                let Some((section, subsection)) = &section else { return entries };
                let Some((key, value, after)) = key_value(rest) else { return entries };
                let name = format!("{section}.{}", key.to_ascii_lowercase());
                entries.push(Entry { name, subsection: subsection.clone(), value });
                rest = after;
            }
        }
    }
}

type Header = (String, Option<String>);

/// `[section]`, `[section "subsection"]` or the old `[section.subsection]`.
fn header(text: &str) -> Option<(Header, &str)> {
    let body = text.strip_prefix('[')?;
    let end = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'))?;
    let (name, mut rest) = body.split_at(end);
    let mut subsection = None;
    if !rest.starts_with(']') {
        rest = rest.trim_start_matches([' ', '\t']).strip_prefix('"')?;
        let mut named = String::new();
        let mut chars = rest.char_indices();
        loop {
            match chars.next()? {
                (_, '\\') => named.push(chars.next()?.1),
                (_, '\n') => return None,
                (at, '"') => {
                    rest = rest.get(at + 1..)?;
                    break;
                }
                (_, other) => named.push(other),
            }
        }
        subsection = Some(named);
    }
    let rest = rest.strip_prefix(']')?;
    let (name, old) = match name.split_once('.') {
        Some((name, old)) => (name, Some(old.to_ascii_lowercase())),
        None => (name, None),
    };
    Some(((name.to_ascii_lowercase(), subsection.or(old)), rest))
}

/// `key`, or `key = value` with quotes, escapes, comments and lines that go on.
fn key_value(text: &str) -> Option<(&str, String, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    if !key.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let rest = rest.trim_start_matches([' ', '\t', '\r']);
    match rest.strip_prefix('=') {
        Some(value) => value_of(value).map(|(value, rest)| (key, value, rest)),
        None if rest.is_empty() || rest.starts_with(['\n', '#', ';']) => {
            let rest = rest.split_once('\n').map_or("", |(_, after)| after);
            Some((key, "true".to_owned(), rest))
        }
        None => None,
    }
}

fn value_of(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let (mut value, mut kept, mut quoted) = (String::new(), 0, false);
    let mut chars = text.char_indices();
    loop {
        let Some((at, c)) = chars.next() else {
            value.truncate(kept);
            return (!quoted).then_some((value, ""));
        };
        match c {
            '\n' if quoted => return None,
            '\n' => {
                value.truncate(kept);
                return Some((value, text.get(at + 1..)?));
            }
            '#' | ';' if !quoted => {
                value.truncate(kept);
                let after = text.get(at..)?.split_once('\n').map_or("", |(_, after)| after);
                return Some((value, after));
            }
            '"' => quoted = !quoted,
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'b' => drop(value.pop()),
                same @ ('\\' | '"') => value.push(same),
                '\n' => continue,
                _ => return None,
            },
            other => value.push(other),
        }
        // Blanks at the end count only inside quotes or before more text.
        if quoted || !c.is_whitespace() {
            kept = value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn found(text: &str) -> Vec<(String, Option<String>, String)> {
        parse(text).into_iter().map(|e| (e.name, e.subsection, e.value)).collect()
    }

    fn entry(name: &str, sub: Option<&str>, value: &str) -> (String, Option<String>, String) {
        (name.to_owned(), sub.map(str::to_owned), value.to_owned())
    }

    #[test]
    fn settings_are_read_as_git_reads_them() {
        let text = "# head\n[Core]\n\tHooksPath = a/b ; why\n\tbare\n[Remote \"o\\\"r\"] url = \"a;b\" c  \n\
            [user]\n\tname = A \\\n B\n\temail = \"x\\\\y\"\n[old.Sub]\nk=v";
        assert_eq!(
            found(text),
            [
                entry("core.hookspath", None, "a/b"),
                entry("core.bare", None, "true"),
                entry("remote.url", Some("o\"r"), "a;b c"),
                entry("user.name", None, "A  B"),
                entry("user.email", None, "x\\y"),
                entry("old.k", Some("sub"), "v"),
            ]
        );
    }

    #[test]
    fn what_git_refuses_ends_the_reading() {
        for text in
            ["k = v", "[a\nk=v", "[a \"b]\nk=v", "[a]\nk = \"x", "[a]\nk = \\q\n", "[a]\n=v"]
        {
            assert_eq!(found(text), [], "{text:?}");
        }
    }

    #[test]
    fn the_identity_is_three_plain_settings_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".config/git")).unwrap();
        fs::write(home.path().join(".config/git/config"), "[user]\nname = Old\nemail = a@b\n")
            .unwrap();
        fs::write(
            home.path().join(".gitconfig"),
            "[user]\nname = \"Ann \\\"x\\\"\"\nsigningkey = K\n[alias]\nst = !evil\n[core]\nsshCommand = evil\n\
             [credential]\nhelper = evil\n[init]\ndefaultBranch = main\n[user \"x\"]\nname = No\n",
        )
        .unwrap();
        let text = identity(home.path(), None);
        assert_eq!(
            found(&text),
            [
                entry("user.name", None, "Ann \"x\""),
                entry("user.email", None, "a@b"),
                entry("init.defaultbranch", None, "main"),
            ]
        );
        assert!(!text.contains("evil") && !text.contains('K'), "{text}");
    }

    #[test]
    fn a_value_with_a_line_break_makes_no_further_setting() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".gitconfig"), "[user]\nname = \"a\\n[core]\\nfsmonitor=x\"\n")
            .unwrap();
        assert_eq!(identity(home.path(), None), "");
    }
}
