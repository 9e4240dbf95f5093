//! The settings of tools inside: what of the user's own says where packages come from, and never a
//! login. They are made where a bundle is in force, at the place of the machine's configuration, so
//! that the project's own settings go on counting as they do outside.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringfence_policy::Bundle;

use super::{Look, Servers, crates, go, maven, npm, pypi};

/// Files to make and variables to set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where each lies inside, with its text.
    pub files: Vec<(PathBuf, String)>,
    /// Links, each with where it leads; one that is there already is left as it is.
    pub links: Vec<(PathBuf, String)>,
    /// Names and values.
    pub variables: BTreeMap<String, String>,
}

/// npm's settings inside.
const NPMRC: &str = "/etc/ringfence/npmrc";
/// Maven's settings inside.
const MAVEN: &str = "/etc/ringfence/settings.xml";
/// A directory above every project: cargo reads its settings from all of them.
const CARGO: &str = "/.cargo/config.toml";

/// What the tool of a bundle needs inside.
#[must_use]
pub fn settings(bundle: Bundle, look: &Look<'_>) -> Settings {
    let mut own = Settings::default();
    match bundle {
        Bundle::Npm => for_npm(&npm::configured(look), &mut own),
        Bundle::Pypi => for_pip(&pypi::configured(look).0, &mut own),
        Bundle::Crates => for_cargo(&crates::configured(look).0, &mut own),
        Bundle::Go => for_go(look, &mut own),
        Bundle::Maven => for_maven(look, &maven::configured(look).0, &mut own),
        Bundle::Debian | Bundle::GithubRead => {}
    }
    own
}

fn for_npm(servers: &Servers, own: &mut Settings) {
    let mut text = String::new();
    for server in &servers.list {
        let key = server.scope.as_ref().map_or("registry".to_owned(), |s| format!("{s}:registry"));
        text.push_str(&format!("{key}={}\n", server.url.inside()));
        // Its answers name packages by the address that it believes to have.
        if server.url.is_loopback() && server.scope.is_none() {
            text.push_str("replace-registry-host=always\n");
        }
    }
    if !text.is_empty() {
        own.files.push((NPMRC.into(), text));
        own.variables.insert("npm_config_globalconfig".to_owned(), NPMRC.to_owned());
    }
}

fn for_pip(servers: &Servers, own: &mut Settings) {
    let mut all = servers.list.iter();
    let Some(first) = all.next() else { return };
    let further: Vec<String> = all.map(|server| server.url.inside().to_string()).collect();
    let main = first.url.inside().to_string();
    let mut pip = format!("[global]\nindex-url = {main}\n");
    let mut uv = format!("[[index]]\nurl = \"{main}\"\ndefault = true\n");
    for url in &further {
        uv.push_str(&format!("\n[[index]]\nurl = \"{url}\"\n"));
    }
    if !further.is_empty() {
        pip.push_str(&format!("extra-index-url = {}\n", further.join("\n    ")));
    }
    // The loopback needs no certificate outside; under its name inside, pip asks for one.
    if servers.list.iter().any(|server| server.url.is_loopback() && !server.url.secure) {
        let host = ringfence_model::host::HOST_LOOPBACK_NAME;
        pip.push_str(&format!("trusted-host = {host}\n"));
    }
    own.files.push(("/etc/pip.conf".into(), pip));
    own.files.push(("/etc/uv/uv.toml".into(), uv));
}

fn for_cargo(servers: &Servers, own: &mut Settings) {
    let Some(index) = servers.list.first() else { return };
    let mut text = format!(
        "[source.crates-io]\nreplace-with = \"ringfence-mirror\"\n\n[source.ringfence-mirror]\nregistry = \"sparse+{}\"\n",
        index.url.inside()
    );
    // HTTP/2 without TLS begins with an upgrade, which is refused.
    if !index.url.secure {
        text.push_str("\n[http]\nmultiplexing = false\n");
    }
    own.files.push((CARGO.into(), text));
}

fn for_go(look: &Look<'_>, own: &mut Settings) {
    for name in ["GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE"] {
        let Some(setting) = go::setting(look, name, false) else { continue };
        let words = setting.value.split_inclusive([',', '|', ' ']).map(|word| {
            let end = word.find([',', '|', ' ']).unwrap_or(word.len());
            let (word, mark) = word.split_at(end);
            match word.parse::<super::url::Url>() {
                Ok(url) => format!("{}{mark}", url.inside()),
                Err(_) => format!("{word}{mark}"),
            }
        });
        own.variables.insert(name.to_owned(), words.collect());
    }
}

fn for_maven(look: &Look<'_>, servers: &Servers, own: &mut Settings) {
    let user = look.words(&look.at("~/.m2/settings.xml"));
    let mirror = servers.list.iter().find(|server| server.from.starts_with(&user));
    let Some(mirror) = mirror else { return };
    let text = format!(
        "<settings>\n  <mirrors>\n    <mirror>\n      <id>ringfence</id>\n      <mirrorOf>*</mirrorOf>\n      <url>{}</url>\n    </mirror>\n  </mirrors>\n</settings>\n",
        mirror.url.inside()
    );
    // A link, as a kept home may have a file of the agent's own there.
    own.files.push((MAVEN.into(), text));
    own.links.push((look.at("~/.m2/settings.xml"), MAVEN.to_owned()));
}
