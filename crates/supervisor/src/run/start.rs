//! The start of a run: read, judge, plan, record, build, release.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_jail::cgroup::{Group, Homes};
use ringfence_jail::{Launch, LaunchError, Probes, launch};
use ringfence_model::boundary::{Boundary, ExecMode, MountKind, Tier, WorkspaceMode};
use ringfence_model::event::{Event, Start};
use ringfence_model::id::RunId;
use ringfence_policy::{CommandLine, Compiled};
use ringfence_sys::{landlock_rules, seccomp};

use super::detach::Report;
use super::gateway::{self, Gateway};
use super::owner::Owner;
use super::{Finished, Options, Person as Asked, RunError, manifest, system};
use crate::clock::{self, Moment};
use crate::home;
use crate::host::Person;
use crate::load::Layers;
use crate::pair;
use crate::paths::{Paths, make_private};
use crate::plan::{self, HoldWatch, Plan, Setting};
use crate::program::Beside;
use crate::recorder::Recorder;
use crate::removal::HomeUse;
use crate::rundir::{Cleanup, RunDir, RunInfo};
use crate::trust::Trusted;
use crate::{heal, mend, stdio};

/// Runs the agent to its end.
///
/// # Errors
/// [`RunError`]: nothing was started, and nothing is left behind.
pub fn run(options: &Options, asked: &mut dyn Asked) -> Result<Finished, RunError> {
    run_and_report(options, asked, None)
}

/// As [`run`], in a process that leaves its caller's terminal and says when the agent runs.
///
/// # Errors
/// As [`run`]; nobody was told anything then.
pub fn run_detached(
    options: &Options,
    asked: &mut dyn Asked,
    report: Report,
) -> Result<Finished, RunError> {
    run_and_report(options, asked, Some(report))
}

fn run_and_report(
    options: &Options,
    asked: &mut dyn Asked,
    report: Option<Report>,
) -> Result<Finished, RunError> {
    let begun = clock::now();
    let paths = Paths::find()?;
    heal::heal(&paths);
    let cwd = std::env::current_dir()
        .and_then(std::fs::canonicalize)
        .map_err(system("find the working directory"))?;
    let layers = Layers::read(&paths, &cwd, options.definition.as_deref(), begun)?;
    let compiled = judge(&paths, &cwd, &layers, options, asked)?;
    floor(&compiled)?;
    let accepted = settle(&paths, &compiled, asked)?;
    let known = Known { paths: &paths, cwd: &cwd, options, layers: &layers, accepted: &accepted };
    let mut prepared = Preparation::new(&known, compiled, begun)?;
    for note in &prepared.plan.notes {
        asked.note(note);
    }
    let result = prepared.start(asked, report);
    if result.is_err() {
        prepared.undo();
    }
    result
}

/// What the kernel must have is asked before anything is started, so that the refusal can name it.
fn floor(compiled: &Compiled) -> Result<(), RunError> {
    let (has, needed) = (landlock_rules::kernel_abi(), compiled.boundary_floor().landlock.max(1));
    let alone = compiled.tier.value == Tier::Landlock;
    if alone && has < landlock_rules::ALONE_ABI {
        return Err(RunError::Floor(format!(
            "this kernel offers Landlock ABI {has}, and tier landlock ({}) stands on ABI {} (Linux 6.12): below it signals reach every process of the same user\n  {}",
            compiled.tier.source,
            landlock_rules::ALONE_ABI,
            mend::LANDLOCK
        )));
    }
    if has < needed {
        return Err(RunError::Floor(format!(
            "this kernel offers Landlock ABI {has} and the policy requires {needed} ({})\n  {}",
            compiled.floor.landlock.source,
            mend::LANDLOCK
        )));
    }
    if !seccomp::is_available() {
        return Err(RunError::Floor(format!(
            "this kernel does not offer seccomp filters with user notification\n  {}",
            mend::SECCOMP
        )));
    }
    Ok(())
}

/// Compiles the layers; a project that widens anything must be trusted as it is now.
fn judge(
    paths: &Paths,
    cwd: &Path,
    layers: &Layers,
    options: &Options,
    asked: &mut dyn Asked,
) -> Result<Compiled, RunError> {
    let mut trusted = Trusted::load(paths)?;
    let accepted = layers.project_trusted(&trusted);
    let mut beside = Beside::find(&options.argv, cwd, &layers.facts.workspace, &paths.home);
    let mut line = CommandLine { program: beside.profile.clone(), ..options.command_line.clone() };
    let mut compiled = layers.compile(&line, accepted)?;
    if let Some(without) = beside.unless_writable(&compiled, cwd) {
        beside = without;
        line.program = None;
        compiled = layers.compile(&line, accepted)?;
    }
    if let Some(refused) = beside.refused.filter(|_| compiled.profile.is_none()) {
        asked.note(&refused);
    }
    for notice in &compiled.notices {
        asked.note(&format!("{} ({})", notice.value, notice.source));
    }
    if accepted || compiled.trust.widens.is_empty() {
        return Ok(compiled);
    }
    let (Some(text), Some(digest)) = (&layers.project, &compiled.trust.digest) else {
        return Ok(compiled);
    };
    if stdio::interactive() && asked.accept(&text.path, &compiled.trust.widens) {
        trusted.accept(paths, &text.path, digest)?;
        return Ok(layers.compile(&line, true)?);
    }
    let list: Vec<String> = compiled
        .trust
        .widens
        .iter()
        .map(|widening| format!("  {} ({})", widening.words, widening.source))
        .collect();
    Err(RunError::Untrusted { definition: text.path.display().to_string(), list: list.join("\n") })
}

