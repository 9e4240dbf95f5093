//! Program starts as seen: recorded before the kernel goes on, never decided here.

use std::io;
use std::os::fd::OwnedFd;

use ringfence_sys::seccomp;
use ringfence_sys::seccomp::notify::Listener;

use super::Owner;
use crate::{exec_seen, inodes};

impl Owner<'_> {
    pub(super) fn hear_exec(&mut self, number: u64) {
        let Some(listener) = self.listeners.get(&number) else { return };
        let Ok(seccomp::notify::Readiness::Pending) =
            listener.wait(Some(std::time::Duration::ZERO))
        else {
            self.listeners.remove(&number);
            return;
        };
        let Ok(notification) = listener.receive() else { return };
        if seccomp::inode::is_inode(notification.data.nr) {
            inodes::answer(self.boundary, listener, &notification);
            return self.active();
        }
        let recorded = match exec_seen::event(listener, &notification) {
            Some(event) => self.recorder.exec(&event),
            None => Ok(()),
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

    /// Listens to one more tree of processes: the agent's, or that of a program beside it. In a `pair`
    /// workspace the keeper does, which must hear of its changes as well.
    pub(super) fn listen_to(&mut self, listener: Option<OwnedFd>) -> io::Result<()> {
        let missing = || io::Error::other("no descriptor came with the message");
        let listener = Listener::new(listener.ok_or_else(missing)?).map_err(io::Error::other)?;
        if let Some(keeper) = &self.keeper {
            return keeper.listen(listener.into());
        }
        let number = self.listeners.last_key_value().map_or(0, |(last, _)| last + 1);
        self.listeners.insert(number, listener);
        Ok(())
    }
}
