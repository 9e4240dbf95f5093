//! Options of the command line, each as the person typed it.
//!
//! They are parsed with the same functions as a definition, so both accept the same texts.

use ringfence_model::provenance::{Layer, Source};

use crate::compiled::LimitKind;
use crate::definition::{Definition, Entry};
use crate::ends::Ends;
use crate::error::{Fault, Problem};
use crate::profiles::ProgramProfile;
use crate::values::Sourced;
use crate::{keys, network, scalars};

/// The policy part of a command line. Every text is kept for provenance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `-p, --profile NAME`.
    pub profile: Option<String>,
    /// What goes with the program, where nothing names a profile.
    pub program: Option<ProgramProfile>,
    /// `--rw PATH`: a host path to read and write.
    pub rw: Vec<String>,
    /// `--ro PATH`: a host path to read.
    pub ro: Vec<String>,
    /// `--hide PATTERN`: a name that is hidden.
    pub hide: Vec<String>,
    /// `--allow HOST[:PORT]`: a destination.
    pub allow: Vec<String>,
    /// `--deny HOST[:PORT]`: a destination that is refused whatever else permits it.
    pub deny: Vec<String>,
    /// `--env NAME` passes a variable, `--env NAME=VALUE` sets one.
    pub env: Vec<String>,
    /// `--limit KEY=VALUE`.
    pub limits: Vec<String>,
    /// `--name NAME`.
    pub name: Option<String>,
    /// `--publish [HOST:]INSIDE`.
    pub publish: Vec<String>,
    /// `--workspace review|direct|read-only`.
    pub mode: Option<String>,
    /// `--exec any|base`.
    pub exec: Option<String>,
    /// `--tier process|landlock`.
    pub tier: Option<String>,
    /// `--debug`.
    pub debug: bool,
    /// `--unprotect PATH`.
    pub unprotect: Vec<String>,
    /// `--resolver ADDRESS:PORT`.
    pub resolver: Option<String>,
}

impl CommandLine {
    /// The command line as one more layer; its faults come back with the option as their source.
    pub(crate) fn definition(&self, problems: &mut Vec<Problem>) -> Definition {
        let mut own = Definition::default();
        let mut options = Options(problems);
        own.profile = options.one("--profile", self.profile.as_deref(), scalars::parse_profile);
        own.name = options.one("--name", self.name.as_deref(), scalars::parse_sandbox_name);
        own.mode = options.one("--workspace", self.mode.as_deref(), scalars::parse_mode);
        own.exec = options.one("--exec", self.exec.as_deref(), scalars::parse_exec);
        own.tier = options.one("--tier", self.tier.as_deref(), scalars::parse_tier);
        own.resolver = options.one("--resolver", self.resolver.as_deref(), network::resolver);
        own.unprotect =
            some(options.many("--unprotect", &self.unprotect, scalars::parse_unprotect));
        own.hide = options.many("--hide", &self.hide, scalars::parse_hide);
        own.publish = some(options.many("--publish", &self.publish, network::publish));
        own.read =
            some(options.entries("--ro", &self.ro, |text| scalars::parse_path("--ro", text)));
        own.write =
            some(options.entries("--rw", &self.rw, |text| scalars::parse_path("--rw", text)));
        own.deny = options.entries("--deny", &self.deny, network::deny);
        own.allow = some(options.entries("--allow", &self.allow, |text| {
            scalars::parse_allow(text, &[], Layer::CommandLine)
        }));
        if self.debug {
            own.debug = Some(Sourced::new(true, Source::command_line("--debug")));
        }
        self.environment(&mut own, &mut options);
        self.limit_options(&mut own, &mut options);
        let covered = own.covered();
        problems.extend(covered.into_iter().map(|(source, fault)| Problem { source, fault }));
        own
    }

    fn environment(&self, own: &mut Definition, options: &mut Options<'_>) {
        let mut pass = Vec::new();
        for text in &self.env {
            let Some((name, value)) = text.split_once('=') else {
                pass.extend(options.one("--env", Some(text), |name| {
                    scalars::parse_pass(name, Layer::CommandLine)
                }));
                continue;
            };
            // The value may be a secret: provenance keeps the name alone.
            let source = Source::command_line(format!("--env {name}=…"));
            match scalars::check_set(name, value) {
                Ok(()) => {
                    own.set.insert(name.to_owned(), Sourced::new(value.to_owned(), source));
                }
                Err(fault) => options.0.push(Problem { source, fault }),
            }
        }
        own.pass = some(pass);
    }

    fn limit_options(&self, own: &mut Definition, options: &mut Options<'_>) {
        for text in &self.limits {
            let parsed = options.one("--limit", Some(text), |text| {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                let known = LimitKind::ALL.map(LimitKind::key);
                let kind = LimitKind::ALL.into_iter().find(|kind| kind.key() == key);
                let Some(kind) = kind else {
                    return Err(Fault::UnknownKey {
                        key: key.to_owned(),
                        section: "limits".to_owned(),
                        near: keys::nearest(key, &known).map(str::to_owned),
                        known: known.join(", "),
                    });
                };
                Ok((kind, scalars::parse_limit(kind, value)?))
            });
            if let Some(parsed) = parsed {
                let (kind, value) = parsed.value;
                own.limits.insert(kind, Sourced::new(value, parsed.source));
            }
        }
    }
}

/// A list that was not given says nothing; on the command line there is no empty one.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Parses options and collects their faults.
struct Options<'p>(&'p mut Vec<Problem>);

impl Options<'_> {
    fn one<T>(
        &mut self,
        option: &str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<Sourced<T>> {
        let text = text?;
        let source = Source::command_line(format!("{option} {text}"));
        match parse(text) {
            Ok(value) => Some(Sourced::new(value, source)),
            Err(fault) => {
                self.0.push(Problem { source, fault });
                None
            }
        }
    }

    fn many<T>(
        &mut self,
        option: &str,
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Vec<Sourced<T>> {
        let all = texts.iter();
        all.filter_map(|text| self.one(option, Some(text), &parse)).collect()
    }

    fn entries<T>(
        &mut self,
        option: &str,
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Vec<Entry<T>> {
        let all = texts.iter().filter_map(|text| {
            let parsed = self.one(option, Some(text), &parse)?;
            Some(Entry {
                value: parsed.value,
                text: text.clone(),
                ends: Ends::default(),
                reason: None,
                source: parsed.source,
            })
        });
        all.collect()
    }
}
