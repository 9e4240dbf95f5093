//! `ringfence allow`: a person's answer to a denial, remembered in a policy or given for a time.
//!
//! It never widens what a person has not seen: a definition that was not accepted stays so, whatever
//! is added to it, and a line goes to the file only if `run` would take it.

mod file;
mod live;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_model::provenance::Layer;
use ringfence_policy::{
    CommandLine, Compiled, DefinitionText, Fault, Key, Problem, Problems, Remember, Remembered,
    digest, init, names_openings, remember, shell_word,
};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::clock;
use crate::heal;
use crate::host;
use crate::limits::ALLOW_LOCK_MS;
use crate::load::{Layers, LoadError, Text};
use crate::paths::{DEFINITION, Paths, PathsError, make_private, open_lock};
use crate::rundir::{self, FindError, RunDir, RunDirError};
use crate::trust::{TrustError, Trusted};

pub use file::FileError;
use file::Target;
pub use live::Effect;
use live::Reach;

/// For how long, and where it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the project's definition.
    Project,
    /// In the user's own policy.
    User,
    /// Nowhere: for running sandboxes, for so many milliseconds.
    For(u64),
}

/// What a person wants to be allowed.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Destinations, as `run --allow` takes them.
    pub hosts: Vec<String>,
    /// Paths, as `run --ro` takes them.
    pub read: Vec<String>,
    /// Paths, as `run --rw` takes them.
    pub write: Vec<String>,
    /// Names of variables, as `run --env` takes them.
    pub pass: Vec<String>,
    /// How long.
    pub scope: Scope,
    /// Only this run, and its project.
    pub run: Option<String>,
    /// Another definition than the project's.
    pub definition: Option<PathBuf>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The line's number, from 1.
    pub line: u32,
    /// The line.
    pub text: String,
    /// Whether it stood there before.
    pub was_there: bool,
}

/// What was remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// Its lines.
    pub lines: Vec<Line>,
    /// Whether what the file permits holds; a definition that was not accepted opens nothing.
    pub accepted: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Whether nothing was done but say so.
    pub dry_run: bool,
    /// What was remembered.
    pub written: Option<Written>,
    /// What became of running sandboxes.
    pub runs: Vec<Effect>,
    /// What no running sandbox can be given.
    pub from_the_next_run: Vec<String>,
}

/// Why it was not allowed.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    /// No home or state directory.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// A layer cannot be read, or the answer is one that no policy may hold.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// The answer is refused.
    #[error("{0}\n  nothing was written")]
    Refused(Problems),
    /// The trust record.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No such run.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A file of the run.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl AllowError {
    fn system(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Other(format!("cannot {what}: {error}"))
    }
}

/// Where the answer belongs.
struct Place {
    paths: Paths,
    /// The project.
    root: PathBuf,
    /// Where relative paths of the command line start.
    cwd: PathBuf,
    /// Its definition, which may not exist.
    definition: PathBuf,
    /// The run that was named.
    run: Option<RunDir>,
}

impl Place {
    fn find(wish: &Wish) -> Result<Self, AllowError> {
        let paths = Paths::find()?;
        heal::heal(&paths);
        let cwd = std::env::current_dir()
            .and_then(fs::canonicalize)
            .map_err(|error| AllowError::system("find the working directory", error))?;
        let here = host::project_root(&cwd, &paths.home);
        let Some(word) = &wish.run else {
            let named = wish.definition.as_ref().map(|named| cwd.join(named));
            let definition = named.unwrap_or_else(|| here.join(DEFINITION));
            return Ok(Self { paths, root: here, cwd, definition, run: None });
        };
        let run = rundir::find(&paths, Some(word), &here)?;
        Self::of(paths, cwd, &run)
    }

