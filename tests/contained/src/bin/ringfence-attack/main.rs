//! Attacks that need raw system calls, one subcommand each. Runs inside the boundary, and outside
//! as the control group.
//!
//! Every attempt prints `ID<TAB>DONE` or `ID<TAB>ERRNO`. It must be harmless outside as well: each
//! call that could change the host has arguments with which it changes nothing, and tells by its
//! errno only whether the kernel was reached.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an attack program: raw calls are its purpose, its output is its result"
)]

mod answer;
mod batch;
mod control;
mod descriptors;
mod doors;
mod exec;
mod foreign;
mod neighbours;
mod race;
mod resources;
mod sockets;
mod terminal;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["batch"] => batch::run(),
        ["ask", socket] => control::ask(socket),
        ["doors"] => doors::run(),
        ["foreign-abi"] => foreign::run(),
        ["sockets"] => sockets::run(),
        ["descriptors"] => descriptors::census(),
        ["pass-descriptor", path] => descriptors::pass(path),
        ["handles", path] => doors::handles(path),
        ["variants", path] => doors::variants(path),
        ["signal-all"] => neighbours::signal_all(),
        ["trace", pid] => neighbours::trace(pid.parse().unwrap()),
        ["offer", name] => neighbours::offer(name),
        ["seek", name] => neighbours::seek(name),
        ["memfd-exec", program, rest @ ..] => exec::memfd(program, rest),
        ["terminal"] => terminal::run(),
        ["race", victim, rounds] => race::symlink(victim, rounds.parse().unwrap()),
        ["interrupted", address] => race::interrupted(address),
        ["fork-bomb"] => resources::fork_bomb(),
        ["memory", mebibytes, seconds] => {
            resources::memory(mebibytes.parse().unwrap(), seconds.parse().unwrap());
        }
        ["open-files", count] => resources::open_files(count.parse().unwrap()),
        ["fill", path, mebibytes] => resources::fill(path, mebibytes.parse().unwrap()),
        ["flood", lines] => resources::flood(lines.parse().unwrap()),
        ["stubborn", seconds] => resources::stubborn(seconds.parse().unwrap()),
        _ => {
            eprintln!("unknown attack: {words:?}");
            std::process::exit(2);
        }
    }
}
