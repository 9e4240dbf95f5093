//! What a program's name brings: the profile that goes with it, and its wrapper.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ringfence_contained_tests::{CANARIES, Fixture, Job, Live, Outcome, expose, write_script};

/// A stand-in for an agent: it tells what it was given and what it can see.
const AGENT: &str = "#!/bin/sh
echo \"sandbox=$IS_SANDBOX arguments=$*\"
cat \"$HOME/.ssh/id_rsa\" 2>&1
echo \"found=$(command -v claude)\"
";
const SYSTEM: &str = "/usr/local/bin:/usr/bin:/bin";

/// A host with `claude` in the user's own directory of programs.
struct Host {
    fixture: Fixture,
}

impl Host {
    fn new() -> Self {
        let fixture = Fixture::new();
        fs::create_dir_all(fixture.home().join(".local/bin")).unwrap();
        write_script(&fixture.home().join(".local/bin/claude"), AGENT);
        Self { fixture }
    }

    fn own(&self) -> PathBuf {
        self.fixture.home().join(".local/bin")
    }

    fn wrappers(&self) -> PathBuf {
        self.fixture.home().join(".local/share/ringfence/bin")
    }

    /// A job whose `PATH` has these directories before the system's.
    fn job(&self, first: &[&Path]) -> Job<'_> {
        let mut path: Vec<String> = first.iter().map(|at| at.display().to_string()).collect();
        path.push(SYSTEM.to_owned());
        self.fixture.job().env("PATH", path.join(":"))
    }

    /// The plain name, typed into a shell.
    fn typed(&self, first: &[&Path]) -> Outcome {
        let job = self.job(first);
        let command = job.plain_command(["sh", "-c", "claude --version 'two words'"]);
        Live::start(command, b"", std::time::Duration::from_secs(30)).wait()
    }
}

#[test]
fn the_program_brings_its_profile_where_nothing_names_one() {
    let host = Host::new();
    let own = host.own();
    let outcome = host.job(&[&own]).argv(["claude"]);
    assert!(outcome.stdout.contains("sandbox=1 "), "{outcome:?}");
    assert!(outcome.stderr.contains("note: the profile claude-code goes with this"), "{outcome:?}");
    let program = own.join("claude");
    let by_path = host.job(&[]).argv([program.as_os_str()]);
    assert!(by_path.stdout.contains("sandbox=1 "), "{by_path:?}");

    let off = host.job(&[&own]).flags(["-p", "default"]).argv(["claude"]);
    assert!(off.stdout.contains("sandbox= "), "{off:?}");
    assert!(!off.stderr.contains("note: the profile"), "{off:?}");
    let other = host.job(&[&own]).flags(["-p", "codex"]).argv(["claude"]);
    assert!(other.stdout.contains("sandbox= "), "{other:?}");
}