/// Asks the person about the hooks and servers of their agent that have no answer yet.
fn settle(
    paths: &Paths,
    compiled: &Compiled,
    asked: &mut dyn Asked,
) -> Result<Vec<home::entries::Entry>, RunError> {
    let interactive = stdio::interactive();
    let mut ask = |entry: &home::entries::Entry| interactive.then(|| asked.bring(&entry.words()));
    let (accepted, notes) = home::settle(paths, Person::current().uid, compiled, &mut ask)?;
    notes.iter().for_each(|note| asked.note(note));
    Ok(accepted)
}

/// Everything between the judged policy and the running sandbox.
struct Preparation {
    run: RunDir,
    info: RunInfo,
    compiled: Arc<Compiled>,
    plan: Plan,
    begun: Moment,
    lock: Option<OwnedFd>,
    uid: u32,
    stores: Vec<PathBuf>,
    /// Held until the run is over: nobody removes the home that is kept for its name meanwhile.
    _home: Option<HomeUse>,
    /// The organisation's policy as it was compiled.
    organisation: Option<Vec<u8>>,
    /// Secrets of the agent's kept login.
    secrets: Vec<String>,
}

/// What is known before anything is prepared.
struct Known<'a> {
    paths: &'a Paths,
    cwd: &'a Path,
    options: &'a Options,
    layers: &'a Layers,
    /// Hooks and servers of the user's that the agent may have.
    accepted: &'a [home::entries::Entry],
}

/// What is known before the run has a directory.
struct Judged<'a> {
    known: &'a Known<'a>,
    begun: Moment,
    person: Person,
    mode: WorkspaceMode,
}

impl Preparation {
    fn new(known: &Known<'_>, compiled: Compiled, begun: Moment) -> Result<Self, RunError> {
        let watched = stdio::interactive() && !known.options.detached;
        let default = match (compiled.tier.value, watched) {
            (Tier::Process, true) => WorkspaceMode::Pair,
            (Tier::Process, false) => WorkspaceMode::Review,
            // Copy-on-write needs a mount; nothing is written in a project by default then.
            (Tier::Landlock, _) => WorkspaceMode::ReadOnly,
        };
        let mode = compiled.workspace.mode_or(default);
        let person = Person::current();
        let run = RunDir::new(known.paths, RunId::new(begun.unix_ms(), random()?));
        let lock = run.create()?;
        let judged = Judged { known, begun, person, mode };
        Self::prepare(&judged, &run, lock, compiled).inspect_err(|_| {
            // Nothing was recorded yet: the run never was.
            run.unmark_live();
            let _ = ringfence_workspace::remove_tree(run.path());
        })
    }

    fn prepare(
        judged: &Judged<'_>,
        run: &RunDir,
        lock: OwnedFd,
        compiled: Compiled,
    ) -> Result<Self, RunError> {
        let Judged { known, begun, person, mode } = judged;
        let Known { paths, cwd, options, layers, accepted } = known;
        let name = compiled.name.as_ref().map(|name| name.value.clone());
        let home = name.as_ref().map(|name| HomeUse::share(paths, name)).transpose();
        let home = home.map_err(system("use the sandbox's kept home"))?;
        let private_home = match &name {
            Some(name) => paths.homes().join(name.as_str()),
            None => run.home(),
        };
        make_private(&private_home)?;
        if compiled.tier.value == Tier::Landlock {
            make_private(&run.temporary())?;
        }
        let ready = home::prepare(paths, person.uid, &compiled, run, &private_home, accepted)?;
        let setting = Setting {
            person,
            home: &paths.home,
            cwd,
            argv: &options.argv,
            run,
            private_home: &private_home,
            mode: *mode,
            start_unix_s: begun.unix_s,
            definitions: &layers.files(),
            brought: &ready.copies,
            variable: &|name| std::env::var(name).ok(),
        };
        let mut plan = match compiled.tier.value {
            Tier::Process => plan::assemble(&compiled, &setting)?,
            Tier::Landlock => plan::assemble_alone(&compiled, &setting)?,
        };
        crate::outside::check(paths, &plan.boundary)?;
        plan.notes.extend(ready.notes);
        make_layers(&plan)?;
        let program = options.argv.first().map(Path::new).and_then(Path::file_name);
        let agent = compiled.profile.as_ref().map_or_else(
            || program.unwrap_or_default().to_string_lossy().into_owned(),
            |profile| profile.value.clone(),
        );
        let info = RunInfo {
            id: run.id().clone(),
            name,
            agent,
            argv: options.argv.clone(),
            workspace: compiled.workspace.root.clone(),
            mode: *mode,
            tier: compiled.tier.value,
            started: begun.unix_s,
            started_ns: begun.unix_ns,
            policy: compiled.digest.clone(),
            supervisor: std::process::id(),
            supervisor_start: crate::rundir::start_ticks(std::process::id()),
            person: person.to_string(),
            detached: options.detached,
        };
        let stores = vec![run.path().to_owned(), private_home];
        Ok(Self {
            run: run.clone(),
            info,
            compiled: Arc::new(compiled),
            plan,
            begun: *begun,
            lock: Some(lock),
            uid: person.uid,
            stores,
            _home: home,
            organisation: layers.organisation.as_ref().map(|text| text.bytes.clone()),
            secrets: ready.secrets,
        })
    }

