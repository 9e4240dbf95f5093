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
        let recorded = match read_exec(listener, &notification) {
            // A search along PATH tries names that do not exist; the kernel will say so itself.
            Ok(seen) if is_absent(notification.pid, &seen.path.bytes) => Ok(()),
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
                let what = format!("a program start of process {} could not be read: {error}", notification.pid);
                self.recorder.exec(&Event::Sensor { what })
            }
        };
        let answer = match recorded {
            Ok(()) => listener.respond_continue(notification.id),
            Err(error) => {
                self.closed.get_or_insert_with(|| error.to_string());
                const EIO: u16 = 5;
                listener.respond_errno(notification.id, EIO)
            }
        };
        // A caller that was killed meanwhile needs no answer.
        let _ = answer;
        self.active();
    }
}

/// Whether an absolute path names nothing in the root of process `pid`.
fn is_absent(pid: u32, path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    if path.first() != Some(&b'/') {
        return false;
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let none = rustix::fs::Mode::empty();
    let Ok(root) = rustix::fs::open(format!("/proc/{pid}/root"), flags, none) else { return false };
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let within = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    matches!(
        rustix::fs::openat2(&root, path, flags, none, within),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)
    )
}
