//! apt: the sources of this machine, in both formats, and its proxy.

use std::path::Path;

use ringfence_policy::NoBundle;

use super::files::{listing, quoted_after};
use super::{Look, Servers};

pub(super) fn servers(look: &Look<'_>) -> Result<Servers, NoBundle> {
    let mut own = Servers::default();
    let mut files = vec![look.at("/etc/apt/sources.list")];
    files.extend(listing(&look.at("/etc/apt/sources.list.d")));
    for file in &files {
        let Some(text) = look.read(file) else { continue };
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("sources") => stanzas(look, file, &text, &mut own),
            Some("list") => lines(look, file, &text, &mut own),
            _ => {}
        }
    }
    proxies(look, &mut own);
    if own.list.is_empty() {
        return Err(NoBundle {
            why: "apt has no source on the web; looked at /etc/apt/sources.list and /etc/apt/sources.list.d".to_owned(),
            fix: "name the host in `allow`".to_owned(),
        });
    }
    Ok(own)
}

/// One line, one source: `deb [options] URI suite components`.
fn lines(look: &Look<'_>, file: &Path, text: &str, own: &mut Servers) {
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.starts_with("deb ") && !line.starts_with("deb-src ") && !line.starts_with("deb\t")
        {
            continue;
        }
        let address = line.split_whitespace().find(|word| word.contains("://"));
        if let Some(address) = address {
            own.configured(address, &format!("{}:{}", look.words(file), at + 1));
        }
    }
}

/// Paragraphs of fields (deb822): `URIs` of those that are not `Enabled: no`.
fn stanzas(look: &Look<'_>, file: &Path, text: &str, own: &mut Servers) {
    let mut stanza: Vec<(usize, String)> = Vec::new();
    let mut enabled = true;
    let mut list = false;
    for (at, line) in text.lines().chain([""]).enumerate() {
        let lower = line.to_lowercase();
        if line.trim().is_empty() {
            for (number, address) in stanza.drain(..).filter(|_| enabled) {
                own.configured(&address, &format!("{}:{number}", look.words(file)));
            }
            (enabled, list) = (true, false);
        } else if line.starts_with('#') {
        } else if line.starts_with([' ', '\t']) {
            if list {
                stanza.extend(line.split_whitespace().map(|word| (at + 1, word.to_owned())));
            }
        } else {
            list = lower.starts_with("uris:");
            let value = line.split_once(':').map_or("", |(_, value)| value);
            if list {
                stanza.extend(value.split_whitespace().map(|word| (at + 1, word.to_owned())));
            }
            enabled &= !(lower.starts_with("enabled:") && value.trim().eq_ignore_ascii_case("no"));
        }
    }
}

fn proxies(look: &Look<'_>, own: &mut Servers) {
    let mut files = listing(&look.at("/etc/apt/apt.conf.d"));
    files.push(look.at("/etc/apt/apt.conf"));
    for file in files {
        let text = look.read(&file).unwrap_or_default();
        for (at, line) in text.lines().enumerate() {
            let lower = line.trim().to_lowercase();
            let proxy = ["acquire::http::proxy", "acquire::https::proxy"];
            if !proxy.iter().any(|name| lower.starts_with(name)) {
                continue;
            }
            if let Some(address) = quoted_after(line, "roxy").filter(|text| text.contains("://")) {
                own.configured(address, &format!("{}:{}", look.words(&file), at + 1));
            }
        }
    }
}
