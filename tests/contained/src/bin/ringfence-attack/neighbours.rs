//! Attacks on processes, memory and sockets of others: P03, P05, P21, FS9, LM1.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use crate::answer::{call, checked, say};

/// Signal 0 to every process id that the kernel can have up to a bound, and to -1: prints how
/// many exist from here.
pub fn signal_all() {
    const HIGHEST: i32 = 70_000;
    let own = std::process::id().cast_signed();
    // SAFETY: signal 0 only asks whether the process exists.
    let seen = (1..HIGHEST).filter(|pid| *pid != own && unsafe { libc::kill(*pid, 0) } == 0);
    println!("signalable\t{}", seen.count());
    let numbered = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let listed = fs::read_dir("/proc").unwrap().filter_map(|entry| numbered(entry.ok()?)).count();
    println!("listed\t{listed}");
}

/// Every way to look into, stop or steer a process.
pub fn trace(pid: i32) {
    let target = libc::c_long::from(pid);
    const SEIZE: libc::c_long = 0x4206;
    say("kill-0", &call(libc::SYS_kill, [target, 0, 0, 0, 0, 0]));
    say("ptrace-seize", &call(libc::SYS_ptrace, [SEIZE, target, 0, 0, 0, 0]));
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(0x1000), iov_len: 1 };
    let (local, remote) = ((&raw const local) as i64, (&raw const remote) as i64);
    say("vm-read", &call(libc::SYS_process_vm_readv, [target, local, 1, remote, 1, 0]));
    let pidfd = call(libc::SYS_pidfd_open, [target, 0, 0, 0, 0, 0]);
    say("pidfd-open", &pidfd);
    if let Ok(pidfd) = pidfd {
        say("pidfd-getfd", &call(libc::SYS_pidfd_getfd, [pidfd, 0, 0, 0, 0, 0]));
    }
    for name in ["environ", "cmdline", "mem", "maps", "cwd", "root", "fd/0"] {
        let path = format!("/proc/{pid}/{name}");
        let answer = if matches!(name, "cwd" | "root" | "fd/0") {
            fs::read_link(path).map(drop)
        } else {
            fs::File::open(path).map(drop)
        };
        say(&format!("proc-{name}"), &answer);
    }
}

fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name)
}

/// The first key of the shared objects that a name stands for.
fn key(name: &str) -> i32 {
    name.bytes().fold(17, |hash: i32, byte| hash.wrapping_mul(31) ^ i32::from(byte)) | 1
}

/// Offers an abstract socket, a TCP port, System V and POSIX shared memory and queues under a
/// name, says `offered`, and holds them until its input ends.
pub fn offer(name: &str) {
    let listener = UnixListener::bind_addr(&abstract_address(name).unwrap()).unwrap();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    // SAFETY: plain numbers.
    let shared = unsafe { libc::shmget(key(name), 4096, libc::IPC_CREAT | 0o666) };
    // SAFETY: plain numbers.
    let queue = unsafe { libc::msgget(key(name), libc::IPC_CREAT | 0o666) };
    let path = CString::new(format!("/{name}")).unwrap();
    // SAFETY: a valid string and plain numbers.
    let posix = unsafe { libc::shm_open(path.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o666) };
    let no_attributes = std::ptr::null_mut::<libc::mq_attr>();
    // SAFETY: a valid string, plain numbers, and a null pointer that asks for the defaults.
    let mq =
        unsafe { libc::mq_open(path.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o666, no_attributes) };
    println!("offered\t{}", port.local_addr().unwrap().port());
    println!("made\t{}", [shared, queue, posix, mq].iter().filter(|id| **id >= 0).count());
    io::stdout().flush().unwrap();
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    // SAFETY: identifiers of this function, valid strings, no buffers.
    unsafe {
        libc::shmctl(shared, libc::IPC_RMID, std::ptr::null_mut());
        libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut());
        libc::shm_unlink(path.as_ptr());
        libc::mq_unlink(path.as_ptr());
    }
    drop(listener);
}

/// Looks for what another process offers under `NAME` or `NAME:PORT`.
pub fn seek(name: &str) {
    let (name, port) = name.split_once(':').unwrap_or((name, "0"));
    let address = abstract_address(name).unwrap();
    say("abstract-socket", &UnixStream::connect_addr(&address));
    let port: u16 = port.parse().unwrap();
    say("tcp-port", &std::net::TcpStream::connect(("127.0.0.1", port)));
    // SAFETY: plain numbers; without IPC_CREAT nothing is made.
    say("sysv-memory", &checked(unsafe { libc::shmget(key(name), 0, 0) }.into()));
    // SAFETY: plain numbers; without IPC_CREAT nothing is made.
    say("sysv-queue", &checked(unsafe { libc::msgget(key(name), 0) }.into()));
    let path = CString::new(format!("/{name}")).unwrap();
    // SAFETY: a valid string and plain numbers; without O_CREAT nothing is made.
    say("posix-memory", &checked(unsafe { libc::shm_open(path.as_ptr(), libc::O_RDWR, 0) }.into()));
    // SAFETY: a valid string and plain numbers; without O_CREAT nothing is made.
    say("posix-queue", &checked(unsafe { libc::mq_open(path.as_ptr(), libc::O_RDWR) }.into()));
}
