//! What a boundary does not contain, as data: one row per residual risk, with the fact that makes
//! it apply.
//!
//! The first record of every run names the rows that hold for it, and THREAT-MODEL.md shows the
//! same table (a test compares them). Ids are never reused and never change their meaning.

/// One thing that is not contained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidualRisk {
    /// Stable id, as it stands in ledgers and documents.
    pub id: &'static str,
    /// In one sentence, for a person.
    pub what: &'static str,
    /// When it applies.
    pub when: When,
}

/// The fact that makes a row apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// In every run.
    Always,
    /// The agent may change files of the project, in whatever way.
    WorkspaceWritable,
    /// The workspace is `pair` or `direct`.
    InPlace,
    /// The workspace is `pair`.
    Pair,
    /// The workspace is `direct`.
    Direct,
    /// Protected paths are opened.
    Unprotected,
    /// The sandbox has a name, so its private home is kept.
    NamedHome,
    /// The agent's profile keeps one login for all its runs without a name.
    KeptLogin,
    /// Host variables beyond the built-in profile are passed in.
    VariablesPassed,
    /// Some destination outside may be reached.
    NetworkAllowed,
    /// A wildcard destination may be reached.
    WildcardAllowed,
    /// The host's loopback may be reached on some port.
    HostLoopback,
    /// Ports inside are published on the host's loopback.
    Published,
    /// Connections leave through the host's upstream proxy.
    UpstreamProxy,
    /// This kernel cannot redirect every port to the gateway.
    CaptureByPort,
    /// The agent's output goes to a terminal.
    Terminal,
    /// `exec` is `base`.
    ExecBase,
    /// `debug` is on.
    Debug,
    /// No control group enforces the memory limit.
    MemoryWatched,
    /// The kernel's Landlock is older than this ABI.
    LandlockBelow(u32),
    /// The supervisor runs as root.
    Root,
    /// The tier is `landlock`.
    TierLandlock,
}

impl When {
    /// The fact in words, as it stands in the threat model.
    #[must_use]
    pub fn words(self) -> String {
        let text = match self {
            Self::Always => "always",
            Self::WorkspaceWritable => "`review`, `pair` or `direct` workspace",
            Self::InPlace => "`pair` or `direct` workspace",
            Self::Pair => "`pair` workspace",
            Self::Direct => "`direct` workspace",
            Self::Unprotected => "`unprotect` is used",
            Self::NamedHome => "the sandbox has a name",
            Self::KeptLogin => "an agent's profile without a name",
            Self::VariablesPassed => "variables are passed in",
            Self::NetworkAllowed => "some destination is allowed",
            Self::WildcardAllowed => "a wildcard is allowed",
            Self::HostLoopback => "`host.ringfence` is allowed",
            Self::Published => "ports are published",
            Self::UpstreamProxy => "the host has a proxy",
            Self::CaptureByPort => "a kernel without nf_tables redirection",
            Self::Terminal => "output to a terminal",
            Self::ExecBase => "`exec = \"base\"`",
            Self::Debug => "`debug = true`",
            Self::MemoryWatched => "no writable cgroup",
            Self::LandlockBelow(abi) => return format!("Landlock older than ABI {abi}"),
            Self::Root => "ringfence runs as root",
            Self::TierLandlock => "tier `landlock`",
        };
        text.to_owned()
    }
}

const fn row(id: &'static str, when: When, what: &'static str) -> ResidualRisk {
    ResidualRisk { id, what, when }
}