    /// The project of a run, and the definition that it follows.
    fn of(paths: Paths, cwd: PathBuf, run: &RunDir) -> Result<Self, AllowError> {
        let root = run.info()?.workspace;
        let compiled: Compiled = run.read_json("policy.json")?;
        let own = root.join(DEFINITION);
        // Where the project's own name leads is no definition that the person has named: it stays
        // the name, so that a link out of the project is seen as one.
        let named = definition_of(&compiled)
            .filter(|file| fs::canonicalize(&own).ok().as_ref() != Some(*file));
        let definition = named.cloned().unwrap_or(own);
        Ok(Self { paths, root, cwd, definition, run: Some(run.clone()) })
    }
}

/// The project's definition that a policy was compiled from.
pub(crate) fn definition_of(compiled: &Compiled) -> Option<&PathBuf> {
    let mut sources = compiled.sources.iter();
    sources.find(|source| source.layer == Layer::Project).map(|source| &source.file)
}

/// Whether an answer to a denial of this run would be taken.
///
/// # Errors
/// Why not.
pub(crate) fn would_work(paths: Paths, run: &RunDir, answer: &Remember) -> Result<(), AllowError> {
    let place = Place::of(paths, PathBuf::from("/"), run)?;
    let entry = match answer.key {
        Key::Read | Key::Write => {
            Remember { key: answer.key, text: written_path(&answer.text, &place)? }
        }
        _ => answer.clone(),
    };
    write(&place, Layer::Project, &[entry], true).map(drop)
}

/// Does it, or says what would be done.
///
/// # Errors
/// [`AllowError`]: nothing was changed, or it says what was.
pub fn allow(wish: &Wish) -> Result<Done, AllowError> {
    let place = Place::find(wish)?;
    let entries = entries(wish, &place)?;
    let reach = match wish.scope {
        Scope::Project => Reach::Project { root: &place.root, definition: &place.definition },
        Scope::User => Reach::User,
        Scope::For(_) => Reach::Here { root: &place.root },
    };
    let runs = || live::runs(&place.paths, place.run.as_ref(), &reach);
    let mut done = Done { dry_run: wish.dry_run, ..Done::default() };
    let layer = match wish.scope {
        Scope::Project => Layer::Project,
        Scope::User => Layer::User,
        Scope::For(for_ms) => {
            done.runs = for_a_time(wish, for_ms, &runs())?;
            return Ok(done);
        }
    };
    let (written, remembered) = write(&place, layer, &entries, wish.dry_run)?;
    // Looked for only now: what started before has read the old text, what starts from now on the new.
    let runs = runs();
    let hosts: Vec<_> = entries
        .iter()
        .zip(&remembered.places)
        .filter(|(entry, _)| entry.key == Key::Allow)
        .map(|(entry, place)| live::wanted(&entry.text, Some(&place.source)))
        .collect();
    let others = entries.iter().filter(|entry| entry.key != Key::Allow);
    if !runs.is_empty() {
        done.from_the_next_run = others.map(|entry| entry.text.clone()).collect();
    }
    if written.accepted && !hosts.is_empty() {
        done.runs = live::ask(&runs, &hosts, None, wish.dry_run);
    }
    done.written = Some(written);
    Ok(done)
}

fn for_a_time(wish: &Wish, for_ms: u64, runs: &[RunDir]) -> Result<Vec<Effect>, AllowError> {
    if !(wish.read.is_empty() && wish.write.is_empty() && wish.pass.is_empty()) {
        return Err(AllowError::Other(
            "a path or a variable cannot be given to a running sandbox, so there is nothing that --for could end; leave --for out, and it is there from the next run"
                .to_owned(),
        ));
    }
    if runs.is_empty() {
        let words: Vec<String> = wish.hosts.iter().map(|host| shell_word(host)).collect();
        return Err(AllowError::Other(format!(
            "no sandbox of this project is running, and --for is for running ones\n  remember it: ringfence allow {}",
            words.join(" ")
        )));
    }
    let hosts: Vec<_> = wish.hosts.iter().map(|host| live::wanted(host, None)).collect();
    Ok(live::ask(runs, &hosts, Some(for_ms), wish.dry_run))
}

