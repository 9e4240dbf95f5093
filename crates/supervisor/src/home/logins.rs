//! One login per agent: made once inside, kept outside every home, given to the agent's next runs.
//!
//! Only the files that are the login are kept, never what else an agent leaves in its home: hooks,
//! servers or instructions that one project's agent wrote must not meet the next project's. What a
//! run leaves is hostile: it is taken back whole or not at all, and only as plain JSON of small size.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::agents::{self, Agent, Format, Login};
use super::place::Private;
use super::settings::Files;
use crate::limits::{AGENT_SETTINGS_BYTES, LOGIN_BYTES};
use crate::paths::{Paths, PathsError, make_private, open_lock};
use crate::rundir::RunDir;

/// The file in the run's directory that says which login was given.
const GIVEN: &str = "login.json";

/// A kept login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// When the agent last changed it, in nanoseconds since 1970.
    refreshed_ns: u64,
    /// Each file's content, or the members of it, as JSON text; by path relative to the home.
    files: BTreeMap<String, String>,
}

/// What a run was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    profile: String,
    files: BTreeMap<String, String>,
}

/// Why a login cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// A file of ringfence's own cannot be used.
    #[error("cannot use the kept login {path}: {source}; remove it with: ringfence logout {agent}")]
    File {
        /// Which.
        path: PathBuf,
        /// Whose.
        agent: String,
        /// Why.
        source: io::Error,
    },
    /// The directory cannot be made.
    #[error(transparent)]
    Directory(#[from] PathsError),
    /// There is none.
    #[error("no login of {0} is kept; agents that can have one: {1}")]
    None(String, String),
    /// What the run left cannot be a login.
    #[error("the login that this run leaves in ~/{path} is not kept: {why}")]
    Bad {
        /// Relative to the home.
        path: String,
        /// Why.
        why: String,
    },
}

/// Where the logins are kept.
struct Store {
    directory: PathBuf,
    agent: String,
}

impl Store {
    fn new(state: &Path, agent: &str) -> Self {
        Self { directory: state.join("logins"), agent: agent.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.agent))
    }

    fn failed(&self, source: io::Error) -> LoginError {
        LoginError::File { path: self.path(), agent: self.agent.clone(), source }
    }

    fn load(&self) -> Result<Kept, LoginError> {
        match crate::load::read_bounded(&self.path()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| self.failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// One at a time, for as long as the descriptor lives.
    fn lock(&self) -> Result<OwnedFd, LoginError> {
        make_private(&self.directory)?;
        let file = open_lock(&self.directory.join("lock")).map_err(|error| self.failed(error))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| self.failed(error.into()))?;
        Ok(file.into())
    }

    /// Written whole or not at all.
    fn save(&self, kept: &Kept) -> Result<(), LoginError> {
        use std::io::Write;
        let fresh = self.path().with_extension("json.new");
        let bytes = serde_json::to_vec(kept).map_err(|error| self.failed(error.into()))?;
        let _ = fs::remove_file(&fresh);
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&fresh, self.path()))
            .map_err(|error| self.failed(error))
    }
}

/// Puts the kept login among the files of the private home, and remembers in the run what was given.
/// Gives the secrets in it, for whoever must know them to mask them.
///
/// # Errors
/// [`LoginError`].
pub fn give(
    agent: &Agent,
    run: &RunDir,
    state: &Path,
    files: &mut Files,
) -> Result<Vec<String>, LoginError> {
    let store = Store::new(state, agent.profile);
    let kept = store.load()?;
    let mut secrets = Vec::new();
    for login in agent.logins {
        let Some(text) = kept.files.get(login.path) else { continue };
        let members: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| store.failed(error.into()))?;
        collect_secrets(&Value::Object(members.clone()), &mut secrets);
        let (_, file) = files.entry(login.path).or_insert_with(|| (Format::Json, Map::new()));
        file.extend(members);
    }
    let given = Given { profile: agent.profile.to_owned(), files: kept.files };
    run.write_json(GIVEN, &given).map_err(|error| store.failed(error.source))?;
    Ok(secrets)
}

/// Long texts of a login: tokens, and what is like them.
fn collect_secrets(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= 20 => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, into)),
        Value::Object(members) => members.values().for_each(|item| collect_secrets(item, into)),
        _ => {}
    }
}

