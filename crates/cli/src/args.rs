//! The command line: what can be typed, and its help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ringfence_supervisor::removal::Age;

const HELP: &str = "\
{about}

Usage: ringfence <COMMAND> [OPTIONS]

Commands:
  run       Run an agent inside a boundary
  init      Write a definition for this project
  doctor    Say what this host can enforce, and how to mend the rest
  demo      Watch a rogue agent try twenty things, free and contained
  ps        List runs
  logs      Show what a run did
  why       Explain a decision
  kill      End a run at once
  diff      Show what a run changed in the project
  apply     Bring a run's changes into the project
  discard   Throw a run's changes away
  policy    Check and show the policy

More: allow, exec, shell, attach, wait, checkpoint, restore, trust, logout, inspect, audit, rm, prune, wrap, unwrap, completions (ringfence COMMAND --help tells about each)

Options:
{options}

Try: ringfence demo
";

/// Contain AI agents: one command, a boundary they cannot leave.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, help_template = HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an agent inside a boundary
    Run(RunArgs),
    /// Run another program in a running sandbox
    Exec(ExecArgs),
    /// Open a shell in a running sandbox
    Shell(RunningArgs),
    /// Connect this terminal to a detached run
    Attach(AttachArgs),
    /// Wait for the end of a run; its exit code is the command's
    Wait(RunNameArgs),
    /// Write a definition for this project
    Init(InitArgs),
    /// Say what this host can enforce, and how to mend the rest
    Doctor(JsonArgs),
    /// Watch a rogue agent try twenty things, free and contained
    Demo(JsonArgs),
    /// List runs
    Ps(PsArgs),
    /// Show what a run is and what holds it
    Inspect(InspectArgs),
    /// Show what a run did
    Logs(LogsArgs),
    /// Explain a decision
    Why(WhyArgs),
    /// Allow what was denied, from now on
    Allow(AllowArgs),
    /// End a run at once
    Kill(KillArgs),
    /// Show what a run changed in the project
    Diff(DiffArgs),
    /// Bring a run's changes into the project
    Apply(ApplyArgs),
    /// Throw a run's changes away
    Discard(RunNameArgs),
    /// Name this moment of a run, to take its workspace back to
    Checkpoint(CheckpointArgs),
    /// Take a pair workspace back to a moment
    Restore(RestoreArgs),
    /// Remove ended runs, with their layers and ledgers
    Rm(RmArgs),
    /// Remove what was not used for long
    Prune(PruneArgs),
    /// Check and show the policy
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Accept a project's definition as it is now
    Trust(TrustArgs),
    /// Remove the login that is kept for an agent
    Logout(LogoutArgs),
    /// Examine a run's ledger
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make a program's plain name the contained one
    Wrap(WrapArgs),
    /// Make a wrapped program's plain name the program again
    Unwrap(UnwrapArgs),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// The policy part of a command line; the same for `run` and `policy`.
#[derive(Clone, Debug, Default, Args)]
pub struct PolicyArgs {
    /// Use this definition instead of the project's ringfence.toml
    #[arg(short = 'd', long, value_name = "FILE")]
    pub definition: Option<PathBuf>,
    /// Use this built-in profile
    #[arg(short, long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Let the agent read and write this path
    #[arg(long, value_name = "PATH")]
    pub rw: Vec<String>,
    /// Let the agent read this path
    #[arg(long, value_name = "PATH")]
    pub ro: Vec<String>,
    /// Hide names like this everywhere, such as .env or secrets/
    #[arg(long, value_name = "PATTERN")]
    pub hide: Vec<String>,
    /// Let the agent reach a host: NAME, *.NAME, ADDRESS or RANGE, with :PORT (443 without), or what
    /// a tool of yours asks: npm, pypi, crates, debian, go, maven, github-read
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow: Vec<String>,
    /// Never let the agent reach a host, whatever else allows it
    #[arg(long, value_name = "HOST[:PORT]")]
    pub deny: Vec<String>,
    /// Pass an environment variable, or set one
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Set a limit: memory, processes, cpu, open_files, file_size, disk, tmp, wall, idle
    #[arg(long, value_name = "KEY=VALUE")]
    pub limit: Vec<String>,
    /// Name the sandbox: its private home is kept for the next run of that name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Let the host reach a port inside, on its loopback
    #[arg(long, value_name = "[HOST:]INSIDE")]
    pub publish: Vec<String>,
    /// How the project is seen: review (changes kept apart), pair (changes can be taken back), direct or read-only
    #[arg(short, long, value_name = "MODE")]
    pub workspace: Option<String>,
    /// Which programs may be started: any, or only the read-only base
    #[arg(long, value_name = "any|base")]
    pub exec: Option<String>,
    /// What encloses the agent: process, or the weaker landlock where namespaces cannot be had
    #[arg(long, value_name = "process|landlock")]
    pub tier: Option<String>,
    /// Let processes inside trace each other, for debuggers
    #[arg(long)]
    pub debug: bool,
    /// Open one protected path of the project
    #[arg(long, value_name = "PATH")]
    pub unprotect: Vec<String>,
    /// Ask this name server instead of the host's own
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub resolver: Option<String>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What the agent may do.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Start it in the background and print the run's id; see `ringfence attach`
    #[arg(long)]
    pub detach: bool,
    /// The agent's program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub argv: Vec<String>,
}