/// The wish as entries of a definition.
fn entries(wish: &Wish, place: &Place) -> Result<Vec<Remember>, AllowError> {
    let mut all = Vec::new();
    let mut add = |key, text: String| all.push(Remember { key, text });
    wish.hosts.iter().for_each(|host| add(Key::Allow, host.clone()));
    for (key, paths) in [(Key::Read, &wish.read), (Key::Write, &wish.write)] {
        for path in paths {
            add(key, written_path(path, place)?);
        }
    }
    wish.pass.iter().for_each(|name| add(Key::Pass, name.clone()));
    if all.is_empty() {
        let words = "name what is to be allowed: a HOST, --ro PATH, --rw PATH or --env NAME";
        return Err(AllowError::Other(words.to_owned()));
    }
    Ok(all)
}

/// A path that means the same wherever the file is read from.
fn written_path(text: &str, place: &Place) -> Result<String, AllowError> {
    if text.contains(char::is_control) {
        let shown = ringfence_model::text::visible(text);
        return Err(AllowError::Other(format!(
            "{shown} has control characters; a path like this is not written into a policy"
        )));
    }
    if text.starts_with("~/") || text.is_empty() {
        return Ok(text.to_owned());
    }
    let absolute = place.cwd.join(text);
    let canonical = if text.starts_with('/') {
        absolute
    } else {
        fs::canonicalize(&absolute)
            .map_err(|error| AllowError::system(&format!("look at {text}"), error))?
    };
    let below_home = canonical.strip_prefix(&place.paths.home).ok().map(Path::to_owned);
    let written = match below_home {
        Some(rest) if !rest.as_os_str().is_empty() => Path::new("~").join(rest),
        _ => canonical,
    };
    let text = written.to_str().ok_or_else(|| {
        AllowError::Other(format!("{} is not UTF-8, which a policy is", written.display()))
    })?;
    Ok(text.to_owned())
}

/// Writes the lines, if every layer agrees to them.
fn write(
    place: &Place,
    layer: Layer,
    entries: &[Remember],
    dry_run: bool,
) -> Result<(Written, Remembered), AllowError> {
    let paths = &place.paths;
    // Whoever only looks waits for nobody.
    let _turn = if dry_run { None } else { Some(turn(paths)?) };
    let target = match layer {
        Layer::Project => {
            // A definition that was named by the person may lie anywhere.
            let own = place.definition == place.root.join(DEFINITION);
            Target::open(&place.definition, own.then_some(place.root.as_path()))?
        }
        _ => {
            make_private(&paths.config)?;
            Target::open(&paths.user_policy(), None)?
        }
    };
    let empty = if layer == Layer::Project { init::EMPTY } else { init::EMPTY_USER };
    let old = target.old.as_deref().unwrap_or(empty.as_bytes());
    let text = DefinitionText { file: &target.path, bytes: old };
    let remembered = remember(&text, layer, entries).map_err(AllowError::Refused)?;
    check(place, layer, &target, &remembered)?;
    let mut trusted = Trusted::load(paths)?;
    let accepted = layer != Layer::Project
        || target.old.as_ref().is_none_or(|old| trusted.accepts(&target.path, &digest(old)))
        || asks_for_nothing(place, &target)?;
    let changed = target.old.as_deref() != Some(remembered.text.as_bytes());
    if changed && !dry_run {
        target.replace(remembered.text.as_bytes())?;
        if accepted && layer == Layer::Project {
            // Exactly the bytes that were written: what somebody else puts there is not accepted.
            let digest = digest(remembered.text.as_bytes());
            trusted
                .accept(paths, &target.path, &digest)
                .map_err(|error| unaccepted(&target.path, &error))?;
        }
    }
    let lines = remembered.places.iter().map(|place| Line {
        line: place.source.line,
        text: place.line.clone(),
        was_there: place.was_there,
    });
    let written = Written { file: target.path.clone(), lines: lines.collect(), accepted };
    Ok((written, remembered))
}