/// Every residual risk that is known.
pub const RESIDUAL_RISKS: &[ResidualRisk] = &[
    row(
        "RR-KERNEL",
        When::Always,
        "Agent and host share one kernel: a fault in it that the allowed system calls reach can break the boundary.",
    ),
    row(
        "RR-SIDE-CHANNELS",
        When::Always,
        "Timing, the page cache and the processor's caches are shared with the host: what they tell and carry is not contained.",
    ),
    row(
        "RR-OWNER",
        When::Always,
        "Whoever owns the account that runs ringfence, and root, can change policy, state and ledger: the ledger is evidence against the agent, not against them.",
    ),
    row(
        "RR-ROOT",
        When::Root,
        "The supervisor holds root's rights, so a fault in it is a fault with root's rights; an ordinary user risks less.",
    ),
    row(
        "RR-PROJECT-SECRETS",
        When::Always,
        "Secrets that lie in the project or in a granted directory are visible inside, unless `deny` hides their names.",
    ),
    row(
        "RR-AFTER-START",
        When::Always,
        "What programs outside create in the project or a grant after the start is visible: a hidden name until it is masked, milliseconds later; a Unix socket that is bound there in a `pair`, `direct` or `read-only` workspace can be connected to.",
    ),
    row(
        "RR-RECORD-WORDS",
        When::Always,
        "Names, paths and arguments in the ledger are the agent's own words, escaped and with known secrets redacted: a secret of an unknown shape can stand there.",
    ),
    row(
        "RR-EXEC-OBSERVED",
        When::Always,
        "Program starts are recorded as seen, not decided: memory can change after it was read, and what a program maps or interprets later is not seen.",
    ),
    row(
        "RR-LATER-RUN",
        When::WorkspaceWritable,
        "Sources, scripts and build files are shown as changes and not judged: a person who runs them outside runs the agent's code.",
    ),
    row(
        "RR-DIRECT-AT-ONCE",
        When::Direct,
        "Changes are made in the project itself: there is no `discard`.",
    ),
    row(
        "RR-PAIR-AT-ONCE",
        When::Pair,
        "Changes are in the project at once, where programs outside can act on them before anybody has looked; `restore` takes them back afterwards.",
    ),
    row(
        "RR-PAIR-HIDDEN",
        When::Pair,
        "What a change replaces is kept by looking at the call that makes it: a hostile process that changes the path behind the call at the right moment can make a change that `restore` does not know, and so can one whose call takes longer than 100 ms and is crossed by another. `review` has no such gap.",
    ),
    row(
        "RR-PAIR-NOT-KEPT",
        When::Pair,
        "Not kept are owners, times and extended attributes, files above the size limit, and what a program outside changed in the same file meanwhile.",
    ),
    row(
        "RR-DIRECT-REPLACED",
        When::InPlace,
        "A program outside that replaces a held file or directory (git, an editor) takes the hold off it until it is held again.",
    ),
    row(
        "RR-DIRECT-NESTED",
        When::InPlace,
        "Repositories nested in the project are not protected: only `review` holds their hooks and settings back.",
    ),
    row(
        "RR-GIT-UNFINISHED",
        When::InPlace,
        "A rebase that the agent leaves unfinished may name commands, which `git rebase --continue` on the host runs; `git status` tells of it.",
    ),
    row(
        "RR-UNPROTECTED",
        When::Unprotected,
        "Opened paths are run or trusted by programs outside: what the agent writes there acts on the host.",
    ),
    row(
        "RR-NAMED-HOME",
        When::NamedHome,
        "A login made inside is kept in the sandbox's private home: a real secret that every later run of that name can read.",
    ),
    row(
        "RR-KEPT-LOGIN",
        When::KeptLogin,
        "A login made inside is kept for the profile: every later run of it without a name can read it, in whatever project, and what a run leaves in its place (another account's login, too) the next one uses; `ringfence logout` removes it.",
    ),
    row(
        "RR-VARIABLES",
        When::VariablesPassed,
        "Variables that are passed in are readable by everything inside: a credential among them can be used and given away.",
    ),
    row(
        "RR-EXFILTRATION",
        When::NetworkAllowed,
        "What the agent can read can leave through any destination that it may reach: connections are judged by place, not by what they carry.",
    ),
    row(
        "RR-FRONTING",
        When::NetworkAllowed,
        "Behind TLS only the (outer) server name is judged: a front that serves many names can be asked for another one within the connection.",
    ),
    row(
        "RR-NAME-CHANNEL",
        When::WildcardAllowed,
        "Under a wildcard the name carries data: whoever answers for the domain sees every name that is looked up below it.",
    ),
    row(
        "RR-HOST-LOOPBACK",
        When::HostLoopback,
        "Services of the host on the named ports take the agent for a local program.",
    ),
    row(
        "RR-PUBLISHED",
        When::Published,
        "Every program and user of the host can reach the published ports, and what answers there is the agent's.",
    ),
    row(
        "RR-UPSTREAM-PROXY",
        When::UpstreamProxy,
        "The upstream proxy resolves the names that it is asked for: rules about addresses do not bind what it dials.",
    ),
    row(
        "RR-CAPTURE-BY-PORT",
        When::CaptureByPort,
        "Only ports that rules name are captured: connections to others are refused by the kernel without a record.",
    ),
    row(
        "RR-TERMINAL",
        When::Terminal,
        "Control sequences are filtered, words are not: what the agent prints can imitate a prompt or ringfence itself.",
    ),
    row(
        "RR-EXEC-BASE",
        When::ExecBase,
        "Interpreters and the dynamic loader of the base run code from any file that they can read: `base` is no control of content.",
    ),
    row(
        "RR-DEBUG",
        When::Debug,
        "Processes inside may trace each other, and more of the kernel can be reached.",
    ),
    row(
        "RR-DISK-WATCHED",
        When::Always,
        "The disk limit is watched, not capped: what lies in deleted files that are still open, in directories made unreadable, or in a `pair` or `direct` workspace is not counted. A floor of free space on the host holds all the same.",
    ),
    row(
        "RR-OWN-ADDRESS",
        When::NetworkAllowed,
        "An allowed name whose owner points it at a public address of this very host reaches what listens there.",
    ),
    row(
        "RR-MEMORY-WATCHED",
        When::MemoryWatched,
        "The memory of all processes together is watched from outside and acted on after the fact, not capped by the kernel; memory that no process maps (files in memory, full pipes) is not seen.",
    ),
    row(
        "RR-LANDLOCK",
        When::LandlockBelow(6),
        "There is no second layer beneath the namespaces for abstract sockets and signals.",
    ),
    row(
        "RR-TIER-NAMES",
        When::TierLandlock,
        "Whether a file of the host exists, its size, owner, mode and times, where a link leads and how full a file system is can be asked for by exact path, wherever the user may look; contents, attributes and listings outside the plan cannot.",
    ),
    row(
        "RR-TIER-PROC",
        When::TierLandlock,
        "`/proc` is the host's: processes, their command lines, states, limits and groups, mounts, locks, the names of keys and tables of connections can be read; memory, environments, descriptors and roots of processes outside cannot.",
    ),
    row(
        "RR-TIER-USER",
        When::TierLandlock,
        "The agent has the user's own id (root's, without capabilities, where root starts it): what only another id would keep out is kept out by Landlock and the system call filter alone.",
    ),
    row(
        "RR-TIER-BASE",
        When::TierLandlock,
        "The base is the host's own, with its users' and hosts' names, and as that user may read it.",
    ),
    row(
        "RR-TIER-LOCKS",
        When::TierLandlock,
        "Files that can be read can be locked (flock, fcntl): programs outside that wait for the same lock wait for the agent. Leases, which hold up whoever opens a file, are refused.",
    ),
    row(
        "RR-TIER-ORPHANS",
        When::TierLandlock,
        "If somebody kills the supervisor and init in the same moment, processes that the agent started go on, as confined as before and unable to start programs, until they end or a control group ends them.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn gv4_ids_are_unique_and_rows_are_sentences() {
        let ids: BTreeSet<_> = RESIDUAL_RISKS.iter().map(|risk| risk.id).collect();
        assert_eq!(ids.len(), RESIDUAL_RISKS.len());
        for risk in RESIDUAL_RISKS {
            let name = risk.id.strip_prefix("RR-").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'), "{}", risk.id);
            assert!(risk.what.ends_with('.') && !risk.what.contains('|'), "{}", risk.id);
        }
    }
}
