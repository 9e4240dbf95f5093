//! pip and uv: variables, the `pip.conf` chain, `uv.toml`, then the index in pip's own source.

use std::path::{Path, PathBuf};

use ringfence_policy::NoBundle;

use super::files::{ini, listing, quoted_after, read};
use super::{Look, Origin, Servers};

const FIRST: [&str; 4] = ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"];
const FURTHER: [&str; 2] = ["PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL"];

pub(super) fn servers(look: &Look<'_>) -> Result<Servers, NoBundle> {
    let (mut own, main) = configured(look);
    if main {
        return Ok(own);
    }
    match default(look) {
        Some(found) => own.list.extend(found.list),
        None if !own.list.is_empty() => {}
        None => return Err(nothing(look, &chain(look))),
    }
    Ok(own)
}

/// What is configured, without the default, and whether it has a main index.
pub(super) fn configured(look: &Look<'_>) -> (Servers, bool) {
    let mut own = Servers::default();
    project(look, &mut own);
    for name in FIRST {
        from_variable(look, name, &mut own);
    }
    let mut main = !own.list.is_empty();
    for name in FURTHER {
        from_variable(look, name, &mut own);
    }
    for file in chain(look) {
        main |= from_file(look, &file, main, &mut own);
    }
    (own, main)
}

/// Takes what a file says; its main index only if no nearer place has said one. Whether it has one.
fn from_file(look: &Look<'_>, file: &Path, main: bool, own: &mut Servers) -> bool {
    const SECTIONS: [&str; 5] = ["global", "install", "download", "", "[index]"];
    let text = look.read(file).unwrap_or_default();
    let mut found = false;
    for line in ini(&text).iter().filter(|line| SECTIONS.contains(&line.section.as_str())) {
        let from = format!("{}:{}", look.words(file), line.number);
        match line.key.as_str() {
            "index-url" | "url" if !main => {
                own.configured(&line.value, &from);
                found = true;
            }
            "extra-index-url" => {
                for url in line.value.split_whitespace() {
                    own.configured(url, &from);
                }
            }
            _ => {}
        }
    }
    found
}

fn nothing(look: &Look<'_>, chain: &[PathBuf]) -> NoBundle {
    let files: Vec<String> = chain.iter().map(|file| look.words(file)).collect();
    NoBundle {
        why: format!(
            "pip says nowhere which index it asks; looked at PIP_INDEX_URL, UV_INDEX_URL, {} and for an installed pip beside the programs on PATH",
            files.join(", ")
        ),
        fix: "install pip, or write `index-url = https://INDEX/simple` under [global] to ~/.config/pip/pip.conf".to_owned(),
    }
}

fn from_variable(look: &Look<'_>, name: &str, own: &mut Servers) {
    let value = (look.variable)(name).unwrap_or_default();
    for url in value.split_whitespace() {
        // uv writes `NAME=URL`.
        let url =
            url.split_once('=').filter(|(name, _)| !name.contains(':')).map_or(url, |(_, url)| url);
        own.configured(url, &format!("${name}"));
    }
}

fn chain(look: &Look<'_>) -> Vec<PathBuf> {
    let config = look.config();
    let mut files: Vec<PathBuf> = look.place("PIP_CONFIG_FILE").into_iter().collect();
    files.extend(look.place("VIRTUAL_ENV").map(|env| env.join("pip.conf")));
    files.extend([
        config.join("pip/pip.conf"),
        look.at("~/.pip/pip.conf"),
        config.join("uv/uv.toml"),
        look.at("/etc/pip.conf"),
        look.at("/etc/xdg/pip/pip.conf"),
        look.at("/etc/uv/uv.toml"),
    ]);
    files.retain(|file| !file.starts_with(look.workspace));
    files
}

fn project(look: &Look<'_>, own: &mut Servers) {
    for name in ["pip.conf", "uv.toml", "pyproject.toml"] {
        let text = read(&look.workspace.join(name)).unwrap_or_default();
        let section = |line: &&super::files::Line| {
            line.key.contains("index-url") || (line.key == "url" && line.section.contains("index"))
        };
        if let Some(line) = ini(&text).iter().find(section) {
            let number = line.number;
            own.notes.push(format!(
                "the project's own {name}:{number} names an index, which does not count"
            ));
        }
    }
}

/// The index and the file host in the source of an installed pip.
pub(super) fn default(look: &Look<'_>) -> Option<Servers> {
    let prefixes = ["pip3", "pip", "python3"].into_iter().flat_map(|name| look.programs(name));
    let mut roots: Vec<PathBuf> =
        prefixes.filter_map(|program| program.ancestors().nth(2).map(Path::to_owned)).collect();
    roots.push(look.at("/usr"));
    let pyenv = look.place("PYENV_ROOT").unwrap_or_else(|| look.at("~/.pyenv"));
    roots.extend(listing(&pyenv.join("versions")));
    roots.into_iter().find_map(|root| source(look, &root))
}

fn source(look: &Look<'_>, root: &Path) -> Option<Servers> {
    const INDEX: &str = "pip/_internal/models/index.py";
    let lib = root.join("lib");
    let pythons = listing(&lib).into_iter().filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
    });
    let file = pythons
        .flat_map(|python| [python.join("site-packages"), python.join("dist-packages")])
        .map(|packages| packages.join(INDEX))
        .find(|file| file.is_file() && !file.starts_with(look.workspace))?;
    let text = look.read(&file)?;
    let (_, made) = text.split_once("PyPI = ")?;
    let mut own = Servers::default();
    let from = look.words(&file);
    own.add(quoted_after(made, "(")?.parse().ok()?, from.clone(), Origin::Tool);
    if let Some(files) = quoted_after(made, "file_storage_domain") {
        own.add(format!("https://{files}/").parse().ok()?, from, Origin::Tool);
    }
    Some(own)
}
