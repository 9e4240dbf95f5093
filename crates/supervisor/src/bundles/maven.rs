//! Maven: mirrors and repositories of the `settings.xml` chain, then the model that every project
//! inherits from, in the installed Maven.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringfence_policy::NoBundle;

use super::files::listing;
use super::{Look, Origin, Servers};

pub(super) fn servers(look: &Look<'_>) -> Result<Servers, NoBundle> {
    let (mut own, all_mirrored) = configured(look);
    if !all_mirrored {
        match default(look) {
            Ok(found) => own.list.extend(found.list),
            Err(_) if !own.list.is_empty() => {}
            Err(why) => {
                let files: Vec<String> = chain(look).iter().map(|file| look.words(file)).collect();
                return Err(NoBundle {
                    why: format!(
                        "Maven says nowhere which repository it asks; looked at {} and for an installed Maven: {why}",
                        files.join(", ")
                    ),
                    fix: "install Maven, or write a <mirror> with <mirrorOf>*</mirrorOf> to ~/.m2/settings.xml".to_owned(),
                });
            }
        }
    }
    Ok(own)
}

/// What is configured, without the default, and whether a mirror stands for every repository.
pub(super) fn configured(look: &Look<'_>) -> (Servers, bool) {
    let mut own = Servers::default();
    let mut all_mirrored = false;
    for file in chain(look) {
        let Some(text) = look.read(&file) else { continue };
        let words = look.words(&file);
        for mirror in elements(&text, "mirror") {
            // A mirror that is there to block plain HTTP leads nowhere.
            if inner(&mirror.text, "blocked") == Some("true") {
                continue;
            }
            all_mirrored |=
                ["*", "central"].contains(&inner(&mirror.text, "mirrorOf").unwrap_or_default());
            if let Some(url) = inner(&mirror.text, "url") {
                own.configured(url, &format!("{words}:{}", mirror.line));
            }
        }
        for kind in ["repository", "pluginRepository"] {
            for repository in elements(&text, kind) {
                if let Some(url) = inner(&repository.text, "url") {
                    own.configured(url, &format!("{words}:{}", repository.line));
                }
            }
        }
    }
    (own, all_mirrored)
}

/// The user's settings before the installation's.
pub(super) fn chain(look: &Look<'_>) -> Vec<PathBuf> {
    let mut files = vec![look.at("~/.m2/settings.xml")];
    files.extend(installed(look).into_iter().map(|root| root.join("conf/settings.xml")));
    files.push(look.at("/etc/maven/settings.xml"));
    files.retain(|file| !file.starts_with(look.workspace));
    files
}

/// Trees of installed Maven.
fn installed(look: &Look<'_>) -> Vec<PathBuf> {
    let programs = look.programs("mvn").into_iter();
    let mut roots: Vec<PathBuf> =
        programs.filter_map(|mvn| mvn.ancestors().nth(2).map(PathBuf::from)).collect();
    roots.extend(["M2_HOME", "MAVEN_HOME"].iter().filter_map(|name| look.place(name)));
    roots.retain(|root| !root.starts_with(look.workspace));
    roots
}

/// An element's content and the line that it begins at.
pub(super) struct Element {
    pub text: String,
    pub line: usize,
}

/// The elements of a name that are not in a comment. The files are the user's own, so this is no
/// parser of hostile XML: what it does not understand, it does not find.
pub(super) fn elements(text: &str, name: &str) -> Vec<Element> {
    let text = without_comments(text);
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(&open)) {
        let begin = from + at + open.len();
        let Some(end) = text.get(begin..).and_then(|rest| rest.find(&close)) else { break };
        let line = 1 + text[..begin].matches('\n').count();
        found.push(Element { text: text[begin..begin + end].to_owned(), line });
        from = begin + end;
    }
    found
}

/// The text of one element inside another.
pub(super) fn inner<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.trim())
}

/// Comments become as many line ends as they hold.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (comment, rest) = part.split_once("-->").unwrap_or((part, ""));
        out.extend(std::iter::repeat_n('\n', comment.matches('\n').count()));
        out.push_str(rest);
    }
    out
}

/// The repository of the model that every project inherits from. It lies in a jar, which `unzip`
/// opens.
fn default(look: &Look<'_>) -> Result<Servers, String> {
    let roots = installed(look);
    if roots.is_empty() {
        return Err("there is no `mvn` on PATH".to_owned());
    }
    let jars = roots.iter().flat_map(|root| listing(&root.join("lib")));
    let jar = jars
        .filter(|jar| {
            let name = jar.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("maven-model-builder") && name.ends_with(".jar")
        })
        .find_map(|jar| std::fs::canonicalize(jar).ok())
        .ok_or("its tree has no lib/maven-model-builder*.jar")?;
    let model = open(&jar)?;
    let mut own = Servers::default();
    for kind in ["repository", "pluginRepository"] {
        for repository in elements(&model, kind) {
            if let Some(Ok(url)) = inner(&repository.text, "url").map(str::parse) {
                own.add(url, look.words(&jar), Origin::Tool);
            }
        }
    }
    if own.list.is_empty() { Err("its model names no repository".to_owned()) } else { Ok(own) }
}

fn open(jar: &Path) -> Result<String, String> {
    let out = Command::new("/usr/bin/unzip")
        .args(["-p", "--"])
        .arg(jar)
        .arg("org/apache/maven/model/pom-4.0.0.xml")
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match out {
        Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        Ok(_) => Err(format!("unzip cannot read {}", jar.display())),
        Err(error) => Err(format!("/usr/bin/unzip, which opens its jar, does not start ({error})")),
    }
}
