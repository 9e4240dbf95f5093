//! cargo: source replacement and registries of `config.toml`, the index that the installed cargo
//! knows, and for each the download host in the copy of its index.

use std::io::Read;
use std::path::{Path, PathBuf};

use ringfence_model::host::HostName;
use ringfence_policy::NoBundle;

use super::files::{Line, ini, listing, read};
use super::url::{Place, Url};
use super::{Look, Origin, Servers};

/// Before the address of a sparse index, in a configuration and in cargo itself.
const SPARSE: &[u8] = b"sparse+https://";
/// Bytes of a cargo that are searched.
const CARGO_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn servers(look: &Look<'_>) -> Result<Servers, NoBundle> {
    let (mut own, replaced) = configured(look);
    if !replaced {
        match default(look) {
            Some(found) => own.list.extend(found.list),
            None if !own.list.is_empty() => {}
            None => return Err(nothing(look, &config_file(look))),
        }
    }
    downloads(look, &mut own);
    Ok(own)
}

/// What is configured, without the default, and whether something stands for the usual registry.
pub(super) fn configured(look: &Look<'_>) -> (Servers, bool) {
    let mut own = Servers::default();
    project(look, &mut own);
    let file = config_file(look);
    let lines = look.read(&file).map(|text| ini(&text)).unwrap_or_default();
    let from = |line: &Line| format!("{}:{}", look.words(&file), line.number);
    for line in lines.iter().filter(|line| line.section.starts_with("registries.")) {
        if line.key == "index" {
            own.configured(&line.value, &from(line));
        }
    }
    let replaced = replacement(&lines);
    if let Some(Replaced::By(line)) = &replaced {
        own.configured(&line.value, &from(line));
    }
    let replaced = replaced.is_some();
    (own, replaced)
}

fn nothing(look: &Look<'_>, file: &Path) -> NoBundle {
    NoBundle {
        why: format!(
            "cargo says nowhere which registry it asks; looked at {} and for a cargo on PATH and below {}",
            look.words(file),
            look.words(&rustup(look))
        ),
        fix: "install cargo, or write a [source.crates-io] with `replace-with` to ~/.cargo/config.toml".to_owned(),
    }
}

fn home(look: &Look<'_>) -> PathBuf {
    look.place("CARGO_HOME").unwrap_or_else(|| look.at("~/.cargo"))
}

fn rustup(look: &Look<'_>) -> PathBuf {
    look.place("RUSTUP_HOME").unwrap_or_else(|| look.at("~/.rustup"))
}

/// The user's configuration; cargo prefers the name without an ending.
fn config_file(look: &Look<'_>) -> PathBuf {
    let old = home(look).join("config");
    if old.is_file() { old } else { home(look).join("config.toml") }
}

enum Replaced<'l> {
    By(&'l Line),
    /// A directory of this machine.
    Local,
}

/// What stands for the usual registry, links of replacement followed.
fn replacement(lines: &[Line]) -> Option<Replaced<'_>> {
    let value = |name: &str, key: &str| {
        let sections = [format!("source.{name}"), format!("source.\"{name}\"")];
        lines.iter().find(|line| sections.contains(&line.section) && line.key == key)
    };
    let mut name = value("crates-io", "replace-with")?.value.clone();
    for _hop in 0..lines.len() {
        match value(&name, "replace-with") {
            Some(next) => name.clone_from(&next.value),
            None => break,
        }
    }
    let named = lines
        .iter()
        .find(|line| line.section == format!("registries.{name}") && line.key == "index");
    Some(value(&name, "registry").or(named).map_or(Replaced::Local, Replaced::By))
}

fn project(look: &Look<'_>, own: &mut Servers) {
    for name in [".cargo/config.toml", ".cargo/config"] {
        let text = read(&look.workspace.join(name)).unwrap_or_default();
        let lines = ini(&text);
        let source = |line: &&Line| {
            line.section.starts_with("source.") || line.section.starts_with("registries.")
        };
        if let Some(line) = lines.iter().find(source) {
            let number = line.number;
            own.notes.push(format!(
                "the project's own {name}:{number} names a source, which does not count"
            ));
        }
    }
}

/// The index that an installed cargo asks without any settings: its address stands in the program.
pub(super) fn default(look: &Look<'_>) -> Option<Servers> {
    let mut programs = Vec::new();
    for toolchain in toolchains(look) {
        programs.push(toolchain.join("bin/cargo"));
    }
    programs.extend(look.programs("cargo"));
    programs.into_iter().find_map(|program| {
        let url = address_in(&program)?;
        let mut own = Servers::default();
        own.add(url, look.words(&program), Origin::Tool);
        Some(own)
    })
}

/// Toolchains of rustup, the default one first.
fn toolchains(look: &Look<'_>) -> Vec<PathBuf> {
    let rustup = rustup(look);
    let settings = look.read(&rustup.join("settings.toml")).unwrap_or_default();
    let chosen = ini(&settings).into_iter().find(|line| line.key == "default_toolchain");
    let all = rustup.join("toolchains");
    let mut list: Vec<PathBuf> = chosen.map(|line| all.join(line.value)).into_iter().collect();
    list.extend(listing(&all));
    list
}

fn address_in(program: &Path) -> Option<Url> {
    let mut bytes = Vec::new();
    std::fs::File::open(program).ok()?.take(CARGO_BYTES).read_to_end(&mut bytes).ok()?;
    // The same words stand in messages, so what follows must be a whole host and a path.
    memchr::memmem::find_iter(&bytes, SPARSE).find_map(|at| {
        let rest = bytes.get(at + SPARSE.len()..)?;
        let end = rest.iter().take(256).position(|b| *b == b'/')?;
        let host = std::str::from_utf8(rest.get(..end)?).ok()?;
        let named = host.contains('.') && host.parse::<HostName>().is_ok();
        named.then(|| format!("https://{host}/").parse().ok()).flatten()
    })
}

/// Adds the hosts that the files of crates come from: the copy of an index names it.
fn downloads(look: &Look<'_>, own: &mut Servers) {
    let copies = listing(&home(look).join("registry/index"));
    for server in own.list.clone() {
        let host = format!("{}-", server.url.host);
        let known = copies.iter().filter(|copy| {
            let name = copy.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // `HOST-` and sixteen digits
            name.strip_prefix(&host).is_some_and(|hash| hash.len() == 16 && !hash.contains('-'))
        });
        let mut found = false;
        for file in known.map(|copy| copy.join("config.json")) {
            let Some(text) = look.read(&file) else { continue };
            let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let Some(url) = value["dl"].as_str().and_then(|dl| dl.parse::<Url>().ok()) else {
                continue;
            };
            found = true;
            // The server wrote this file, not the user: it may name another public host, and no
            // place of this machine or of a private network.
            let same = url.host == server.url.host && url.port == server.url.port;
            if same {
                own.add(url, look.words(&file), server.origin);
            } else if matches!(url.place(), Place::Name(_)) {
                own.add(url, look.words(&file), Origin::Tool);
            } else {
                let file = look.words(&file);
                own.notes
                    .push(format!("{file} names an address for downloads, which does not count"));
            }
        }
        if !found {
            own.notes.push(format!(
                "cargo has no copy of the index of {} yet, so a further host for its files is not known; run `cargo fetch` once outside if downloads are denied",
                server.url.host
            ));
        }
    }
}