/// Takes the login back from the private home of a run that is over. Says in words what was kept;
/// `None` if nothing has changed, or the run was given no place to log in.
///
/// # Errors
/// [`LoginError`]: what was kept before stays.
pub fn take_back(run: &RunDir) -> Result<Option<String>, LoginError> {
    let Ok(given) = run.read_json::<Given>(GIVEN) else { return Ok(None) };
    // Once only: what comes after must not find the file again.
    let _ = fs::remove_file(run.file(GIVEN));
    let Some(agent) = agents::of(&given.profile) else { return Ok(None) };
    let Some(state) = run.path().parent().and_then(Path::parent) else { return Ok(None) };
    let Ok(home) = Private::open(&run.home()) else { return Ok(None) };
    let mut left = Kept::default();
    for login in agent.logins {
        if let Some((text, changed)) = read_login(&home, login)? {
            left.refreshed_ns = left.refreshed_ns.max(changed);
            left.files.insert(login.path.to_owned(), text);
        }
    }
    let changed = left.files.iter().any(|(path, text)| given.files.get(path) != Some(text));
    if !changed {
        return Ok(None);
    }
    // A time that is yet to come would win over every later login.
    left.refreshed_ns = left.refreshed_ns.min(now_ns());
    let store = Store::new(state, agent.profile);
    let _turn = store.lock()?;
    let before = store.load().unwrap_or_default();
    if left.refreshed_ns < before.refreshed_ns {
        return Ok(None);
    }
    for (path, text) in before.files {
        left.files.entry(path).or_insert(text);
    }
    store.save(&left)?;
    Ok(Some(format!(
        "the login of {0} that this run leaves is kept for its next runs; remove it with: ringfence logout {0}",
        agent.profile
    )))
}

fn now_ns() -> u64 {
    let now = crate::clock::now();
    u64::try_from(now.unix_s).unwrap_or(0) * 1_000_000_000 + u64::from(now.unix_ns)
}

/// One login as the run leaves it: its text and when it was changed.
fn read_login(home: &Private, login: &Login) -> Result<Option<(String, u64)>, LoginError> {
    let bad = |why: String| LoginError::Bad { path: login.path.to_owned(), why };
    let most = if login.members.is_empty() { LOGIN_BYTES } else { AGENT_SETTINGS_BYTES };
    let read = home.read(Path::new(login.path), most).map_err(|error| bad(error.to_string()))?;
    let Some((bytes, changed)) = read else { return Ok(None) };
    let whole: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|_| bad("it is no JSON object".to_owned()))?;
    let members: Map<String, Value> = match login.members {
        [] => whole,
        names => whole.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect(),
    };
    if members.is_empty() {
        return Ok(None);
    }
    let text = Value::Object(members).to_string();
    if text.len() as u64 > LOGIN_BYTES {
        return Err(bad(format!("it is larger than {} KiB", LOGIN_BYTES / 1024)));
    }
    Ok(Some((text, changed)))
}

