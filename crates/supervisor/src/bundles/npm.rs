//! npm: the `.npmrc` chain, then the default that the installed npm brings along.

use std::path::PathBuf;

use ringfence_policy::NoBundle;

use super::files::{ini, quoted_after, read};
use super::{Look, Origin, Servers};

pub(super) fn servers(look: &Look<'_>) -> Result<Servers, NoBundle> {
    let mut own = configured(look);
    if !own.list.iter().any(|server| server.scope.is_none()) {
        let Some(found) = default(look) else {
            let chain: Vec<String> = chain(look).iter().map(|file| look.words(file)).collect();
            return Err(NoBundle {
                why: format!(
                    "npm says nowhere which registry it asks; looked at {} and for the package of an npm on PATH",
                    chain.join(", ")
                ),
                fix: "install npm, or write the line `registry=https://REGISTRY/` to ~/.npmrc"
                    .to_owned(),
            });
        };
        own.list.extend(found.list);
    }
    Ok(own)
}

/// What is configured, without the default.
pub(super) fn configured(look: &Look<'_>) -> Servers {
    let mut own = Servers::default();
    project(look, &mut own);
    for name in ["npm_config_registry", "NPM_CONFIG_REGISTRY"] {
        if let Some(url) = (look.variable)(name)
            && own.list.is_empty()
        {
            own.configured(&url, &format!("${name}"));
        }
    }
    for file in chain(look) {
        take(look, &file, &mut own);
    }
    own
}

/// The user's file before the machine's.
fn chain(look: &Look<'_>) -> Vec<PathBuf> {
    let named = |names: [&str; 2]| names.iter().find_map(|name| look.place(name));
    let user = named(["npm_config_userconfig", "NPM_CONFIG_USERCONFIG"]);
    let mut files = vec![user.unwrap_or_else(|| look.at("~/.npmrc"))];
    files.extend(named(["npm_config_globalconfig", "NPM_CONFIG_GLOBALCONFIG"]));
    for package in packages(look) {
        // `PREFIX/lib/node_modules/npm`
        files.extend(package.ancestors().nth(3).map(|prefix| prefix.join("etc/npmrc")));
        files.push(package.join("npmrc"));
    }
    files.push(look.at("/etc/npmrc"));
    files.retain(|file| !file.starts_with(look.workspace));
    files
}

/// The directories of installed packages of npm.
fn packages(look: &Look<'_>) -> Vec<PathBuf> {
    let programs = look.programs("npm").into_iter();
    // `npm/bin/npm-cli.js`
    programs.filter_map(|program| program.ancestors().nth(2).map(PathBuf::from)).collect()
}

fn take(look: &Look<'_>, file: &std::path::Path, own: &mut Servers) {
    let Some(text) = look.read(file) else { return };
    for line in ini(&text).into_iter().filter(|line| line.section.is_empty()) {
        let from = format!("{}:{}", look.words(file), line.number);
        let scope = line.key.strip_suffix(":registry").filter(|scope| scope.starts_with('@'));
        let known = |own: &Servers, scope: Option<&str>| {
            own.list.iter().any(|server| server.scope.as_deref() == scope)
        };
        if line.key == "registry" && !known(own, None) {
            own.configured(&expanded(look, &line.value), &from);
        } else if let Some(scope) = scope.filter(|scope| !known(own, Some(scope))) {
            let before = own.list.len();
            own.configured(&expanded(look, &line.value), &from);
            if let Some(server) = own.list.get_mut(before) {
                server.scope = Some(scope.to_owned());
            }
        }
    }
}

/// `${NAME}` in a value stands for a variable.
fn expanded(look: &Look<'_>, value: &str) -> String {
    let mut parts = value.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        text.push_str(&(look.variable)(name).unwrap_or_default());
        text.push_str(rest);
    }
    text
}

fn project(look: &Look<'_>, own: &mut Servers) {
    let text = read(&look.workspace.join(".npmrc")).unwrap_or_default();
    let names = |key: &str| key == "registry" || key.ends_with(":registry");
    if let Some(line) = ini(&text).iter().find(|line| names(&line.key)) {
        let number = line.number;
        own.notes.push(format!(
            "the project's own .npmrc:{number} names a registry, which does not count"
        ));
    }
}

/// The registry of an npm without any settings.
pub(super) fn default(look: &Look<'_>) -> Option<Servers> {
    const OPTIONS: &str = "npm-registry-fetch/lib/default-opts.js";
    packages(look).into_iter().find_map(|package| {
        let bundled = package.join("node_modules").join(OPTIONS);
        let beside = package.parent().map(|modules| modules.join(OPTIONS));
        [Some(bundled), beside].into_iter().flatten().find_map(|file| {
            let text = look.read(&file)?;
            let url = quoted_after(&text, "registry:")?.parse().ok()?;
            let mut own = Servers::default();
            own.add(url, look.words(&file), Origin::Tool);
            Some(own)
        })
    })
}
