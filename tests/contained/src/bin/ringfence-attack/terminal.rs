//! Typing into, or reshaping, the terminal that the person outside sits at: P14.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

use crate::answer::{call, say};

/// Tries each command on the controlling terminal, also with bits above the 32 that are read.
pub fn run() {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    say("open-tty", &terminal);
    let fd = terminal.as_ref().map_or(0, AsRawFd::as_raw_fd);
    let byte = b'#';
    let at = (&raw const byte) as i64;
    let discipline = 2i32;
    let line = (&raw const discipline) as i64;
    let selection = [2u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let select = selection.as_ptr() as i64;
    let commands = [
        ("TIOCSTI", 0x5412, at),
        ("TIOCLINUX", 0x541c, select),
        ("TIOCSETD", 0x5423, line),
        ("TIOCCONS", 0x541d, 0),
    ];
    for (id, command, argument) in commands {
        say(id, &call(libc::SYS_ioctl, [fd.into(), command, argument, 0, 0, 0]));
        let upper = command | (1 << 32);
        say(
            &format!("{id}-upper-half"),
            &call(libc::SYS_ioctl, [fd.into(), upper, argument, 0, 0, 0]),
        );
    }
}
