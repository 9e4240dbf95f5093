//! Program starts as seen: recorded before the kernel goes on, never decided here.

use ringfence_sys::seccomp;
use ringfence_sys::seccomp::notify::Listener;

use super::Owner;
use crate::{exec_seen, inodes};

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

    /// Watches the starts of one more tree of processes. In a `pair` workspace the keeper does, which
    /// must hear of its changes as well.
    pub(super) fn listen(&mut self, listener: Listener) {
        let Some(keeper) = &self.keeper else {
            self.listener = Some(listener);
            return;
        };
        if keeper.listen(listener.into()).is_err() {
            self.lose_keeper();
        }
    }
}
