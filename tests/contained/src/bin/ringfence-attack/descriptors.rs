//! Inherited and passed descriptors: F27, FS5.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::answer::say;

/// Prints every open descriptor and what it is: `fd<TAB>NUMBER TARGET`.
pub fn census() {
    // The listing has a descriptor of its own, which is gone when its link is read.
    let numbers: Vec<_> =
        fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for number in numbers {
        if let Ok(target) = fs::read_link(format!("/proc/self/fd/{}", number.display())) {
            println!("fd\t{} {}", number.display(), target.display());
        }
    }
}

/// Passes a descriptor of `path` over a socket (SCM_RIGHTS) and tries to do with it what opening
/// did not permit: write, open anew through `/proc/self/fd`, climb with `..`.
pub fn pass(path: &str) {
    let passed = match File::open(path).and_then(|file| over(&file.into())) {
        Ok(passed) => passed,
        Err(error) => return say("open", &Err::<(), _>(error)),
    };
    say("open", &Ok(()));
    let mut file = File::from(passed);
    say("read-passed", &file.read(&mut [0; 1]));
    say("write-passed", &file.write(b"attack"));
    let link = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&file));
    say("reopen-for-writing", &fs::OpenOptions::new().write(true).open(link));
}

fn over(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let (left, right) = UnixStream::pair()?;
    let fds = [fd.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&left, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&right, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::empty())?;
    let mut messages = control.drain();
    match messages.next() {
        Some(RecvAncillaryMessage::ScmRights(mut fds)) => {
            fds.next().ok_or_else(|| io::Error::other("no descriptor came"))
        }
        _ => Err(io::Error::other("no message came")),
    }
}
