//! Runs the `console` blocks of one document in one shell, as a person would type them.
//!
//! A line that begins with `$ ` is a command; the lines after it are its output, in which a line
//! `...` stands for any lines and `[..]` for any text within a line. A command without output lines
//! may print anything. A command that fails is a fault of the document unless the next command is
//! `echo $?`. Home, state and settings are temporary; the first directory is a small repository.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Between the commands' outputs; no document prints it.
const MARK: &str = "\u{1}ringfence-docs\u{1}";
/// How often the shell is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Ticks after which a document that does not come to its end is stopped: ten minutes.
const PATIENCE: u32 = 30_000;

/// One command of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is typed.
    pub command: String,
    /// Its output as the document shows it; nothing means that it is not shown.
    pub output: Vec<String>,
    /// Line in the document.
    pub line: usize,
    /// Not shown: part of a `setup` note.
    pub hidden: bool,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output and standard error, in order.
    pub output: String,
    /// Its exit code.
    pub code: i32,
}

/// The steps of a `console` block that begins at `line`.
#[must_use]
pub fn steps(text: &str, line: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, content) in text.lines().enumerate() {
        if let Some(command) = content.strip_prefix("$ ") {
            let command = command.to_owned();
            steps.push(Step { command, output: Vec::new(), line: line + index + 1, hidden: false });
        } else if let Some(step) = steps.last_mut() {
            if step.output.is_empty() && step.command.ends_with('\\') {
                step.command.push('\n');
                step.command.push_str(content);
            } else {
                step.output.push(content.to_owned());
            }
        }
    }
    steps
}

/// A temporary home with a project in it.
pub struct Stage {
    directory: TempDir,
    binaries: PathBuf,
}

impl Stage {
    /// Makes it; `ringfence` is the built program.
    ///
    /// # Errors
    /// What the file system says.
    pub fn new(ringfence: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("ringfence-docs-").tempdir()?;
        let home = directory.path().join("home");
        let project = home.join("project");
        let git = project.join(".git");
        for place in ["objects", "refs/heads", "hooks"] {
            fs::create_dir_all(git.join(place))?;
        }
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n")?;
        fs::write(git.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = false\n")?;
        fs::write(project.join("notes.txt"), "one\n")?;
        fs::create_dir(home.join(".ssh"))?;
        fs::write(home.join(".ssh/id_ed25519"), "a decoy, not a key\n")?;
        let binaries = directory.path().join("bin");
        fs::create_dir(&binaries)?;
        std::os::unix::fs::symlink(ringfence, binaries.join("ringfence"))?;
        Ok(Self { directory, binaries })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs all steps in one shell.
    ///
    /// # Errors
    /// The shell could not be run, or did not come to its end.
    pub fn run(&self, steps: &[Step]) -> io::Result<Vec<Outcome>> {
        let mut script = String::from("(exit 0)\n");
        for step in steps {
            let quoted = step.command.replace('\'', r"'\''");
            script.push_str(&format!(
                "eval '{quoted}' </dev/null 2>&1\n__code=$?; printf '%s %s\\n' '{MARK}' \"$__code\"; (exit \"$__code\")\n"
            ));
        }
        let path = self.place("session.sh");
        fs::write(&path, script)?;
        let output = self.place("session.out");
        let file = fs::File::create(&output)?;
        let mut shell = Command::new("sh")
            .arg(&path)
            .current_dir(self.place("home/project"))
            .env_clear()
            .env("HOME", self.place("home"))
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.binaries.display()))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        for _tick in 0..PATIENCE {
            if shell.try_wait()?.is_some() {
                return Ok(outcomes(&String::from_utf8_lossy(&fs::read(&output)?)));
            }
            std::thread::sleep(TICK);
        }
        shell.kill()?;
        shell.wait()?;
        Err(io::Error::new(io::ErrorKind::TimedOut, "the document's commands do not end"))
    }
}

fn outcomes(text: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut rest = text;
    while let Some((output, after)) = rest.split_once(MARK) {
        let (code, next) = after.split_once('\n').unwrap_or((after, ""));
        let code = code.trim().parse().unwrap_or(-1);
        outcomes.push(Outcome { output: output.to_owned(), code });
        rest = next;
    }
    outcomes
}

/// Whether a line fits one in which `[..]` stands for any text.
fn line_fits(shown: &str, line: &str) -> bool {
    let mut parts = shown.trim_end().split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim_end().strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            let part: &str = part;
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |part| rest.ends_with(part))
}

/// Whether output fits what a document shows.
#[must_use]
pub fn fits(shown: &[String], output: &[&str]) -> bool {
    match shown.split_first() {
        None => output.iter().all(|line| line.trim().is_empty()),
        Some((any, rest)) if any.trim() == "..." => {
            (0..=output.len()).any(|skipped| fits(rest, &output[skipped..]))
        }
        Some((line, rest)) => output
            .split_first()
            .is_some_and(|(own, others)| line_fits(line, own) && fits(rest, others)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_fit_and_nothing_else_does() {
        let shown = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(fits(&shown("a\n...\nz"), &["a", "b", "c", "z"]));
        assert!(fits(&shown("run [..] ended"), &["run 17 has ended"]));
        assert!(fits(&shown("[..]"), &["anything"]));
        assert!(fits(&shown("a[..]b[..]c"), &["a1b2bc"]));
        for (text, lines) in [
            ("a", vec!["b"]),
            ("a", vec![]),
            ("a\n...\nz", vec!["a", "b"]),
            ("a[..]z", vec!["az!"]),
        ] {
            assert!(!fits(&shown(text), &lines), "{text} {lines:?}");
        }
    }

    #[test]
    fn one_shell_runs_all_and_failures_show() {
        let stage = Stage::new(Path::new("/bin/true")).unwrap();
        let typed =
            "$ x=5; cd .git\n$ pwd; echo $x\n[..]/.git\n5\n$ sh -c 'exit 3'\n$ echo $?\n3\n$ false";
        let steps = steps(typed, 1);
        let outcomes = stage.run(&steps).unwrap();
        assert_eq!(outcomes.iter().map(|o| o.code).collect::<Vec<_>>(), [0, 0, 3, 0, 1]);
        assert!(outcomes[1].output.ends_with("/.git\n5\n"));
        assert_eq!(outcomes[3].output, "3\n");
    }
}
