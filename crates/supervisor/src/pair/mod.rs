//! `pair` workspaces: the agent works on the project itself, and everything that its changes replace
//! is kept, so that they can be taken back.
//!
//! A process of its own, the keeper, hears of each call that is about to change a file (seccomp user
//! notification, filtered by flags in the kernel), keeps what is there and lets the call go on. Beside
//! the supervisor rather than in it: a large file that is copied must not keep decisions waiting.

mod desk;
mod git_settings;
mod message;
mod open_files;
mod outcome;
mod resolve;
mod serve;
mod trees;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringfence_model::boundary::{Boundary, Tier};
use ringfence_sys::fdpass;
use ringfence_sys::process::{
    Namespaces, Side, close_all_but, exit_now, fork_into, scrub_arguments_and_environment,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal};

use crate::clock;
use crate::limits::KEEPER_FAREWELL_MS;

pub use desk::{Place, START, find};
pub use message::{FromKeeper, ToKeeper};
pub use trees::{Trees, held};

/// The supervisor's end.
#[derive(Debug)]
pub struct Keeper {
    /// Its messages come out here.
    pub link: OwnedFd,
    /// Its process id.
    pub pid: Pid,
    process: OwnedFd,
    next: u64,
}

impl Keeper {
    /// Starts the keeper. Must be called by a single-threaded process.
    ///
    /// # Errors
    /// What `clone3(2)` or `socketpair(2)` says.
    pub fn start(place: Place, boundary: &Boundary) -> io::Result<Self> {
        let (link, inner) = fdpass::pair()?;
        let trees = Trees::of(&boundary.workspace);
        let alone = (boundary.tier == Tier::Landlock).then(|| boundary.clone());
        match fork_into(Namespaces::NONE)? {
            Side::Child => {
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                // Keys typed at the terminal are for the agent: they must not end the keeper.
                let _ = rustix::process::setsid();
                if close_all_but(&[inner.as_fd()]).is_err() {
                    exit_now(71);
                }
                scrub_arguments_and_environment(c"ringfence-keeper");
                let _ = rustix::thread::set_name(c"ringfence-keep");
                let desk = serve::Desk { link: inner, place, trees, alone };
                exit_now(if serve::serve(desk).is_ok() { 0 } else { 70 })
            }
            Side::Parent { pid, pidfd } => Ok(Self { link, pid, process: pidfd, next: 1 }),
        }
    }

    /// Hands a listener over.
    ///
    /// # Errors
    /// The keeper is gone, or does not read.
    pub fn listen(&self, listener: OwnedFd) -> io::Result<()> {
        let bytes = serde_json::to_vec(&ToKeeper::Listen {})?;
        fdpass::try_send(self.link.as_fd(), &bytes, &[listener.as_fd()])
    }

    /// Says something.
    ///
    /// # Errors
    /// The keeper is gone, or does not read.
    pub fn say(&self, message: &ToKeeper) -> io::Result<()> {
        fdpass::try_send(self.link.as_fd(), &serde_json::to_vec(message)?, &[])
    }

    /// A number for the next question.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Nothing is left inside: it has only to write down what the last calls came to.
        let _ = rustix::net::shutdown(&self.link, rustix::net::Shutdown::Both);
        let mut ended = [PollFd::new(&self.process, PollFlags::IN)];
        let _ = poll(&mut ended, Some(&clock::timespec(KEEPER_FAREWELL_MS)));
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        let _ = ringfence_sys::process::wait_code(self.process.as_fd());
    }
}