    /// Takes back what was prepared; the ledger stays, if there is one.
    fn undo(&mut self) {
        if !heal::clean(&self.run) {
            // The next command tries again.
            return;
        }
        let nothing_recorded = !self.run.ledger().exists();
        self.run.unmark_live();
        if nothing_recorded {
            let _ = ringfence_workspace::remove_tree(self.run.path());
        }
    }

    fn start(
        &mut self,
        asked: &mut dyn Asked,
        report: Option<Report>,
    ) -> Result<Finished, RunError> {
        let journal = self.pair_journal(asked)?;
        if let Some(report) = &report {
            // Nobody is told anything from here on.
            report.leave().map_err(system("leave the caller's terminal"))?;
        }
        let detached = report.is_some();
        let standard = if detached { Ok(stdio::detached()) } else { stdio::plan() };
        let standard = standard.map_err(system("examine the standard descriptors"))?;
        let hidden = self.plan.hidden.take();
        let organisation = self.organisation.take();
        let boundary = &self.plan.boundary;
        let gateway = gateway::start(boundary, self.run.id().as_str())?;
        let homes = Homes::find();
        let name = format!("ringfence-{}", self.run.id());
        self.journal(homes.candidates(&name))?;
        let group = self.group(&homes, &name)?;
        self.hold_missing()?;
        let held = HoldWatch::start(&boundary.mounts)
            .map_err(system("watch the project's protected names"))?;
        let keeper = journal
            .map(|place| pair::Keeper::start(place, boundary))
            .transpose()
            .map_err(system("start the keeper of the workspace"))?;
        let filter = seccomp::compile(
            seccomp::Options {
                debug: boundary.debug,
                exec_base: boundary.exec == ExecMode::Base,
                notify_exec: true,
                shared: boundary.tier == Tier::Landlock,
                notify_writes: boundary.workspace.mode == WorkspaceMode::Pair,
            },
            seccomp::Arch::NATIVE,
        )
        .map_err(|error| system("compile the system call filter")(io::Error::other(error)))?;
        let traps = Traps::set(self.run.id().as_str()).map_err(system("prepare the self-test"))?;
        let Gateway { process, link, handover } = gateway;
        let sandbox = launch(Launch {
            boundary,
            filter: &filter,
            notify_exec: true,
            processes_grouped: group.enforces().processes,
            stdio: standard.inside,
            gateway: handover,
            probes: traps.probes.clone(),
            attach: &|pid| group.attach(pid),
        })
        .map_err(launch_error)?;
        // While init builds: what must be written before the agent's first instruction. It waits
        // for a word that only the owner gives, after the second record.
        self.run.write_json("run.json", &self.info)?;
        self.run.write_json("policy.json", self.compiled.as_ref())?;
        let mut recorder = Recorder::create(&self.run, heal::subject(&self.info), self.begun)?;
        recorder.know_secrets(secrets(boundary));
        recorder.know_secrets(std::mem::take(&mut self.secrets));
        self.record_start(&mut recorder, &group)?;
        let owner = Owner::new(super::owner::Parts {
            run: &self.run,
            compiled: Arc::clone(&self.compiled),
            boundary,
            recorder,
            sandbox,
            gateway: process,
            link,
            group,
            pumps: standard.pumps,
            traps,
            uid: self.uid,
            stores: self.stores.clone(),
            hidden,
            held,
            organisation,
            report,
            detached,
            keeper,
        })?;
        let mut finished = owner.watch_over()?;
        match home::logins::take_back(&self.run) {
            Ok(kept) => finished.notes.extend(kept),
            Err(error) => finished.failures.push(error.to_string()),
        }
        if heal::clean(&self.run) {
            self.run.unmark_live();
        }
        finished.changes = match boundary.workspace.mode {
            WorkspaceMode::Pair => pair::Place::of(&self.run).has_changes(),
            _ => self.run.layer().exists(),
        };
        if detached {
            self.run.write_json("finished.json", &finished)?;
        }
        drop(self.lock.take());
        Ok(finished)
    }

