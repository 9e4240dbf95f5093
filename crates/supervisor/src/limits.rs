//! Limits of the supervisor, with units, in one place.

/// Entries that the walk for hidden names looks at before it gives up.
pub const HIDE_WALK_ENTRIES: usize = 5_000_000;
/// Free space of the state directory's file system below which a run is ended, in bytes.
pub const DISK_RESERVE_BYTES: u64 = 512 * 1024 * 1024;
/// How often watched limits are looked at while a run is far from them, in milliseconds.
pub const WATCH_SLOW_MS: u64 = 800;
/// How often watched limits are looked at when a run is near one, in milliseconds.
pub const WATCH_FAST_MS: u64 = 100;
/// Window in which equal denials are counted into one record, in nanoseconds.
pub const COALESCE_NS: u64 = 1_000_000_000;
/// Distinct denials that are counted at once.
pub const COALESCE_KEYS: usize = 1_024;
/// Most links that are followed on the way to a program.
pub const LINK_HOPS: usize = 16;
/// How long processes inside get to end after SIGTERM to ringfence, in milliseconds.
pub const TERMINATE_GRACE_MS: u64 = 5_000;
/// Messages of the gateway that are served before everything else gets its turn.
pub const LINK_MESSAGES_PER_TURN: usize = 64;
/// How long the gateway gets to say what its open connections moved when a run ends, in milliseconds.
pub const LAST_WORDS_MS: u64 = 500;
/// Hidden names that are masked in one turn.
pub const MASKS_PER_TURN: usize = 64;
/// Hidden names that may appear during one run; more end it.
pub const LATER_MASKS: usize = 4_096;
/// Paths that were not put back and that an answer names: it must fit one packet.
pub const RESTORE_LEFT_SHOWN: usize = 40;
/// Longest name of a moment of a `pair` workspace, in bytes.
pub const MOMENT_NAME_BYTES: usize = 60;
/// Links that are followed one after the other from a name to what a program changes
/// (path_resolution(7)).
pub const NAMED_LINKS: usize = 40;
/// Refused changes of git's settings that a run tells apart.
pub const SETTINGS_REFUSALS: usize = 20;
/// Generations between the supervisor and a process of its sandbox that are looked at, where the
/// sandbox has no process ids of its own.
pub const GENERATIONS: usize = 1_000;
/// Time after which the keeper of a `pair` workspace looks what calls came to whose thread was not
/// heard of again.
pub const CALL_LOOKED_AT_MS: u64 = 20;
/// Time after which a call that changes a name is over, if its thread does not wait in it.
pub const CALL_OVER_MS: u64 = 1_000;
/// Longest time for which a call waits for one of another thread that may change its path.
pub const CALLS_CROSS_MS: u64 = 100;
/// Processor time after which a running thread has surely left the call that it was let go on with.
pub const CALL_PROCESSOR_NS: u64 = 1_000_000;
/// Time that the keeper has at the end of a run to write down what the last calls came to.
pub const KEEPER_FAREWELL_MS: u64 = 2_000;
/// Questions that may wait for the keeper of a `pair` workspace.
pub const KEEPER_QUESTIONS: usize = 8;
/// Destinations that one `allow` may name.
pub const ALLOW_AT_ONCE: usize = 64;
/// Longest `allow --for`, in milliseconds: a week.
pub const ALLOW_FOR_MS: u64 = 7 * 24 * 3600 * 1000;
/// How long one `allow` waits for another that writes, in milliseconds.
pub const ALLOW_LOCK_MS: u64 = 5_000;
/// Control connections at once.
pub const CONTROL_CONNECTIONS: usize = 32;
/// How long a connection to the control socket may take to ask, in milliseconds.
pub const CONTROL_LINE_MS: u64 = 3_000;
/// Programs that a person may have started beside the agent at once.
pub const BESIDE_PROGRAMS: usize = 16;
/// Bytes of the arguments of such a program.
pub const BESIDE_ARGUMENT_BYTES: usize = 32 * 1024;
/// How long the output of such a program may take to reach its person after its end, in milliseconds.
pub const BESIDE_LAST_MS: u64 = 2_000;
/// Terminals that may look at one detached run at once.
pub const ATTACHED_TERMINALS: usize = 8;
/// Bytes that a detached run's terminal remembers for those who look at it later.
pub const SCROLLBACK_BYTES: usize = 256 * 1024;
/// Bytes that wait for a terminal that looks at a detached run before no more output is read.
pub const ATTACHED_BUFFER_BYTES: usize = 1024 * 1024;
/// How long such a terminal may take nothing at all before it is let go, in milliseconds.
pub const ATTACHED_STALL_MS: u64 = 2_000;
/// How long those who look at a detached run get for its last output when it ends, in milliseconds.
pub const ATTACHED_LAST_MS: u64 = 1_000;
/// Keys that wait for a detached run's agent to read them, in bytes.
pub const KEYS_BYTES: usize = 4 * 1024;
/// How often it is looked whether a detached run's agent has become its program, in milliseconds.
pub const DETACH_LOOK_MS: u64 = 3;
/// Bytes that wait for the terminal or a pipe before the agent's output is no longer read.
pub const OUTPUT_BUFFER_BYTES: usize = 256 * 1024;
/// How long a terminal that takes no bytes is waited for when it is put right at the end of a run, in
/// milliseconds.
pub const TERMINAL_RESET_MS: i64 = 500;
/// Entries of one directory that tier landlock opens one by one beside a protected path.
pub const CARVED_ENTRIES: usize = 4096;
/// Bytes of a path that the supervisor looks up for a change of mode or times in tier landlock.
pub const INODE_PATH_BYTES: usize = 4096;
/// Program starts recorded per second; what is above is counted.
pub const EXEC_RECORDS_PER_SECOND: u64 = 2_000;
/// Bytes of one file of policy, or of the trust record.
pub const POLICY_FILE_BYTES: u64 = 1024 * 1024;
/// Groups of equal denials that are told apart beyond those listed at the end of a run.
pub const MORE_DENIAL_GROUPS: usize = 10_000;
/// Denials listed at the end of a run.
pub const EXIT_DENIALS: usize = 10;
/// Processes of the demo's fork bomb.
pub const DEMO_BOMB: usize = 64;
/// Processes that the demo's contained agent may have.
pub const DEMO_PROCESSES: usize = 32;
/// How long one round of the demo may take before it is ended, in milliseconds.
pub const DEMO_PATIENCE_MS: u64 = 60_000;
/// How long the demo waits for one more process of the fork bomb, in milliseconds.
pub const DEMO_STEADY_MS: u64 = 400;
/// How long a process of the demo's agent may take to be gone after the agent's end, in milliseconds.
pub const DEMO_GONE_MS: u64 = 300;
/// How long a decoy server of the demo waits for a request, in milliseconds.
pub const DEMO_REQUEST_MS: u64 = 500;
/// Bytes of a request that a decoy server of the demo reads.
pub const DEMO_REQUEST_BYTES: usize = 8 * 1024;
/// Bytes of the demo agent's output that are looked at.
pub const DEMO_OUTPUT_BYTES: usize = 256 * 1024;
/// How long one probe of `doctor` may take before it counts as failed, in milliseconds.
pub const DOCTOR_PROBE_MS: u64 = 10_000;
/// Bytes of a probe's answer, or of a trial run's words, that `doctor` reads.
pub const DOCTOR_ANSWER_BYTES: u64 = 64 * 1024;
/// Unix time that no correct clock is before (2025-01-01), in seconds.
pub const CLOCK_LEAST_S: i64 = 1_735_689_600;
/// Entries of one directory of `PATH` whose links and scripts are followed.
pub const PATH_DIRECTORY_ENTRIES: usize = 512;
/// Directories of tools that are looked at for links and scripts.
pub const TOOL_DIRECTORIES: usize = 64;
/// A script no longer than this is searched for the program that it starts, in bytes.
pub const SHIM_BYTES: u64 = 4 * 1024;
/// Files of git settings that are read, with those that they include.
pub const GIT_CONFIG_FILES: usize = 64;
/// How deep files of git settings include each other.
pub const GIT_INCLUDE_DEPTH: usize = 10;
/// Git settings that come inside.
pub const GIT_SETTINGS: usize = 500;
/// Longest value of a git setting that comes in, or that an agent may write, in bytes.
pub const GIT_VALUE_BYTES: usize = 2048;
/// Largest settings file of a repository that an agent may change, in bytes.
pub const GIT_LOCAL_BYTES: u64 = 256 * 1024;
/// Bytes of the user's list of names that git ignores.
pub const GIT_IGNORE_BYTES: usize = 64 * 1024;
/// Files of the user's instructions, commands and skills that are copied for one run.
pub const BROUGHT_FILES: usize = 1_000;
/// Bytes of one such file.
pub const BROUGHT_FILE_BYTES: u64 = 256 * 1024;
/// Bytes of such files together; the file that passes it is still copied.
pub const BROUGHT_BYTES: u64 = 4 * 1024 * 1024;
/// How deep directories of such files are followed.
pub const BROUGHT_DEPTH: usize = 8;
/// Notes about such files that are shown one by one at a start.
pub const HOME_NOTES: usize = 8;
/// Bytes of one settings file of an agent, outside or in a private home.
pub const AGENT_SETTINGS_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of one value that is taken over from an agent's settings.
pub const AGENT_SETTING_BYTES: usize = 400;
/// Hooks and servers of an agent's settings that are asked about.
pub const AGENT_ENTRIES: usize = 64;
/// Bytes of one such entry as JSON.
pub const AGENT_ENTRY_BYTES: usize = 16 * 1024;
/// Bytes of an agent's login that is kept.
pub const LOGIN_BYTES: u64 = 64 * 1024;
/// Bytes of a file by which git says where a repository lies; a larger one is none.
pub const GIT_POINTER_BYTES: u64 = 8 * 1024;
