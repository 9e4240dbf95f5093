//! From the bytes of every layer to one compiled policy.
//!
//! Any problem in any layer refuses the whole: a policy is never half read.

use ringfence_model::boundary::{ExecMode, Tier, WorkspaceMode};
use ringfence_model::event::PolicySource;
use ringfence_model::provenance::{Layer, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::command_line::CommandLine;
use crate::compiled::{
    COMPILED_VERSION, Compiled, Effect, FloorPlan, LimitKind, Trust, WorkspacePlan,
};
use crate::coverage::Coverage;
use crate::definition::Definition;
use crate::document::{Reader, settle};
use crate::error::{Fault, Problem, Problems};
use crate::files::Judge;
use crate::host::{Facts, Host};
use crate::limits::{
    DISK, LANDLOCK_FLOOR, MEMORY_PERCENT, OPEN_FILES, PROCESSES, TMP_MOST, TMP_PERCENT,
};
use crate::merge::{Above, Merger, forbids, hidden};
use crate::profiles::ProgramProfile;
use crate::values::Sourced;
use crate::{narrow, profiles, protected};

/// The bytes of one definition file, read once by the caller.
#[derive(Clone, Copy, Debug)]
pub struct DefinitionText<'a> {
    /// Where it was read; shown in every message.
    pub file: &'a Path,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Everything that a policy is compiled from.
pub struct Inputs<'a> {
    /// `/etc/ringfence/policy.toml`, if it exists.
    pub organisation: Option<DefinitionText<'a>>,
    /// `~/.config/ringfence/policy.toml`, if it exists.
    pub user: Option<DefinitionText<'a>>,
    /// `ringfence.toml`, if it exists.
    pub project: Option<DefinitionText<'a>>,
    /// Whether the user has accepted the digest of exactly these bytes of `project`.
    pub project_trusted: bool,
    /// Options.
    pub command_line: &'a CommandLine,
    /// The host and this start.
    pub facts: &'a Facts,
    /// Canonical paths.
    pub host: &'a dyn Host,
}

/// Parses one definition by itself.
pub(crate) fn parse(text: &DefinitionText<'_>, layer: Layer) -> Result<Definition, Problems> {
    let mut reader = Reader::new(layer, text.file, text.bytes)?;
    let definition = match reader.parse() {
        Some(table) => Definition::read(&mut reader, &table),
        None => Definition::default(),
    };
    if reader.problems.is_empty() { Ok(definition) } else { Err(settle(reader.problems)) }
}

/// Checks one definition by itself: everything but paths, which need the host.
pub fn check(text: &DefinitionText<'_>, layer: Layer) -> Result<(), Problems> {
    parse(text, layer).map(|_| ())
}

/// Whether a project's text has entries that open something, whatever they come to by now: a bundle may
/// have no host today. Values that can only be compared with other layers' do not count.
///
/// # Errors
/// As [`check`].
pub fn names_openings(text: &DefinitionText<'_>) -> Result<bool, Problems> {
    fn any<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let own = parse(text, Layer::Project)?;
    let files = any(own.read.as_ref()) || any(own.write.as_ref()) || any(own.unprotect.as_ref());
    let network = any(own.allow.as_ref()) || any(own.publish.as_ref()) || own.resolver.is_some();
    Ok(files || network || any(own.pass.as_ref()) || own.name.is_some())
}

/// Every layer, parsed.
struct Layers {
    organisation: Definition,
    built_in: Definition,
    profile: Option<Definition>,
    user: Definition,
    project: Definition,
    command: Definition,
}

