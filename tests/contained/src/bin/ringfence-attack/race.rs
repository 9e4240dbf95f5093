//! Changing a path between its check and its use, and interrupting a check: F26, S09, P19.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink as make_link;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::answer::word;

/// One thread swaps `swap` between a directory and a symbolic link to the victim's directory, the
/// other writes `swap/NAME`. Prints how often a write went through, and how often it was refused.
fn symlink_race(victim: &str, rounds: u64) -> (u64, u64) {
    let victim = std::path::Path::new(victim);
    let (directory, name) = (victim.parent().unwrap(), victim.file_name().unwrap());
    let _ = fs::remove_dir_all("swap");
    fs::create_dir_all("swap-real").unwrap();
    make_link(directory, "swap-link").unwrap();
    fs::rename("swap-real", "swap").unwrap();
    let over = AtomicBool::new(false);
    let (written, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let here = rustix::fs::CWD;
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(here, "swap", here, "swap-link", exchange);
            }
        });
        let place = std::path::Path::new("swap").join(name);
        for _ in 0..rounds {
            match fs::write(&place, "attack") {
                Ok(()) => written.fetch_add(1, Ordering::Relaxed),
                Err(_) => refused.fetch_add(1, Ordering::Relaxed),
            };
        }
        over.store(true, Ordering::Relaxed);
    });
    (written.into_inner(), refused.into_inner())
}

/// Runs the race and prints both counts.
pub fn symlink(victim: &str, rounds: u64) {
    let (written, refused) = symlink_race(victim, rounds);
    println!("written\t{written}");
    println!("refused\t{refused}");
}

/// Connects again and again while a timer interrupts every call; prints each kind of answer once.
pub fn interrupted(address: &str) {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing; without SA_RESTART every call is interrupted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        let every = libc::timeval { tv_sec: 0, tv_usec: 500 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
    }
    let mut answers = std::collections::BTreeMap::new();
    for _ in 0..200 {
        *answers.entry(word(&attempt(address))).or_insert(0u32) += 1;
    }
    for (answer, count) in answers {
        println!("{answer}\t{count}");
    }
}

/// One connection; `DONE` only if the other side says something.
fn attempt(address: &str) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address)?;
    // Something to judge: a decision need not be told to who says nothing.
    stream.write_all(b"hello\n")?;
    loop {
        match stream.read(&mut [0; 1]) {
            Ok(0) => return Err(std::io::Error::from_raw_os_error(libc::ECONNRESET)),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
