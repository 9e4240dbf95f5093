//! A program start as it was seen, as an event for the ledger.

use ringfence_model::event::Event;
use ringfence_sys::seccomp::notify::{Listener, Notification};
use ringfence_sys::seccomp::remote::{RemoteError, read_exec};

/// What to record of a notified start; `None` where the caller is gone.
pub fn event(listener: &Listener, seen: &Notification) -> Option<Event> {
    match read_exec(listener, seen) {
        Ok(exec) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Some(Event::Exec {
                pid: seen.pid,
                path: text(&exec.path.bytes),
                argv: exec.argv.arguments.iter().map(|argument| text(argument)).collect(),
                truncated: exec.path.truncated || exec.argv.truncated,
            })
        }
        Err(RemoteError::Notify(_)) => None,
        Err(error) => {
            let what =
                format!("a program start of process {} could not be read: {error}", seen.pid);
            Some(Event::Sensor { what })
        }
    }
}