/// Compiles all layers, or says everything that is wrong with them.
pub fn compile(inputs: &Inputs<'_>) -> Result<Compiled, Problems> {
    let mut read = Read::default();
    let organisation = read.file(inputs.organisation, Layer::Organisation);
    let built_in = read.profile(profiles::DEFAULT, Layer::BuiltIn);
    let user = read.file(inputs.user, Layer::User);
    let project = read.file(inputs.project, Layer::Project);
    let command = inputs.command_line.definition(&mut read.problems);
    let mut layers = Layers { organisation, built_in, profile: None, user, project, command };
    let mut trust = Trust {
        digest: inputs.project.map(|text| crate::digest(text.bytes)),
        accepted: inputs.project.is_some() && inputs.project_trusted,
        widens: Vec::new(),
    };
    let beside = inputs.command_line.program.as_ref().map(beside);
    let profile = choose_profile(&layers, beside.as_ref(), &mut trust);
    let name = profile.as_ref().map(|profile| profile.value.as_str());
    if let Some(name) = name.filter(|name| *name != profiles::DEFAULT) {
        layers.profile = Some(read.profile(name, Layer::Profile));
    }
    read.sources.sort_by_key(|source| source.layer);
    let mut out = defaults(inputs.facts, read.sources, trust);
    if let Some(beside) = beside.filter(|beside| profile.as_ref() == Some(beside)) {
        let words = format!(
            "the profile {} goes with this program and is used; `-p {}` turns it off",
            beside.value,
            profiles::DEFAULT
        );
        out.notices.push(Sourced::new(words, beside.source));
    }
    out.profile = profile;
    merge(inputs, &layers, out, read.problems)
}

/// What was read, and what was wrong with it.
#[derive(Default)]
struct Read {
    sources: Vec<PolicySource>,
    problems: Vec<Problem>,
}

impl Read {
    fn file(&mut self, text: Option<DefinitionText<'_>>, layer: Layer) -> Definition {
        let Some(text) = text else {
            return Definition::default();
        };
        self.sources.push(PolicySource {
            layer,
            file: text.file.to_owned(),
            digest: crate::digest(text.bytes),
        });
        parse(&text, layer).unwrap_or_else(|mut found| {
            self.problems.append(&mut found.0);
            Definition::default()
        })
    }

    fn profile(&mut self, name: &str, layer: Layer) -> Definition {
        let file = PathBuf::from(format!("profile {name}"));
        let text =
            profiles::text(name).map(|text| DefinitionText { file: &file, bytes: text.as_bytes() });
        self.file(text, layer)
    }
}

/// The profile that goes with the program.
fn beside(own: &ProgramProfile) -> Sourced<String> {
    let source = Source::command_line(own.program.display().to_string());
    Sourced::new(own.profile.to_owned(), source)
}

/// The profile that holds. One that only the project asks for opens what it permits, so it is a
/// widening like any other.
fn choose_profile(
    layers: &Layers,
    beside: Option<&Sourced<String>>,
    trust: &mut Trust,
) -> Option<Sourced<String>> {
    if let Some(profile) = &layers.command.profile {
        return Some(profile.clone());
    }
    let user = layers.user.profile.as_ref().or(beside).cloned();
    let Some(project) = &layers.project.profile else {
        return user;
    };
    let without = user.as_ref().map_or(profiles::DEFAULT, |own| own.value.as_str());
    if project.value == without || project.value == profiles::DEFAULT {
        return Some(project.clone());
    }
    trust.widens.push(crate::compiled::Widening {
        words: format!("uses the profile {}", project.value),
        destination: None,
        source: project.source.clone(),
    });
    if trust.accepted { Some(project.clone()) } else { user }
}

fn merge(
    inputs: &Inputs<'_>,
    layers: &Layers,
    out: Compiled,
    problems: Vec<Problem>,
) -> Result<Compiled, Problems> {
    let files: Vec<&Path> = [inputs.organisation, inputs.user, inputs.project]
        .iter()
        .flatten()
        .map(|text| text.file)
        .collect();
    let mut merger = Merger {
        out,
        problems,
        judge: Judge::new(inputs.facts, inputs.host, &files),
        command: &layers.command,
        reached: Coverage::default(),
        now_unix: inputs.facts.now_unix,
    };
    if let Err(fault) = merger.judge.workspace() {
        let source = Source::command_line("the workspace");
        merger.problems.push(Problem { source, fault });
    }
    let organisation = &layers.organisation;
    merger.out.network = forbids(Layer::Organisation, &organisation.deny, 1);
    merger.out.denies = hidden(Layer::Organisation, organisation, 1);
    let project_dir = inputs.project.and_then(|text| text.file.parent());
    let stack = [
        (Layer::BuiltIn, None, Some(&layers.built_in)),
        (Layer::Profile, None, layers.profile.as_ref()),
        (Layer::User, None, Some(&layers.user)),
        (Layer::Project, project_dir, Some(&layers.project)),
        (Layer::CommandLine, Some(inputs.facts.cwd.as_path()), Some(&layers.command)),
    ];
    for (layer, base, definition) in stack {
        if let Some(definition) = definition {
            merger.lay(&Above { layer, base, definition });
        }
    }
    finish(merger, organisation)
}

