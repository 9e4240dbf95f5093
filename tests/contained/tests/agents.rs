//! Real agents inside the boundary: on a good day each does its work; gone wrong it gets nowhere and
//! everything is told; what agents do all day is never denied.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

#[path = "support/agents/mod.rs"]
mod agents;
mod support;

use agents::{days, kinds, tasks};

/// The same questions to one agent.
macro_rules! agent {
    ($name:ident, $kind:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn does_its_work_on_a_good_day() {
                days::good(&$kind);
            }

            /// C18, S01, S06, S13.
            #[test]
            fn c18_gone_wrong_gets_nowhere() {
                days::rogue(&$kind);
            }

            /// S04: at a terminal it works on the project itself.
            #[test]
            fn s04_gone_wrong_in_pair_is_taken_back() {
                days::rogue_in_pair(&$kind);
            }

            #[test]
            fn gone_wrong_control_succeeds_without_a_boundary() {
                days::control(&$kind);
            }

            #[test]
            fn does_twenty_tasks_without_a_false_denial() {
                tasks::twenty(&$kind);
            }
        }
    };
}

agent!(claude, kinds::CLAUDE);
agent!(codex, kinds::CODEX);
agent!(opencode, kinds::OPENCODE);
agent!(gemini, kinds::GEMINI);
agent!(copilot, kinds::COPILOT);
agent!(service, kinds::SERVICE);

/// It runs nothing that a model asks for, so there is no day on which it goes wrong by itself.
#[test]
fn aider_does_its_work_on_a_good_day() {
    if agents::held(&kinds::AIDER) {
        days::edits(&kinds::AIDER);
    }
}
