//! Go: `GOPROXY` and `GOSUMDB` from the environment, `go env -w`, or the installed Go.

use std::path::PathBuf;

use ringfence_policy::NoBundle;

use super::files::{quoted_after, unquoted};
use super::{Look, Origin, Servers};

/// A setting and where it stands.
pub(super) struct Setting {
    pub value: String,
    pub from: String,
    pub origin: Origin,
}

pub(super) fn servers(look: &Look<'_>) -> Result<Servers, NoBundle> {
    let Some(proxy) = setting(look, "GOPROXY", true) else {
        return Err(NoBundle {
            why: "go says nowhere which module proxy it asks; looked at GOPROXY, `go env -w`'s file and the tree of a go on PATH".to_owned(),
            fix: "install go, or set GOPROXY".to_owned(),
        });
    };
    Ok(collect(&proxy, setting(look, "GOSUMDB", true).as_ref()))
}

fn collect(proxy: &Setting, sums: Option<&Setting>) -> Servers {
    let mut own = Servers::default();
    for word in proxy.value.split([',', '|']).map(str::trim) {
        match word {
            "" | "off" | "direct" => {}
            url => add(&mut own, url, proxy),
        }
    }
    if let Some(sums) = sums {
        let mut words = sums.value.split_whitespace();
        let name = words.next().unwrap_or("off");
        match words.next() {
            Some(url) => add(&mut own, url, sums),
            None if name != "off" => {
                let host = name.split('+').next().unwrap_or(name);
                add(&mut own, &format!("https://{host}/"), sums);
            }
            None => {}
        }
    }
    own
}

fn add(own: &mut Servers, url: &str, setting: &Setting) {
    match (url.parse(), setting.origin) {
        (Ok(url), Origin::Tool) => own.add(url, setting.from.clone(), Origin::Tool),
        _ => own.configured(url, &setting.from),
    }
}

/// One setting, as `go env` would answer it; with `tool`, the installed Go counts too.
pub(super) fn setting(look: &Look<'_>, name: &str, tool: bool) -> Option<Setting> {
    if let Some(value) = (look.variable)(name).filter(|value| !value.is_empty()) {
        return Some(Setting { value, from: format!("${name}"), origin: Origin::Configured });
    }
    let own = look.place("GOENV").unwrap_or_else(|| look.config().join("go/env"));
    let mut files = vec![(own, Origin::Configured)];
    if tool {
        files.extend(roots(look).into_iter().map(|root| (root.join("go.env"), Origin::Tool)));
    }
    files.retain(|(file, _)| !file.starts_with(look.workspace));
    let written = files.into_iter().find_map(|(file, origin)| {
        let text = look.read(&file)?;
        let (at, value) = text.lines().enumerate().find_map(|(at, line)| {
            let (key, value) = line.trim().split_once('=')?;
            (key == name).then(|| (at + 1, unquoted(value).to_owned()))
        })?;
        Some(Setting { value, from: format!("{}:{at}", look.words(&file)), origin })
    });
    written.or_else(|| tool.then(|| built_in(look, name)).flatten())
}

/// Trees of installed Go.
fn roots(look: &Look<'_>) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = look.place("GOROOT").into_iter().collect();
    let programs = look.programs("go").into_iter();
    roots.extend(programs.filter_map(|go| go.ancestors().nth(2).map(PathBuf::from)));
    roots.retain(|root| !root.starts_with(look.workspace));
    roots
}

/// Before 1.21 the defaults stood in the source alone.
fn built_in(look: &Look<'_>, name: &str) -> Option<Setting> {
    roots(look).into_iter().find_map(|root| {
        let file = std::fs::canonicalize(root.join("src/cmd/go/internal/cfg/cfg.go")).ok()?;
        let text = look.read(&file)?;
        let (_, call) = text.split_once(&format!("envOr(\"{name}\""))?;
        let value = quoted_after(call, ",")?.to_owned();
        Some(Setting { value, from: look.words(&file), origin: Origin::Tool })
    })
}

/// What an installed Go asks without any settings.
pub(super) fn default(look: &Look<'_>) -> Option<Servers> {
    let bare = Look {
        variable: &|name| matches!(name, "PATH" | "GOROOT").then(|| (look.variable)(name))?,
        ..*look
    };
    let tool = |name: &str| {
        let root = roots(&bare).into_iter().find_map(|root| {
            let text = look.read(&root.join("go.env"))?;
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            Some(Setting { value: value.to_owned(), from: look.words(&root), origin: Origin::Tool })
        });
        root.or_else(|| built_in(&bare, name))
    };
    let proxy = tool("GOPROXY")?;
    Some(collect(&proxy, tool("GOSUMDB").as_ref()))
}