/// C01: what an agent can have put there gets no profile by its name; outside of the project the same
/// file gets one, see above.
#[test]
fn c01_a_program_that_an_agent_can_change_brings_no_profile() {
    let host = Host::new();
    let project = host.fixture.project();
    let bin = project.join("bin");
    fs::create_dir(&bin).unwrap();
    write_script(&bin.join("claude"), AGENT);
    let links = host.fixture.home().join("links");
    fs::create_dir(&links).unwrap();
    symlink(bin.join("claude"), links.join("claude")).unwrap();

    let refused = |outcome: &Outcome, why: &str| {
        assert!(outcome.stdout.contains("sandbox= "), "{outcome:?}");
        assert!(outcome.stderr.contains("the profile claude-code is not used"), "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
    };
    refused(&host.job(&[&bin]).argv(["claude"]), "lies in the project");
    refused(&host.job(&[]).argv(["./bin/claude"]), "lies in the project");
    refused(&host.job(&[&links]).argv(["claude"]), "lies in the project");
    let own = host.own();
    let writable = host.job(&[&own]).flags(["--rw"]).flags([&own]);
    refused(&writable.argv(["claude"]), "may be changed by an agent");
}

#[test]
fn c01_a_project_that_names_another_profile_still_needs_trust() {
    let host = Host::new();
    let definition = host.fixture.project().join("ringfence.toml");
    fs::write(&definition, "version = 1\nprofile = \"codex\"\n").unwrap();
    let own = host.own();
    let outcome = host.job(&[&own]).argv(["claude"]);
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(outcome.stderr.contains("uses the profile codex"), "{outcome:?}");
    // What the program brings anyway is no widening.
    fs::write(&definition, "version = 1\nprofile = \"claude-code\"\n").unwrap();
    let same = host.job(&[&own]).argv(["claude"]);
    assert!(same.stdout.contains("sandbox=1 "), "{same:?}");
}

#[test]
fn a_wrapped_name_is_contained_and_an_unwrapped_one_is_not() {
    let host = Host::new();
    let (own, wrappers) = (host.own(), host.wrappers());
    // The control group: by its plain name, the agent sees the key.
    let free = host.typed(&[&own]);
    assert_eq!(expose(&free.stdout), [CANARIES[0].path], "{free:?}");

    let wrapped = host.job(&[&own]).verb(&["wrap", "claude", "--", "--env", "IS_SANDBOX=it's 2"]);
    assert_eq!(wrapped.code, 0, "{wrapped:?}");
    let line = "export PATH=\"$HOME/.local/share/ringfence/bin:$PATH\"";
    assert!(wrapped.stdout.contains("not in force"), "{wrapped:?}");
    assert!(wrapped.stdout.contains(line), "{wrapped:?}");

    let path: [&Path; 2] = [&wrappers, &own];
    let contained = host.typed(&path);
    assert_eq!(contained.code, 0, "{contained:?}");
    assert!(expose(&contained.stdout).is_empty(), "{contained:?}");
    let words = "sandbox=it's 2 arguments=--version two words";
    assert!(contained.stdout.contains(words), "options and arguments: {contained:?}");
    let found = format!("found={}", own.join("claude").display());
    assert!(contained.stdout.contains(&found), "inside, the name is the program: {contained:?}");
    assert!(contained.stderr.contains("the profile claude-code goes"), "{contained:?}");

    // The program's own update is what runs next.
    write_script(&own.join("claude"), "#!/bin/sh\necho updated; cat \"$HOME/.ssh/id_rsa\"\n");
    let updated = host.typed(&path);
    assert!(updated.stdout.contains("updated"), "{updated:?}");
    assert!(expose(&updated.stdout).is_empty(), "{updated:?}");

    let again = host.job(&path).verb(&["wrap", "claude", "--profile", "codex"]);
    assert!(again.stdout.contains("runs contained from now on"), "{again:?}");
    let list = host.job(&path).verb(&["wrap", "--list"]);
    for word in ["claude", "yes", "--profile codex", &own.display().to_string()] {
        assert!(list.stdout.contains(word), "{word}: {list:?}");
    }

    let unwrapped = host.job(&path).verb(&["unwrap", "claude"]);
    assert_eq!(unwrapped.code, 0, "{unwrapped:?}");
    assert_eq!(expose(&host.typed(&path).stdout), [CANARIES[0].path]);
    assert_eq!(host.job(&path).verb(&["unwrap", "claude"]).code, 1);
}

/// Without the program, a wrapper starts nothing, and itself least of all.
#[test]
fn a_wrapper_without_its_program_does_not_find_itself() {
    let host = Host::new();
    let (own, wrappers) = (host.own(), host.wrappers());
    assert_eq!(host.job(&[&own]).verb(&["wrap", "claude"]).code, 0);
    fs::remove_file(own.join("claude")).unwrap();
    let outcome = host.typed(&[&wrappers, &own]);
    assert_eq!(outcome.code, 127, "{outcome:?}");
    assert!(outcome.stderr.contains("cannot start claude"), "{outcome:?}");
    let again = host.job(&[&wrappers, &own]).verb(&["wrap", "claude"]);
    assert_eq!(again.code, 1, "a wrapper is nothing to wrap: {again:?}");
    assert!(again.stderr.contains("command -v claude"), "{again:?}");
}

#[test]
fn wrap_changes_no_file_that_it_did_not_write() {
    let host = Host::new();
    let (own, file) = (host.own(), host.wrappers().join("claude"));
    let verb = |words: &[&str]| host.job(&[&own]).verb(words);
    assert_eq!(verb(&["wrap", "claude"]).code, 0);
    let text = fs::read_to_string(&file).unwrap();
    for foreign in
        [text.replace(" run ", " run --rw / "), "#!/bin/sh\n".to_owned(), text[..60].into()]
    {
        fs::write(&file, &foreign).unwrap();
        for words in [["wrap", "claude"], ["unwrap", "claude"]] {
            let outcome = verb(&words);
            assert_eq!(outcome.code, 1, "{words:?}: {outcome:?}");
            assert!(outcome.stderr.contains("is left alone"), "{outcome:?}");
            assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
        }
    }
    let original = own.join("claude");
    fs::remove_file(&file).unwrap();
    symlink(&original, &file).unwrap();
    assert_eq!(verb(&["wrap", "claude"]).code, 1);
    assert_eq!(fs::read_to_string(&original).unwrap(), AGENT, "written through a link");

    for (words, code) in [
        (&["wrap", "no-such-program"][..], 1),
        (&["wrap", "../claude"], 1),
        (&["wrap", "claude", "--profile", "nonesuch"], 1),
        (&["wrap", "claude", "--", "--no-such-option"], 2),
        (&["wrap", "claude", "--", "--debug", "sh"], 2),
        (&["wrap"], 2),
    ] {
        let outcome = verb(words);
        assert_eq!(outcome.code, code, "{words:?}: {outcome:?}");
    }
}

/// A headless browser starts inside an agent; without the profile's settings it does not.
#[test]
fn a_browser_starts_inside_an_agent() {
    if !Path::new("/etc/chromium.d").is_dir() || !Path::new("/usr/bin/chromium").is_file() {
        let _ = writeln!(std::io::stderr(), "SKIPPED a browser inside: chromium is not installed");
        return;
    }
    let host = Host::new();
    let own = host.own();
    let page = "data:text/html,<p>it works</p>";
    let script = format!("#!/bin/sh\nexec chromium --headless --disable-gpu --dump-dom '{page}'\n");
    write_script(&own.join("claude"), &script);
    let outcome = host.job(&[&own]).argv(["claude"]);
    assert!(outcome.stdout.contains("<p>it works</p>"), "{outcome:?}");
    let without = host.job(&[&own]).flags(["-p", "default"]).argv(["claude"]);
    assert!(!without.stdout.contains("it works"), "{without:?}");
}
