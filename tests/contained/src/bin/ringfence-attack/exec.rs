//! Running a program that has no path: P08.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};

use crate::answer::{checked, say};

/// Copies a program into memory and runs it from there; prints only why it did not.
pub fn memfd(program: &str, arguments: &[&str]) {
    say("memfd-exec", &Err::<(), _>(run(program, arguments).unwrap_or_else(|error| error)));
}

fn run(program: &str, arguments: &[&str]) -> io::Result<io::Error> {
    let name = CString::new("payload").unwrap();
    // SAFETY: a valid name.
    let fd = checked(unsafe { libc::memfd_create(name.as_ptr(), 0) }.into())?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    let mut file = unsafe { std::fs::File::from_raw_fd(i32::try_from(fd).unwrap()) };
    file.write_all(&std::fs::read(program)?)?;
    let words: Vec<CString> = std::iter::once(&program)
        .chain(arguments)
        .map(|word| CString::new(*word).unwrap())
        .collect();
    let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    let environment = [std::ptr::null()];
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::fexecve(file.as_raw_fd(), argv.as_ptr(), environment.as_ptr()) };
    Ok(io::Error::last_os_error())
}
