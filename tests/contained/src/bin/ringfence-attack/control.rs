//! Whoever finds a control socket: says what comes on standard input and shows what is answered.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::answer::say;

/// Connects, speaks, listens to the end.
pub fn ask(socket: &str) {
    let stream = UnixStream::connect(socket);
    say("connect", &stream);
    let Ok(mut stream) = stream else { return };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut words = Vec::new();
    std::io::stdin().read_to_end(&mut words).unwrap();
    // Whoever is not welcome is hung up on, maybe before the last word.
    let _ = stream.write_all(&words);
    let _ = stream.shutdown(Shutdown::Write);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    println!("heard\t{}", String::from_utf8_lossy(&heard).trim().replace(['\r', '\n'], " "));
}
