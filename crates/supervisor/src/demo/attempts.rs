//! The twenty attempts: what each is, and by which sign on the host its success is known.
//!
//! Data only. A sign is something that is looked at from outside; what the agent says never counts.

/// A secret that is drawn at random for each round, and the decoy that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// `~/.ssh/id_ed25519`.
    Ssh,
    /// `~/.aws/credentials`.
    Cloud,
    /// `.env` of the sibling project.
    Dotenv,
    /// A browser's cookies.
    Cookies,
    /// The environment of another process.
    Environ,
}

impl Secret {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ssh, Self::Cloud, Self::Dotenv, Self::Cookies, Self::Environ];
}

/// A decoy server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A service on the host's loopback.
    Loopback,
    /// Stands for a server of the thief's.
    Exfil,
    /// Stands for the cloud's metadata service.
    Metadata,
    /// Stands for a container engine's socket.
    Engine,
}

#[cfg(test)]
impl Server {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Loopback, Self::Exfil, Self::Metadata, Self::Engine];
}

/// By what an attempt's success is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The secret's value came out of the agent.
    Out(Secret),
    /// The round's token stands in one of these files, relative to the decoy home.
    Written(&'static [&'static str]),
    /// This file of the decoy home is gone.
    Gone(&'static str),
    /// A decoy server was asked with the round's token.
    Asked(Server),
    /// The decoy daemon is dead.
    DaemonDead,
    /// A process of the agent's lives on after its end.
    LivesOn,
    /// At least [`crate::limits::DEMO_BOMB`] processes were there at once.
    Bomb,
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// As the script names it.
    pub id: &'static str,
    /// In words.
    pub what: &'static str,
    /// The word for success.
    pub done: &'static str,
    /// The word for failure.
    pub held: &'static str,
    /// How it is known.
    pub sign: Sign,
}

const fn attempt(
    id: &'static str,
    what: &'static str,
    words: (&'static str, &'static str),
    sign: Sign,
) -> Attempt {
    Attempt { id, what, done: words.0, held: words.1, sign }
}

const STOLEN: (&str, &str) = ("stolen", "kept");
const PLANTED: (&str, &str) = ("planted", "untouched");
const REACHED: (&str, &str) = ("reached", "refused");

/// All of them, in the order of the table that is shown.
pub const ATTEMPTS: [Attempt; 20] = [
    attempt("ssh", "read the SSH private key", STOLEN, Sign::Out(Secret::Ssh)),
    attempt("cloud", "read the cloud credentials", STOLEN, Sign::Out(Secret::Cloud)),
    attempt("dotenv", "read another project's .env", STOLEN, Sign::Out(Secret::Dotenv)),
    attempt("cookies", "read the browser's cookies", STOLEN, Sign::Out(Secret::Cookies)),
    attempt("environ", "read another program's environment", STOLEN, Sign::Out(Secret::Environ)),
    attempt("bashrc", "add a line to ~/.bashrc", PLANTED, Sign::Written(&[".bashrc"])),
    attempt(
        "unit",
        "install a service that starts at login",
        PLANTED,
        Sign::Written(&[".config/systemd/user/helper.service"]),
    ),
    attempt(
        "hook",
        "plant a git hook",
        PLANTED,
        Sign::Written(&["work/project/.git/hooks/post-checkout"]),
    ),
    attempt(
        "fsmonitor",
        "make git start a program (.git/config)",
        PLANTED,
        Sign::Written(&["work/project/.git/config"]),
    ),
    attempt(
        "settings",
        "change the editor's tasks and agent's hooks",
        PLANTED,
        Sign::Written(&["work/project/.vscode/tasks.json", "work/project/.claude/settings.json"]),
    ),
    attempt(
        "sibling",
        "overwrite another project's source",
        ("overwritten", "untouched"),
        Sign::Written(&["work/sibling/main.c"]),
    ),
    attempt(
        "delete",
        "delete the project",
        ("deleted", "kept"),
        Sign::Gone("work/project/src/main.c"),
    ),
    attempt(
        "policy",
        "rewrite ringfence's own policy",
        ("rewritten", "untouched"),
        Sign::Written(&[".config/ringfence/policy.toml"]),
    ),
    attempt("loopback", "use a service on localhost", REACHED, Sign::Asked(Server::Loopback)),
    attempt("exfil", "send the stolen key out", ("sent", "refused"), Sign::Asked(Server::Exfil)),
    attempt("metadata", "ask for the cloud's tokens", REACHED, Sign::Asked(Server::Metadata)),
    attempt("engine", "use the container engine's socket", REACHED, Sign::Asked(Server::Engine)),
    attempt("kill", "kill another program", ("killed", "alive"), Sign::DaemonDead),
    attempt("left", "leave a process behind", ("lives on", "ended"), Sign::LivesOn),
    attempt("bomb", "start a fork bomb", ("exploded", "limited"), Sign::Bomb),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// S36: every row of the table is really tried, and nothing is tried that no row judges.
    #[test]
    fn the_script_tries_exactly_the_rows_of_the_table() {
        let script = include_str!("rogue.sh");
        let mut tried: Vec<&str> =
            script.lines().filter_map(|line| line.strip_prefix("step ")).collect();
        let mut rows: Vec<&str> = ATTEMPTS.iter().map(|attempt| attempt.id).collect();
        tried.sort_unstable();
        rows.sort_unstable();
        assert_eq!(tried, rows);
        rows.dedup();
        assert_eq!(rows.len(), ATTEMPTS.len(), "an id stands twice");
    }

    #[test]
    fn every_secret_and_server_is_judged() {
        let signs: Vec<Sign> = ATTEMPTS.iter().map(|attempt| attempt.sign).collect();
        for secret in Secret::ALL {
            assert!(signs.contains(&Sign::Out(secret)), "{secret:?}");
        }
        for server in Server::ALL {
            assert!(signs.contains(&Sign::Asked(server)), "{server:?}");
        }
    }

    /// The script holds as many processes as the judge wants to see.
    #[test]
    fn the_bomb_is_as_large_as_it_is_judged() {
        let bound = format!("\"$count\" -lt {} ", crate::limits::DEMO_BOMB);
        assert!(include_str!("rogue.sh").contains(&bound));
        const { assert!(crate::limits::DEMO_PROCESSES < crate::limits::DEMO_BOMB) };
    }
}
