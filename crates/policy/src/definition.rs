//! One layer's definition, parsed and checked as far as it can be by itself.
//!
//! Lists have three states: not written, written empty (`Some` of nothing), written with entries.
//! Paths are still texts here; `files.rs` judges them against the host.

use ringfence_model::address::Cidr;
use ringfence_model::boundary::{ExecMode, Publish, Tier, WorkspaceMode};
use ringfence_model::host::Destination;
use ringfence_model::id::SandboxName;
use ringfence_model::provenance::{Layer, Source};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

use crate::bundle::Bundle;
use crate::compiled::LimitKind;
use crate::coverage::Coverage;
use crate::deny::DenyPattern;
use crate::document::{Reader, Value, integer};
use crate::ends::Ends;
use crate::error::Fault;
use crate::keys::{self, DENY_KEYS, HOST_KEYS, PATH_KEYS};
use crate::limits::{LANDLOCK_MOST, REASON_BYTES};
use crate::network;
use crate::scalars::{
    check_set, fault, limit, limit_shape, parse_allow, parse_exec, parse_hide, parse_limit,
    parse_mode, parse_pass, parse_path, parse_profile, parse_sandbox_name, parse_tier,
    parse_unprotect,
};
use crate::values::{Sourced, duration, unix_seconds};

/// An entry of a list that may end and have a reason.
#[derive(Clone, Debug)]
pub(crate) struct Entry<T> {
    pub value: T,
    /// As written.
    pub text: String,
    pub ends: Ends,
    pub reason: Option<String>,
    pub source: Source,
}

/// What is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allow {
    /// A destination, and the private ranges that its name may lead to.
    Destination(Destination, Vec<Cidr>),
    /// Whatever a tool of the host asks.
    Bundle(Bundle),
}

/// A layer's definition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definition {
    pub name: Option<Sourced<SandboxName>>,
    pub profile: Option<Sourced<String>>,
    pub mode: Option<Sourced<WorkspaceMode>>,
    pub unprotect: Option<Vec<Sourced<String>>>,
    pub read: Option<Vec<Entry<()>>>,
    pub write: Option<Vec<Entry<()>>>,
    pub hide: Vec<Sourced<DenyPattern>>,
    pub allow: Option<Vec<Entry<Allow>>>,
    pub deny: Vec<Entry<Destination>>,
    pub publish: Option<Vec<Sourced<Publish>>>,
    pub resolver: Option<Sourced<SocketAddr>>,
    pub pass: Option<Vec<Sourced<String>>>,
    pub set: BTreeMap<String, Sourced<String>>,
    pub exec: Option<Sourced<ExecMode>>,
    /// Which back end.
    pub tier: Option<Sourced<Tier>>,
    pub debug: Option<Sourced<bool>>,
    pub limits: BTreeMap<LimitKind, Sourced<Option<u64>>>,
    pub landlock: Option<Sourced<u32>>,
    pub cgroup: Option<Sourced<bool>>,
}

/// What the table form of an entry says beside its path or host.
#[derive(Default)]
struct Extras {
    addresses: Vec<Cidr>,
    ends: Ends,
    reason: Option<String>,
}

impl Definition {
    /// Reads a whole document; every fault goes to the reader.
    pub fn read(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Self {
        let mut own = Self::default();
        let mut version = false;
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if keys::SECTIONS.contains(&name) {
                match value.get_ref().as_table() {
                    Some(inner) => own.read_section(reader, name, inner),
                    None => reader.wrong_type(value, name, "a [section]"),
                }
            } else if name == "version" {
                version = true;
                check_version(reader, value);
            } else {
                own.read_key(reader, "", name, &key.span(), value);
            }
        }
        if !version {
            reader.fault(&(0..0), "version", Fault::NoVersion);
        }
        own.check_coverage(reader);
        own
    }

