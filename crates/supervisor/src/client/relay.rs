//! The loop of a command that stays with a run: bytes, signals, and what the supervisor says.

use std::os::fd::OwnedFd;

use ringfence_control::{Answer, Conversation, Follow};
use ringfence_sys::process::{drain_signals, signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;

use super::{ClientError, system};
use crate::stdio::{self, Pump};

/// How it ended.
pub enum Ending {
    /// The program, or the run, is over.
    Ended {
        /// Its exit code.
        code: i32,
        /// Why, where it did not end by itself.
        why: Option<String>,
    },
    /// The person has gone away; it goes on, or is told so.
    LetGo,
}

/// What is relayed.
pub struct Relay {
    conversation: Conversation,
    pumps: Vec<Pump>,
    signals: OwnedFd,
    /// Whether this only looks: then no signal reaches what runs.
    looks: bool,
}

/// Signals that are for the program when they come from outside a terminal.
const PASSED_ON: [Signal; 5] =
    [Signal::INT, Signal::TERM, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Keeps signals from ending this command: called before anything is started, or a signal for the
/// program could end its command instead.
///
/// # Errors
/// They cannot be watched.
pub fn watch() -> Result<OwnedFd, ClientError> {
    let mut numbers: Vec<i32> = PASSED_ON.map(Signal::as_raw).to_vec();
    numbers.extend([Signal::HUP, Signal::WINCH].map(Signal::as_raw));
    signals(&numbers).map_err(system("watch signals"))
}

impl Relay {
    /// Relays what is connected; `signals` are those of [`watch`].
    pub fn new(
        conversation: Conversation,
        pumps: Vec<Pump>,
        signals: OwnedFd,
        looks: bool,
    ) -> Self {
        Self { conversation, pumps, signals, looks }
    }

    /// Relays until the end.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn run(mut self) -> Result<Ending, ClientError> {
        loop {
            let (said, signalled) = self.wait();
            for pump in &mut self.pumps {
                pump.turn();
            }
            if self.pumps.iter().any(|pump| pump.let_go) {
                return Ok(Ending::LetGo);
            }
            if signalled && self.hear_signals() {
                return Ok(Ending::LetGo);
            }
            if said && let Some(ending) = self.hear()? {
                self.finish();
                return Ok(ending);
            }
        }
    }

    fn wait(&self) -> (bool, bool) {
        let mut fds = vec![
            PollFd::new(&self.conversation, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        fds.extend(self.pumps.iter().filter_map(Pump::interest));
        let _ = poll(&mut fds, None);
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        (is_ready(0), is_ready(1))
    }

    fn hear(&mut self) -> Result<Option<Ending>, ClientError> {
        match self.conversation.answer() {
            Ok(Some(Answer::Ended { code, why })) => Ok(Some(Ending::Ended { code, why })),
            Ok(Some(Answer::Failed { why, code })) => Err(ClientError::Failed { why, code }),
            Ok(Some(Answer::Refused { why })) => Err(ClientError::Refused(why)),
            Ok(Some(_)) => Ok(None),
            Ok(None) | Err(_) => Err(ClientError::Lost),
        }
    }

    /// What is still on its way. The supervisor has closed its end of the terminal; a pipe may be held
    /// by something that goes on, so only what is there is taken.
    fn finish(&mut self) {
        for pump in &mut self.pumps {
            if pump.is_terminal() {
                pump.finish_output();
            } else {
                pump.finish_now();
            }
        }
    }

    /// Whether the person is gone.
    fn hear_signals(&mut self) -> bool {
        for number in drain_signals(&self.signals) {
            if number == Signal::HUP.as_raw() {
                return true;
            }
            let follow = if number == Signal::WINCH.as_raw() {
                stdio::size().map(|size| Follow::Size { size })
            } else if self.looks {
                return true;
            } else {
                Some(Follow::Signal { number })
            };
            if let Some(follow) = follow {
                // A supervisor that is gone is noticed by its end of the connection.
                let _ = self.conversation.follow(follow);
            }
        }
        false
    }
}