/// The line stands there, and nothing of the file holds.
fn unaccepted(file: &Path, error: &TrustError) -> AllowError {
    let word = shell_word(&file.display().to_string());
    AllowError::Other(format!(
        "{} has the line now, but could not be accepted with it, so it is not in force: {error}\n  accept it when that is mended: ringfence trust {word}",
        file.display()
    ))
}

/// One `allow` of this user at a time: each reads what the one before has written.
fn turn(paths: &Paths) -> Result<fs::File, AllowError> {
    let path = paths.state.join("allow.lock");
    let failed = |error: std::io::Error| {
        AllowError::system(&format!("take the turn at {}", path.display()), error)
    };
    let lock = open_lock(&path).map_err(failed)?;
    let begun = clock::now();
    while let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        let waited = clock::now().elapsed_ms(&begun);
        if error != rustix::io::Errno::WOULDBLOCK || waited > ALLOW_LOCK_MS {
            return Err(failed(error.into()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(lock)
}

/// Compiles every layer with the new text: whatever would refuse the next run refuses the answer, and
/// so does a forbid that leaves nothing of it.
fn check(
    place: &Place,
    layer: Layer,
    target: &Target,
    remembered: &Remembered,
) -> Result<(), AllowError> {
    let text = Text { path: target.path.clone(), bytes: remembered.text.clone().into_bytes() };
    let mut layers = layers(place, layer)?;
    match layer {
        Layer::Project => layers.project = Some(text),
        _ => layers.user = Some(text),
    }
    let compiled = match layers.compile(&CommandLine::default(), true) {
        Ok(compiled) => compiled,
        Err(LoadError::Problems(problems)) => return Err(AllowError::Refused(problems)),
        Err(error) => return Err(error.into()),
    };
    for place in &remembered.places {
        let source = place.source.clone();
        let inside = compiled.files.iter().find(|rule| {
            layer == Layer::Project
                && rule.source == source
                && rule.path.starts_with(&compiled.workspace.root)
        });
        let fault = inside.map(|rule| Fault::Conflict {
            what: rule.path.display().to_string(),
            why: "it lies in the project, which the agent has; a protected path is opened by `unprotect` under [workspace]".to_owned(),
        });
        if let Some(fault) = fault.or_else(|| compiled.without_effect(&source)) {
            return Err(AllowError::Refused(Problems(vec![Problem { source, fault }])));
        }
    }
    Ok(())
}

/// What the answer is judged with; for all of the user's projects, no project has a say.
fn layers(place: &Place, layer: Layer) -> Result<Layers, AllowError> {
    let named = place.definition.symlink_metadata().is_ok().then_some(place.definition.as_path());
    let mut layers = Layers::read(&place.paths, &place.root, named, clock::now())?;
    layers.facts.workspace.clone_from(&place.root);
    if layer == Layer::User {
        layers.project = None;
        layers.facts.workspace = PathBuf::from(NO_PROJECT);
    }
    Ok(layers)
}

/// A project that is nobody's.
const NO_PROJECT: &str = "/no-project";

/// Whether the text as it stood opens nothing, so that nobody had to accept it: it has no entry that
/// could, whatever exists on the host by then, and no value that is wider than what holds without it,
/// be that the user's own policy, which may change, or none.
fn asks_for_nothing(place: &Place, target: &Target) -> Result<bool, AllowError> {
    let Some(old) = &target.old else { return Ok(true) };
    let text = DefinitionText { file: &target.path, bytes: old };
    if names_openings(&text).map_err(AllowError::Refused)? {
        return Ok(false);
    }
    let mut layers = layers(place, Layer::Project)?;
    layers.project = Some(Text { path: target.path.clone(), bytes: old.clone() });
    let opens = |layers: &Layers| -> Result<bool, AllowError> {
        Ok(!layers.compile(&CommandLine::default(), false)?.trust.widens.is_empty())
    };
    if opens(&layers)? {
        return Ok(false);
    }
    layers.user = None;
    Ok(!opens(&layers)?)
}