    fn read_section(&mut self, reader: &mut Reader<'_>, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            self.read_key(reader, section, key.get_ref().as_ref(), &key.span(), value);
        }
    }

    fn read_key(
        &mut self,
        reader: &mut Reader<'_>,
        section: &str,
        name: &str,
        span: &Range<usize>,
        value: &Value<'_>,
    ) {
        let Some(key) = keys::find(section, name) else {
            reader.unknown(span, name, section, &keys::names(section));
            return;
        };
        let dotted = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
        let loosens = match dotted.as_str() {
            "process.debug" => value.get_ref().as_bool() == Some(true),
            "process.tier" => value.get_ref().as_str() == Some("landlock"),
            _ => false,
        };
        let opens = !key.narrows || loosens;
        if reader.layer == Layer::Organisation && opens {
            reader.fault(span, &dotted, Fault::OrganisationNarrows(dotted.clone()));
            return;
        }
        match section {
            "" | "workspace" => self.read_top(reader, &dotted, value),
            "files" => self.read_files(reader, &dotted, value),
            "network" => self.read_network(reader, &dotted, value),
            "environment" => self.read_environment(reader, &dotted, value),
            "limits" => self.read_limit(reader, name, value),
            _ => self.read_rest(reader, &dotted, value),
        }
    }

    fn read_top(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) {
        match key {
            "name" => self.name = scalar(reader, key, value, parse_sandbox_name),
            "profile" => self.profile = scalar(reader, key, value, parse_profile),
            "workspace.mode" => self.mode = scalar(reader, key, value, parse_mode),
            _ => self.unprotect = texts(reader, key, value, parse_unprotect),
        }
    }

    fn read_files(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) {
        match key {
            "files.read" => {
                self.read =
                    entries(reader, key, value, PATH_KEYS, |text, _, _| parse_path(key, text))
            }
            "files.write" => {
                self.write =
                    entries(reader, key, value, PATH_KEYS, |text, _, _| parse_path(key, text))
            }
            _ => self.hide = texts(reader, key, value, parse_hide).unwrap_or_default(),
        }
    }

    fn read_network(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) {
        match key {
            "network.allow" => self.allow = entries(reader, key, value, HOST_KEYS, parse_allow),
            "network.deny" => {
                let parsed =
                    entries(reader, key, value, DENY_KEYS, |text, _, _| network::deny(text));
                self.deny = parsed.unwrap_or_default();
            }
            "network.publish" => self.publish = read_publish(reader, key, value),
            _ => self.resolver = scalar(reader, key, value, network::resolver),
        }
    }

    fn read_environment(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) {
        let layer = reader.layer;
        if key == "environment.pass" {
            self.pass = texts(reader, key, value, |name| parse_pass(name, layer));
            return;
        }
        let Some(table) = value.get_ref().as_table() else {
            reader.wrong_type(value, key, "a table such as { NAME = \"value\" }");
            return;
        };
        for (name, value) in table {
            let span = name.span();
            let name = name.get_ref().as_ref();
            let Some(text) = reader.text(value, name) else {
                continue;
            };
            match check_set(name, text) {
                Ok(()) => {
                    let source = reader.source(&span, &format!("environment.set.{name}"));
                    self.set.insert(name.to_owned(), Sourced::new(text.to_owned(), source));
                }
                Err(fault) => reader.fault(&span, key, fault),
            }
        }
    }

    fn read_limit(&mut self, reader: &mut Reader<'_>, name: &str, value: &Value<'_>) {
        let Some(kind) = LimitKind::ALL.into_iter().find(|kind| kind.key() == name) else {
            return;
        };
        let parsed = match value.get_ref() {
            DeValue::String(text) => parse_limit(kind, text),
            DeValue::Integer(number) => match (kind, integer(number)) {
                (LimitKind::Processes | LimitKind::OpenFiles, Some(number)) => limit(kind, number),
                (LimitKind::Cpu, Some(number)) => limit(kind, number.saturating_mul(1000)),
                _ => Err(limit_shape(kind, number.as_str())),
            },
            DeValue::Float(number) if kind == LimitKind::Cpu => parse_limit(kind, number.as_str()),
            other => {
                let found = other.type_str();
                Err(limit_shape(kind, found))
            }
        };
        match parsed {
            Ok(parsed) => {
                let source = reader.source(&value.span(), &format!("limits.{name}"));
                self.limits.insert(kind, Sourced::new(parsed, source));
            }
            Err(fault) => reader.fault(&value.span(), name, fault),
        }
    }

    fn read_rest(&mut self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) {
        match key {
            "process.exec" => self.exec = scalar(reader, key, value, parse_exec),
            "process.tier" => self.tier = scalar(reader, key, value, parse_tier),
            "require.landlock" => {
                let Some(abi) = reader.whole(value, key) else {
                    return;
                };
                match u32::try_from(abi) {
                    Ok(abi) if abi <= LANDLOCK_MOST => {
                        let source = reader.source(&value.span(), key);
                        self.landlock = Some(Sourced::new(abi, source));
                    }
                    _ => reader.fault(
                        &value.span(),
                        key,
                        fault(key, &abi.to_string(), "no such Landlock ABI"),
                    ),
                }
            }
            _ => {
                let Some(flag) = reader.boolean(value, key) else {
                    return;
                };
                let sourced = Some(Sourced::new(flag, reader.source(&value.span(), key)));
                if key == "process.debug" {
                    self.debug = sourced;
                } else {
                    self.cgroup = sourced;
                }
            }
        }
    }

    /// A permit that a forbid of the same layer takes back entirely is a mistake in one of the two.
    fn check_coverage(&self, reader: &mut Reader<'_>) {
        for (source, fault) in self.covered() {
            reader.problems.push(crate::error::Problem { source, fault });
        }
    }

    /// Permits that forbids of this layer cover.
    pub fn covered(&self) -> Vec<(Source, Fault)> {
        let mut forbids = Coverage::default();
        for (at, deny) in self.deny.iter().enumerate() {
            forbids.add(&deny.value, at);
        }
        let covered = self.allow.iter().flatten().filter_map(|allow| {
            let Allow::Destination(destination, _) = &allow.value else { return None };
            let over = forbids.over(destination);
            let by = self.deny.get(*over.first()?)?;
            let fault = Fault::CoveredByDeny {
                what: destination.to_string(),
                by: by.value.to_string(),
                place: by.source.to_string(),
            };
            Some((allow.source.clone(), fault))
        });
        covered.collect()
    }
}