/// `exec`.
#[derive(Debug, Args)]
#[command(
    override_usage = "ringfence exec [RUN] -- CMD [ARG]...\n       ringfence exec RUN CMD [ARG]..."
)]
pub struct ExecArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest that is running
    #[arg(value_name = "RUN")]
    pub run: Vec<String>,
    /// The program and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub argv: Vec<String>,
}

/// Verbs about one running run.
#[derive(Debug, Args)]
pub struct RunningArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest that is running
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// `attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Keys that let go of the run and leave it running
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
}

/// `wrap`.
#[derive(Debug, Args)]
pub struct WrapArgs {
    /// The program, as you type it
    #[arg(value_name = "PROGRAM", required_unless_present = "list")]
    pub program: Option<String>,
    /// List what is wrapped
    #[arg(long, conflicts_with_all = ["program", "profile", "options"])]
    pub list: bool,
    /// Use this built-in profile
    #[arg(short, long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Print JSON
    #[arg(long, requires = "list")]
    pub json: bool,
    /// Options of `ringfence run`
    #[arg(last = true, value_name = "RUN OPTIONS")]
    pub options: Vec<String>,
}

/// `unwrap`.
#[derive(Debug, Args)]
pub struct UnwrapArgs {
    /// The program
    #[arg(value_name = "PROGRAM")]
    pub program: String,
}

/// `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Print the definition instead of writing it
    #[arg(long)]
    pub print: bool,
}

/// Verbs that print a table.
#[derive(Debug, Args)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// List ended runs too
    #[arg(short, long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Verbs about one run.
#[derive(Debug, Args)]
pub struct RunNameArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

/// `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Only what this boundary does not contain
    #[arg(long)]
    pub residual_risks: bool,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
    /// Print the records as they are, one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// A record's number, a host, HOST:PORT or a path; without, the last denial
    #[arg(value_name = "WHAT")]
    pub what: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `allow`.
#[derive(Debug, Args)]
pub struct AllowArgs {
    /// Hosts that agents may reach: NAME, *.NAME, ADDRESS or RANGE, with :PORT (443 without), or what a
    /// tool of yours asks: npm, pypi, crates, debian, go, maven, github-read
    #[arg(value_name = "HOST[:PORT]")]
    pub hosts: Vec<String>,
    /// A path that agents may read, from the next run
    #[arg(long, value_name = "PATH")]
    pub ro: Vec<String>,
    /// A path that agents may read and write, from the next run
    #[arg(long, value_name = "PATH")]
    pub rw: Vec<String>,
    /// An environment variable that is passed, from the next run
    #[arg(long = "env", short = 'e', value_name = "NAME")]
    pub env: Vec<String>,
    /// Only in sandboxes that are running, and only for so long, such as 10m; nothing is written
    #[arg(long = "for", value_name = "TIME", conflicts_with_all = ["user", "project"])]
    pub time: Option<String>,
    /// Remember it for all of your projects
    #[arg(long, conflicts_with = "project")]
    pub user: bool,
    /// Remember it in this project's definition; so it is without a word
    #[arg(long)]
    pub project: bool,
    /// Only this run, and its project: a run id, its beginning, or a sandbox's name
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Write into this definition instead of the project's ringfence.toml
    #[arg(short = 'd', long, value_name = "FILE", conflicts_with_all = ["run", "user", "time"])]
    pub definition: Option<PathBuf>,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `kill`.
#[derive(Debug, Args)]
pub struct KillArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// End every run of this user
    #[arg(long, conflicts_with = "run")]
    pub all: bool,
}

/// `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Only names and sizes
    #[arg(long)]
    pub stat: bool,
    /// Only what changed since this moment of a pair workspace
    #[arg(long, value_name = "MOMENT")]
    pub since: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Only these paths; what the host would execute is applied only when it is named here
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `checkpoint`.
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    /// Its name; without, one is made up
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The moment: a checkpoint's name, or start; without, the start of the run
    #[arg(value_name = "MOMENT")]
    pub to: Option<String>,
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Only list the moments
    #[arg(long, conflicts_with = "to")]
    pub list: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Run ids, their beginnings, or sandboxes' names (the latest run of that name)
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// Lose changes that are not in the project
    #[arg(short, long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `prune`; without a kind, runs and homes.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only what was not used for so long, such as 12h; 0s for everything that is not in use
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub older_than: Age,
    /// What ended runs left beside their records: layers, homes, caches
    #[arg(long)]
    pub runs: bool,
    /// Kept homes of named sandboxes
    #[arg(long)]
    pub homes: bool,
    /// Ended runs as a whole, their ledgers too
    #[arg(long)]
    pub ledgers: bool,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Lose changes that are not in the project
    #[arg(short, long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Check the policy that would be in force here
    Check(PolicyCheckArgs),
    /// Show the policy that would be in force here, with the place of every value
    Show(PolicyShowArgs),
    /// Print the definition's JSON schema, for editors
    Schema,
}

/// `policy check`.
#[derive(Debug, Args)]
pub struct PolicyCheckArgs {
    /// What is checked.
    #[command(flatten)]
    pub policy: PolicyArgs,
}

/// `policy show`.
#[derive(Debug, Args)]
pub struct PolicyShowArgs {
    /// What is shown.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// Print it as Cedar
    #[arg(long, conflicts_with = "json")]
    pub cedar: bool,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The definition; without, this project's ringfence.toml
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Accept without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// `logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// The agent's profile, such as claude-code
    #[arg(value_name = "AGENT")]
    pub agent: String,
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that a run's ledger is whole and unchanged
    Verify(AuditVerifyArgs),
}

/// `audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// Run id, its beginning, or a sandbox's name; without, this project's latest run
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
