//! Taking all there is of processes, memory, disk, descriptors and attention: P16, P17.
//!
//! Only ever run under limits: the tests give each of these to a run with `--limit`.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::answer::{checked, say};

/// How many processes a bomb makes at most, should no limit stop it: the host must survive a
/// boundary that fails the test.
const BOMB: u32 = 3_000;

/// Starts sleeping children until one is refused; prints how many, and why it ended.
pub fn fork_bomb() {
    let mut made = 0;
    let end = loop {
        if made == BOMB {
            break Ok(());
        }
        // SAFETY: this program has one thread.
        match checked(unsafe { libc::fork() }.into()) {
            Ok(0) => {
                // Should no boundary end them, they end with the bomb.
                // SAFETY: plain numbers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                loop {
                    std::thread::sleep(Duration::from_secs(60));
                }
            }
            Ok(_) => made += 1,
            Err(error) => break Err(error),
        }
    };
    println!("processes\t{made}");
    say("fork", &end);
    io::stdout().flush().unwrap();
    // Held for a moment, so that what watches has something to see.
    std::thread::sleep(Duration::from_millis(300));
}

/// Takes memory and touches every page, one mebibyte at a time, saying `took N` as it goes; then
/// holds it for some seconds.
pub fn memory(mebibytes: u64, hold: u64) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for number in 1..=mebibytes {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(1 << 20).is_err() {
            println!("memory\tENOMEM");
            return;
        }
        // Not zeros, so that every page is really there.
        block.resize(1 << 20, 0xa5);
        held.push(block);
        if number % 16 == 0 {
            println!("took {number}");
        }
    }
    println!("took all");
    io::stdout().flush().unwrap();
    // Held, so that one who only watches has something to see.
    std::thread::sleep(Duration::from_secs(hold));
    println!("memory\tDONE");
    drop(held);
}

/// Opens files until one is refused.
pub fn open_files(count: u32) {
    let mut held = Vec::new();
    let mut end = Ok(());
    for _ in 0..count {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => {
                end = Err(error);
                break;
            }
        }
    }
    println!("opened\t{}", held.len());
    say("open", &end);
}

/// Writes a file until the size is reached or a write is refused.
pub fn fill(path: &str, mebibytes: u64) {
    // SIGXFSZ would end the program before it can tell.
    // SAFETY: ignoring a signal touches no memory.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let block = vec![0x5a; 1 << 20];
    let mut written = 0;
    let end = File::create(path).and_then(|mut file| {
        for _ in 0..mebibytes {
            file.write_all(&block)?;
            written += 1;
        }
        Ok(())
    });
    println!("mebibytes\t{written}");
    say("fill", &end);
}

/// Writes lines as fast as it can.
pub fn flood(lines: u64) {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for number in 0..lines {
        writeln!(out, "flood {number} {}", "x".repeat(100)).unwrap();
    }
    out.flush().unwrap();
}

/// Ignores every signal that can be ignored, leaves session and parent, and stays; says `stays`
/// when it has.
pub fn stubborn(seconds: u64) {
    for signal in 1..32 {
        // SAFETY: ignoring a signal touches no memory; SIGKILL and SIGSTOP refuse.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    for _ in 0..2 {
        // SAFETY: this program has one thread; the parent ends without exit handlers.
        unsafe {
            if libc::fork() != 0 {
                libc::_exit(0);
            }
            libc::setsid();
        }
    }
    println!("stays");
    io::stdout().flush().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(50));
    }
}