fn check_version(reader: &mut Reader<'_>, value: &Value<'_>) {
    let found = value.get_ref().as_integer().and_then(integer);
    if found != Some(1) {
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().to_owned(),
            other => format!("of type {}", other.type_str()),
        };
        reader.fault(&value.span(), "version", Fault::Version(text));
    }
}

fn scalar<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Option<Sourced<T>> {
    let text = reader.text(value, key)?;
    match parse(text) {
        Ok(parsed) => Some(Sourced::new(parsed, reader.source(&value.span(), key))),
        Err(fault) => {
            reader.fault(&value.span(), key, fault);
            None
        }
    }
}

fn texts<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Option<Vec<Sourced<T>>> {
    let items = reader.list(value, key)?;
    let parsed = items.iter().filter_map(|item| scalar(reader, key, item, &parse));
    Some(parsed.collect())
}

fn read_publish(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
) -> Option<Vec<Sourced<Publish>>> {
    let items = reader.list(value, key)?;
    let mut all = Vec::new();
    for item in items.iter() {
        let parsed = match item.get_ref() {
            DeValue::Integer(number) => network::publish(number.as_str()),
            DeValue::String(text) => network::publish(text),
            _ => {
                reader.wrong_type(item, key, "a port or \"HOST:INSIDE\"");
                continue;
            }
        };
        match parsed {
            Ok(ports) => all.push(Sourced::new(ports, reader.source(&item.span(), key))),
            Err(fault) => reader.fault(&item.span(), key, fault),
        }
    }
    Some(all)
}

/// Reads a list whose entries are texts or tables; the first of `allowed` is the text's key.
fn entries<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    allowed: &[&str],
    parse: impl Fn(&str, &[Cidr], Layer) -> Result<T, Fault>,
) -> Option<Vec<Entry<T>>> {
    let items = reader.list(value, key)?;
    let mut all = Vec::with_capacity(items.len());
    for item in items.iter() {
        let mut extras = Extras::default();
        let text = match item.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            DeValue::Table(table) => {
                read_extras(reader, key, table, &item.span(), allowed, &mut extras)
            }
            _ => {
                reader.wrong_type(item, key, "a text in quotes, or a table in { }");
                None
            }
        };
        let Some(text) = text else { continue };
        match parse(text, &extras.addresses, reader.layer) {
            Ok(value) => all.push(Entry {
                value,
                text: text.to_owned(),
                ends: extras.ends,
                reason: extras.reason,
                source: reader.source(&item.span(), key),
            }),
            Err(fault) => reader.fault(&item.span(), key, fault),
        }
    }
    Some(all)
}

/// Reads the table form of an entry and returns its path or host.
fn read_extras<'v>(
    reader: &mut Reader<'_>,
    key: &str,
    table: &'v DeTable<'_>,
    span: &Range<usize>,
    allowed: &[&str],
    extras: &mut Extras,
) -> Option<&'v str> {
    let main = allowed.first().copied().unwrap_or_default();
    let mut text = None;
    for (name, value) in table {
        let known = name.get_ref().as_ref();
        if known == main {
            text = reader.text(value, main);
        } else if allowed.contains(&known) {
            read_extra(reader, key, known, value, extras);
        } else {
            reader.unknown(&name.span(), known, key, allowed);
        }
    }
    if !table.contains_key(main) {
        reader.fault(span, key, fault(key, "{ … }", format!("the entry has no `{main}`")));
    }
    text
}

fn read_extra(
    reader: &mut Reader<'_>,
    key: &str,
    name: &str,
    value: &Value<'_>,
    extras: &mut Extras,
) {
    match name {
        "for" => {
            let parsed = scalar(reader, key, value, |text| {
                duration(text).map_err(|why| fault(name, text, why))
            });
            extras.ends.for_ms = parsed.map(|ms| ms.value);
        }
        "expires" => match value.get_ref().as_datetime().map(unix_seconds) {
            Some(Ok(at)) => extras.ends.at_unix = Some(at),
            Some(Err(why)) => {
                let text = value.get_ref().as_datetime().map(ToString::to_string);
                reader.fault(&value.span(), key, fault(name, &text.unwrap_or_default(), why));
            }
            None => reader.wrong_type(
                value,
                name,
                "a date and time without quotes, such as 2026-12-01T00:00:00Z",
            ),
        },
        "reason" => {
            let parsed = scalar(reader, key, value, |text| {
                if text.len() <= REASON_BYTES {
                    Ok(text.to_owned())
                } else {
                    Err(fault(
                        name,
                        &text.chars().take(40).collect::<String>(),
                        "the reason is too long",
                    ))
                }
            });
            extras.reason = parsed.map(|reason| reason.value);
        }
        _ => {
            let parsed = texts(reader, "addresses", value, network::range);
            extras.addresses = parsed.into_iter().flatten().map(|range| range.value).collect();
        }
    }
}
