//! The keeper of a `pair` workspace: program starts that it passes on, and what a person asks of it.

use std::os::fd::AsFd;

use ringfence_control::Answer;
use ringfence_model::event::Event;
use ringfence_sys::fdpass;

use super::Owner;
use crate::clock;
use crate::control_server::Question;
use crate::limits::KEEPER_QUESTIONS;
use crate::pair::{FromKeeper, ToKeeper};
use crate::recorder::by_a_person;

impl Owner<'_> {
    pub(super) fn hear_keeper(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        match fdpass::try_receive(keeper.link.as_fd()) {
            Ok((bytes, _)) if bytes.is_empty() => self.lose_keeper(),
            Ok((bytes, _)) => match serde_json::from_slice(&bytes) {
                Ok(message) => self.serve_keeper(message),
                Err(_) => self.lose_keeper(),
            },
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.lose_keeper(),
        }
    }

    fn serve_keeper(&mut self, message: FromKeeper) {
        match message {
            FromKeeper::Exec { event } => {
                let recorded = self.recorder.exec(&event);
                self.active();
                self.say_to_keeper(&ToKeeper::Recorded { ok: recorded.is_ok() });
                if let Err(error) = recorded {
                    self.shut(error.to_string());
                }
            }
            FromKeeper::Sensor { what } => {
                self.failures.push(what.clone());
                let _ = self.recorder.record(&Event::Sensor { what });
            }
            FromKeeper::Done { id, outcome } => {
                let Some(at) = self.asked.iter().position(|(asked, _)| *asked == id) else {
                    return;
                };
                let (_, question) = self.asked.remove(at);
                let _ = self.recorder.record(&Event::Sensor { what: outcome.words() });
                question.answer(&Answer::Taken(outcome));
            }
        }
    }

    /// A person's question that only the keeper can answer: recorded before it is passed on.
    pub(super) fn ask_keeper(
        &mut self,
        question: Question,
        verb: String,
        message: impl FnOnce(u64, i64) -> ToKeeper,
    ) {
        let refuse = |question: Question, why: &str| {
            question.answer(&Answer::Refused { why: why.to_owned() });
        };
        let Some(keeper) = &mut self.keeper else {
            let mode = self.boundary.workspace.mode.word();
            let why = format!("its workspace is `{mode}`; only `pair` has moments to go back to");
            return refuse(question, &why);
        };
        if self.asked.len() >= KEEPER_QUESTIONS {
            return refuse(question, "too many such questions wait; try again");
        }
        let id = keeper.number();
        let event = by_a_person(&verb, question.uid);
        if let Err(error) = self.recorder.record(&event) {
            return refuse(question, &format!("it cannot be recorded, so it is not done: {error}"));
        }
        self.asked.push((id, question));
        self.say_to_keeper(&message(id, clock::now().unix_s));
    }

    fn say_to_keeper(&mut self, message: &ToKeeper) {
        if self.keeper.as_ref().is_some_and(|keeper| keeper.say(message).is_err()) {
            self.lose_keeper();
        }
    }

    /// Without the keeper no change can be kept, and none is allowed: the run ends.
    pub(super) fn lose_keeper(&mut self) {
        if self.keeper.take().is_none() {
            return;
        }
        let what =
            "the process that keeps what changes replace is gone; the run is ended".to_owned();
        self.failures.push(what.clone());
        let _ = self.recorder.record(&Event::Sensor { what });
        self.end_because("keeper-lost");
    }
}