    /// In a `pair` workspace: where what changes replace will be kept.
    fn pair_journal(&self, asked: &mut dyn Asked) -> Result<Option<pair::Place>, RunError> {
        let workspace = &self.plan.boundary.workspace;
        if workspace.mode != WorkspaceMode::Pair {
            return Ok(None);
        }
        let place = pair::Place::of(&self.run);
        let held = pair::held(&self.plan.boundary, &self.plan.held);
        let trees = pair::Trees::of(workspace);
        place
            .make(&trees, held, self.plan.excluded.clone())
            .map_err(system("make the journal of the workspace"))?;
        if !place.shares_a_file_system(&workspace.root) {
            asked.note(
                "the project is on another file system than ringfence's state: what is deleted is copied first",
            );
        }
        Ok(Some(place))
    }

    fn group(&self, homes: &Homes, name: &str) -> Result<Group, RunError> {
        let limits = &self.plan.boundary.limits;
        let group = Group::create(homes, name, limits);
        let enforces = group.enforces();
        let lacking = (limits.memory.is_some() && !enforces.memory)
            || (limits.processes.is_some() && !enforces.processes);
        if self.plan.boundary.floor.cgroup && lacking {
            return Err(RunError::Floor(
                "the policy requires limits by control groups, and none is writable here; \
                 `ringfence doctor` says how to delegate one"
                    .to_owned(),
            ));
        }
        Ok(group)
    }

    /// Makes what holds missing names, hidden from the host's git.
    fn hold_missing(&self) -> Result<(), RunError> {
        if let Some(excluded) = &self.plan.excluded {
            let _turn = self.run.turn();
            // Without it they are seen there, and held all the same.
            let _ = excluded.add();
        }
        self.plan.placeholders.create().map_err(system("hold the project's protected names"))
    }

    /// What a crash from here on may leave is written down before it is made.
    fn journal(&self, cgroups: Vec<PathBuf>) -> Result<(), RunError> {
        let placeholders = self.plan.placeholders.paths();
        let cleanup = Cleanup { placeholders, cgroups, excluded: self.plan.excluded.clone() };
        if cleanup != Cleanup::default() {
            self.run.write_json("cleanup.json", &cleanup)?;
        }
        Ok(())
    }

    fn record_start(&self, recorder: &mut Recorder, group: &Group) -> Result<(), RunError> {
        let start = Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary: crate::binary::digest(self.run.path()),
            manifest: manifest::manifest(&self.plan.boundary),
            sources: self.compiled.sources.clone(),
            residual_risks: crate::risks::of(
                &self.compiled,
                &self.plan.boundary,
                group.enforces().memory,
            ),
        };
        recorder
            .record(&Event::Start(Box::new(start)))
            .map_err(|error| RunError::Record(error.into()))?;
        Ok(())
    }
}

/// Values of variables that a secret may be in: they are masked wherever they turn up in the ledger.
fn secrets(boundary: &Boundary) -> Vec<String> {
    let marks = ["KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CREDENTIAL", "COOKIE"];
    boundary
        .environment
        .iter()
        .filter(|(name, value)| value.len() >= 8 && marks.iter().any(|mark| name.contains(mark)))
        .map(|(_, value)| value.clone())
        .collect()
}

fn launch_error(error: LaunchError) -> RunError {
    let mend = mend::for_launch(&error);
    RunError::Launch { error, mend }
}

fn make_layers(plan: &Plan) -> Result<(), RunError> {
    for mount in &plan.boundary.mounts {
        if let MountKind::Overlay { upper, .. } = &mount.kind
            && let Some(store) = upper.parent()
        {
            RunDir::make_layer(store)?;
        }
    }
    Ok(())
}

fn random() -> Result<u64, RunError> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| system("draw a random run id")(error.into()))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Things of the host that the self-test must not be able to reach.
pub struct Traps {
    /// Where they are.
    pub probes: Probes,
    _abstract: UnixListener,
    _loopback: TcpListener,
}

impl Traps {
    fn set(run: &str) -> io::Result<Self> {
        let name = format!("ringfence-self-test-{run}").into_bytes();
        let socket = UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name)?)?;
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let probes = Probes { abstract_name: name, loopback_port: loopback.local_addr()?.port() };
        Ok(Self { probes, _abstract: socket, _loopback: loopback })
    }
}