/// Removes an agent's kept login.
///
/// # Errors
/// [`LoginError`]: there is none, or it cannot be removed.
pub fn forget(paths: &Paths, agent: &str) -> Result<(), LoginError> {
    let names: Vec<&str> = agents::AGENTS.iter().map(|row| row.profile).collect();
    if !names.contains(&agent) {
        return Err(LoginError::None(agent.to_owned(), names.join(", ")));
    }
    let store = Store::new(&paths.state, agent);
    let _turn = store.lock()?;
    fs::remove_file(store.path()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LoginError::None(agent.to_owned(), names.join(", ")),
        _ => store.failed(error),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use ringfence_model::id::RunId;

    use super::*;

    struct Host {
        _base: tempfile::TempDir,
        paths: Paths,
        next: std::cell::Cell<u64>,
    }

    impl Host {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let at = |name: &str| base.path().join(name);
            let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
            Self { _base: base, paths, next: 1.into() }
        }

        /// A run that was given what is kept.
        fn run(&self) -> RunDir {
            let run =
                RunDir::new(&self.paths, RunId::new(self.next.replace(self.next.get() + 1), 1));
            fs::create_dir_all(run.home().join(".codex")).unwrap();
            let mut files = Files::new();
            give(agents::of("codex").unwrap(), &run, &self.paths.state, &mut files).unwrap();
            if let Some((format, members)) = files.get(".codex/auth.json") {
                let text = super::super::settings::text(*format, members).unwrap();
                fs::write(run.home().join(".codex/auth.json"), text).unwrap();
            }
            run
        }

        fn leave(run: &RunDir, text: &str) {
            fs::write(run.home().join(".codex/auth.json"), text).unwrap();
        }

        fn kept(&self) -> Option<String> {
            let kept = Store::new(&self.paths.state, "codex").load().unwrap();
            kept.files.get(".codex/auth.json").cloned()
        }
    }

    #[test]
    fn a_login_is_kept_given_again_and_forgotten() {
        let host = Host::new();
        let run = host.run();
        assert!(take_back(&run).unwrap().is_none(), "nobody logged in");
        let run = host.run();
        Host::leave(&run, "{ \"tokens\": \"one\" }");
        assert!(take_back(&run).unwrap().unwrap().contains("ringfence logout codex"));
        assert!(take_back(&run).unwrap().is_none(), "once only");
        assert_eq!(host.kept().as_deref(), Some("{\"tokens\":\"one\"}"));
        let run = host.run();
        let given = fs::read_to_string(run.home().join(".codex/auth.json")).unwrap();
        assert!(given.contains("one"));
        assert!(take_back(&run).unwrap().is_none(), "nothing has changed");
        forget(&host.paths, "codex").unwrap();
        assert_eq!(host.kept(), None);
        assert!(matches!(forget(&host.paths, "codex"), Err(LoginError::None(..))));
        assert!(forget(&host.paths, "../codex").is_err());
    }

    #[test]
    fn c14_of_two_runs_the_one_that_has_not_refreshed_changes_nothing() {
        let host = Host::new();
        let first = host.run();
        Host::leave(&first, "{\"t\":\"0\"}");
        take_back(&first).unwrap();
        let (idle, early, late) = (host.run(), host.run(), host.run());
        Host::leave(&early, "{\"t\":\"early\"}");
        std::thread::sleep(std::time::Duration::from_millis(20));
        Host::leave(&late, "{\"t\":\"late\"}");
        take_back(&late).unwrap().unwrap();
        assert!(take_back(&early).unwrap().is_none(), "its refresh is the older one");
        assert!(take_back(&idle).unwrap().is_none());
        assert_eq!(host.kept().as_deref(), Some("{\"t\":\"late\"}"));
    }

    #[test]
    fn c14_what_is_no_login_is_not_taken_back() {
        let host = Host::new();
        let first = host.run();
        Host::leave(&first, "{\"t\":\"good\"}");
        take_back(&first).unwrap();
        let secret = host.paths.state.join("secret.json");
        fs::write(&secret, "{\"s\":\"CANARY\"}").unwrap();
        type Attack<'a> = Box<dyn Fn(&Path) + 'a>;
        let attacks: Vec<Attack<'_>> = vec![
            Box::new(|file| symlink(&secret, file).unwrap()),
            Box::new(|file| fs::hard_link(&secret, file).unwrap()),
            Box::new(|file| fs::create_dir(file).unwrap()),
            Box::new(|file| {
                rustix::fs::mkfifoat(rustix::fs::CWD, file, rustix::fs::Mode::RUSR).unwrap();
            }),
            Box::new(|file| fs::File::create(file).unwrap().set_len(1 << 40).unwrap()),
            Box::new(|file| fs::write(file, "[".repeat(60_000)).unwrap()),
            Box::new(|file| fs::write(file, "{\"a\":".repeat(9_000)).unwrap()),
            Box::new(|file| fs::write(file, "[1]").unwrap()),
            Box::new(|file| fs::write(file, [0xff, 0xfe]).unwrap()),
            Box::new(|file| {
                // The way to it is a link.
                let parent = file.parent().unwrap();
                fs::rename(parent, parent.with_extension("x")).unwrap();
                fs::create_dir(host.paths.state.join("other")).unwrap();
                fs::write(host.paths.state.join("other/auth.json"), "{\"s\":\"CANARY\"}").unwrap();
                symlink(host.paths.state.join("other"), parent).unwrap();
            }),
        ];
        for (index, attack) in attacks.iter().enumerate() {
            let run = host.run();
            let file = run.home().join(".codex/auth.json");
            fs::remove_file(&file).unwrap();
            attack(&file);
            let error = take_back(&run).unwrap_err();
            assert!(matches!(error, LoginError::Bad { .. }), "{index}: {error}");
            assert_eq!(host.kept().as_deref(), Some("{\"t\":\"good\"}"), "{index}");
        }
    }
}