fn finish(merger: Merger<'_>, organisation: &Definition) -> Result<Compiled, Problems> {
    let Merger { mut out, problems, mut judge, .. } = merger;
    if !problems.is_empty() {
        return Err(settle(problems));
    }
    if judge.workspace_holds_binary() {
        let source = Source::built_in("the running ringfence lies in the workspace");
        out.workspace.cap = Some(Sourced::new(WorkspaceMode::Review, source));
    }
    narrow::cap(&mut out, organisation);
    out.masks = judge.masks(&out.files);
    let opened = &out.workspace.unprotect;
    out.workspace.protected = protected::PROTECTED
        .iter()
        .filter(|row| !opened.iter().any(|own| own.value == row.path))
        .map(|row| row.path.to_owned())
        .collect();
    notice_taken_back(&mut out);
    if out.debug.value {
        let words = "processes inside may trace each other".to_owned();
        let source = out.debug.source.clone();
        out.residual_risks.push(Sourced::new(words, source));
    }
    out.digest = out.compute_digest().map_err(|error| {
        Problems(vec![Problem {
            source: Source::built_in("digest"),
            fault: Fault::Internal(error.to_string()),
        }])
    })?;
    Ok(out)
}

/// Permits that another layer's forbid takes back are no mistake of one file, but worth a word.
fn notice_taken_back(out: &mut Compiled) {
    let mut forbids = Coverage::default();
    for (at, rule) in out.network.iter().enumerate() {
        if rule.effect == Effect::Forbid {
            forbids.add(&rule.destination, at);
        }
    }
    let taken_back = out.permits().filter_map(|permit| {
        let over = forbids.over(&permit.destination);
        let by = out.network.get(*over.first()?)?;
        let words = format!(
            "{} is allowed, but {} denies it ({})",
            permit.destination, by.destination, by.source
        );
        Some(Sourced::new(words, permit.source.clone()))
    });
    let notices: Vec<_> = taken_back.collect();
    out.notices.extend(notices);
}

/// What holds before any layer has spoken.
fn defaults(facts: &Facts, sources: Vec<PolicySource>, trust: Trust) -> Compiled {
    let source = |words: &str| Source::built_in(words);
    let memory = facts.memory / 100 * MEMORY_PERCENT;
    let tmp = (facts.memory / 100 * TMP_PERCENT).min(TMP_MOST);
    let limits: BTreeMap<_, _> = LimitKind::ALL
        .into_iter()
        .map(|kind| {
            let value = match kind {
                LimitKind::Memory => Some(memory),
                LimitKind::Processes => Some(PROCESSES),
                LimitKind::OpenFiles => Some(OPEN_FILES),
                LimitKind::Disk => Some(DISK),
                LimitKind::Tmp => Some(tmp),
                LimitKind::Cpu | LimitKind::FileSize | LimitKind::Wall | LimitKind::Idle => None,
            };
            (kind, Sourced::new(value, source("default")))
        })
        .collect();
    Compiled {
        version: COMPILED_VERSION,
        digest: String::new(),
        sources,
        name: None,
        profile: None,
        workspace: WorkspacePlan {
            root: facts.workspace.clone(),
            mode: None,
            cap: None,
            protected: Vec::new(),
            unprotect: Vec::new(),
        },
        files: Vec::new(),
        denies: Vec::new(),
        masks: Vec::new(),
        network: Vec::new(),
        emptied: None,
        publish: Vec::new(),
        resolver: None,
        pass: Vec::new(),
        set: BTreeMap::new(),
        exec: Sourced::new(ExecMode::Any, source("default")),
        tier: Sourced::new(Tier::Process, source("default")),
        debug: Sourced::new(false, source("default")),
        limits,
        floor: FloorPlan {
            landlock: Sourced::new(LANDLOCK_FLOOR, source("default")),
            cgroup: Sourced::new(false, source("default")),
        },
        trust,
        residual_risks: Vec::new(),
        notices: Vec::new(),
    }
}
