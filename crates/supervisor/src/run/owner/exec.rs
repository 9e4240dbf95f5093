//! Program starts as seen: recorded before the kernel goes on, never decided here.

use ringfence_model::event::Event;
use ringfence_sys::seccomp;
use ringfence_sys::seccomp::remote::{RemoteError, read_exec};

use super::Owner;

impl Owner<'_> {
    pub(super) fn hear_exec(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Ok(seccomp::notify::Readiness::Pending) =
            listener.wait(Some(std::time::Duration::ZERO))
        else {
            self.listener = None;
            return;
        };
        let Ok(notification) = listener.receive() else { return };
        if seccomp::inode::is_inode(notification.data.nr) {
            super::inodes::answer(self.boundary, listener, &notification);
            return self.active();
        }
        let recorded = match read_exec(listener, &notification) {
            Ok(seen) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let truncated = seen.path.truncated || seen.argv.truncated;
                let event = Event::Exec {
                    pid: notification.pid,
                    path: text(&seen.path.bytes),
                    argv: seen.argv.arguments.iter().map(|argument| text(argument)).collect(),
                    truncated,
                };
                self.recorder.exec(&event)
            }
            Err(RemoteError::Notify(_)) => Ok(()),
            Err(error) => {
                let what = format!(
                    "a program start of process {} could not be read: {error}",
                    notification.pid
                );
                self.recorder.exec(&Event::Sensor { what })
            }
        };
        let mut unrecorded = None;
        let answer = match recorded {
            Ok(()) => listener.respond_continue(notification.id),
            Err(error) => {
                unrecorded = Some(error.to_string());
                const EIO: u16 = 5;
                listener.respond_errno(notification.id, EIO)
            }
        };
        // A caller that was killed meanwhile needs no answer.
        let _ = answer;
        if let Some(why) = unrecorded {
            self.shut(why);
        }
        self.active();
    }
}
