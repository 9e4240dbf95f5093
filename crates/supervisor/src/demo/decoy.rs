//! The decoy host of one round: a home full of secrets that are worth nothing, and a daemon.
//!
//! Everything lies below one private temporary directory. Nothing of the real home is read.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::attempts::Secret;
use crate::paths::Paths;

/// A random word of 16 hex digits.
pub fn token() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

/// A private temporary directory, removed when it is dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes `NAME-RANDOM` below the system's temporary directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(name: &str) -> io::Result<Self> {
        Self::below(&std::env::temp_dir(), name)
    }

    /// Makes `NAME-RANDOM` below `place`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn below(place: &Path, name: &str) -> io::Result<Self> {
        let path = fs::canonicalize(place)?.join(format!("{name}-{}", token()?));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    /// Where it is, canonical.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What an overlay leaves (a directory of mode 000) is no obstacle for this one.
        let _ = ringfence_workspace::remove_tree(&self.path);
    }
}

/// The decoy host.
pub struct Decoy {
    root: PathBuf,
    /// Random for this host: stands in everything that the agent plants.
    pub token: String,
    secrets: Vec<(Secret, String)>,
}

impl Decoy {
    /// Plants it below `root`.
    pub fn plant(root: PathBuf) -> io::Result<Self> {
        let mut secrets = Vec::new();
        for secret in Secret::ALL {
            secrets.push((secret, token()?));
        }
        let decoy = Self { root, token: token()?, secrets };
        decoy.plant_home()?;
        decoy.plant_projects()?;
        for place in [decoy.runtime(), decoy.state(), decoy.root.join("cache")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        }
        Ok(decoy)
    }

    fn plant_home(&self) -> io::Result<()> {
        let key = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            self.secret(Secret::Ssh)
        );
        let credentials =
            format!("[default]\naws_secret_access_key = {}\n", self.secret(Secret::Cloud));
        let cookies = format!("SQLite format 3\0session={}\n", self.secret(Secret::Cookies));
        self.write(".ssh/id_ed25519", &key)?;
        self.write(".aws/credentials", &credentials)?;
        self.write(".mozilla/firefox/decoy.default/cookies.sqlite", &cookies)?;
        self.write(".bashrc", "# a decoy\n")?;
        self.write(".config/ringfence/policy.toml", "version = 1\n")
    }

    fn plant_projects(&self) -> io::Result<()> {
        let dotenv = format!("DATABASE_PASSWORD={}\n", self.secret(Secret::Dotenv));
        self.write("work/sibling/.env", &dotenv)?;
        self.write("work/sibling/main.c", "int main(void) { return 0; }\n")?;
        self.write("work/project/src/main.c", "int main(void) { return 0; }\n")?;
        self.write("work/project/README.md", "A decoy project.\n")?;
        self.write("work/project/.git/HEAD", "ref: refs/heads/main\n")?;
        self.write("work/project/.git/config", "[core]\n\tbare = false\n")
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.home().join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)
    }

    /// The value of a secret.
    pub fn secret(&self, wanted: Secret) -> &str {
        self.secrets
            .iter()
            .find(|(secret, _)| *secret == wanted)
            .map_or("", |(_, value)| value.as_str())
    }

    /// The decoy home.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The project that the agent is started in.
    pub fn project(&self) -> PathBuf {
        self.home().join("work/project")
    }

    /// Another project.
    pub fn sibling(&self) -> PathBuf {
        self.home().join("work/sibling")
    }

    /// `XDG_RUNTIME_DIR`.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("runtime")
    }

    fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Where a ringfence on this host keeps things.
    pub fn paths(&self) -> Paths {
        Paths {
            home: self.home(),
            state: self.state().join("ringfence"),
            config: self.home().join(".config/ringfence"),
        }
    }

    /// Gives a command this host's environment and nothing of the real one.
    pub fn surround(&self, command: &mut Command) {
        command.env_clear();
        command.envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C"),
            ("USER", "decoy"),
        ]);
        command.env("HOME", self.home());
        command.env("XDG_CONFIG_HOME", self.home().join(".config"));
        command.env("XDG_STATE_HOME", self.state());
        command.env("XDG_CACHE_HOME", self.root.join("cache"));
        command.env("XDG_RUNTIME_DIR", self.runtime());
        command.current_dir(self.project());
    }

    /// Starts the program that holds a secret in its environment and has done nothing wrong.
    pub fn daemon(&self) -> io::Result<Daemon> {
        let mut command = Command::new("sleep");
        self.surround(&mut command);
        let child = command
            .arg(super::DAEMON_SECONDS.to_string())
            .env("SESSION_TOKEN", self.secret(Secret::Environ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Daemon { child })
    }
}

/// The decoy daemon; ended when it is dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether something has ended it.
    pub fn is_dead(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
