//! Moves bytes between the two sockets of a connection, both ways, with half-close.
//!
//! Small transfers are copied through one buffer that all connections share; a direction that has
//! moved much goes through a pipe without copying. It judges nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::http::status::{self, Status};
use crate::limits::{
    COPY_BYTES, FAIR_ROUNDS, IDLE, IDLE_HALF_CLOSED, IDLE_TICK, PIPE_BYTES, SPLICE_AFTER,
};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How far the answer to a protocol upgrade has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody asked for one.
    Idle,
    Waiting,
    Switched,
    Declined,
}

/// Lets the direction from the server tell the one to it what became of an upgrade.
pub(crate) struct Switch {
    stage: Cell<Stage>,
    seen: RefCell<Vec<u8>>,
    changed: Notify,
}

impl Switch {
    pub(crate) fn new() -> Self {
        Self { stage: Cell::new(Stage::Idle), seen: RefCell::default(), changed: Notify::new() }
    }

    /// From now on the server's next bytes are the answer to an upgrade.
    pub(crate) fn expect(&self) {
        self.stage.set(Stage::Waiting);
    }

    /// Waits for the answer; true if the connection is another protocol's now.
    pub(crate) async fn outcome(&self) -> bool {
        loop {
            match self.stage.get() {
                Stage::Switched => return true,
                Stage::Declined | Stage::Idle => return false,
                Stage::Waiting => self.changed.notified().await,
            }
        }
    }

    /// The server says nothing more: an upgrade without an answer is none.
    pub(crate) fn ended(&self) {
        if self.stage.get() == Stage::Waiting {
            self.stage.set(Stage::Declined);
            self.changed.notify_one();
        }
    }

    fn observe(&self, bytes: &[u8]) {
        if self.stage.get() != Stage::Waiting {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        seen.extend_from_slice(bytes);
        let stage = match status::read(&seen) {
            Status::Partial => return,
            Status::Switching => Stage::Switched,
            Status::Other => Stage::Declined,
        };
        *seen = Vec::new();
        self.stage.set(stage);
        self.changed.notify_one();
    }
}

/// Sets what every relayed socket has: no delay for small writes, dead peers found.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// Makes the socket's end a reset instead of a close.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // On a socket that is dead already there is nothing left to reset.
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// Says that no more bytes follow.
pub(crate) fn end_writing(stream: &TcpStream) -> io::Result<()> {
    match rustix::net::shutdown(stream, Shutdown::Write) {
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes all of `bytes`, counting what went.
pub(crate) async fn write_all(
    to: &TcpStream,
    mut bytes: &[u8],
    count: &Cell<u64>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                count.set(count.get() + written as u64);
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads some bytes behind those in `buffer`; 0 at the end.
pub(crate) async fn read_some(
    from: &TcpStream,
    buffer: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    loop {
        from.readable().await?;
        let got = BUFFER.with_borrow_mut(|shared| {
            shared.resize(COPY_BYTES, 0);
            let part = shared.get_mut(..most.min(COPY_BYTES)).unwrap_or_default();
            let length = from.try_read(part)?;
            buffer.extend_from_slice(part.get(..length).unwrap_or_default());
            Ok::<usize, io::Error>(length)
        });
        match got {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Moves everything from one socket to the other, then ends writing there.
pub(crate) async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    count: &Cell<u64>,
    switch: Option<&Switch>,
) -> io::Result<()> {
    let mut rounds = 0u32;
    while count.get() < SPLICE_AFTER {
        if !copy_once(from, to, count, switch).await? {
            return end_writing(to);
        }
        rounds += 1;
        if rounds.is_multiple_of(FAIR_ROUNDS) {
            tokio::task::yield_now().await;
        }
    }
    let Ok((read_end, write_end)) =
        rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)
    else {
        // No descriptors left: go on by copying.
        while copy_once(from, to, count, switch).await? {
            tokio::task::yield_now().await;
        }
        return end_writing(to);
    };
    // Over the user's quota of pipe memory the default size stays.
    let _ = rustix::pipe::fcntl_setpipe_size(&write_end, PIPE_BYTES);
    splice(from, to, (&read_end, &write_end), count).await?;
    end_writing(to)
}

enum Copied {
    End,
    All,
    Rest(Vec<u8>),
}

/// Copies what is there; false at the end.
async fn copy_once(
    from: &TcpStream,
    to: &TcpStream,
    count: &Cell<u64>,
    switch: Option<&Switch>,
) -> io::Result<bool> {
    from.readable().await?;
    let copied = BUFFER.with_borrow_mut(|shared| {
        shared.resize(COPY_BYTES, 0);
        let length = from.try_read(shared)?;
        let bytes = shared.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Copied::End);
        }
        if let Some(switch) = switch {
            switch.observe(bytes);
        }
        let written = match to.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        count.set(count.get() + written as u64);
        let rest = bytes.get(written..).unwrap_or_default();
        Ok(if rest.is_empty() { Copied::All } else { Copied::Rest(rest.to_vec()) })
    });
    match copied {
        Ok(Copied::End) => Ok(false),
        Ok(Copied::All) => Ok(true),
        Ok(Copied::Rest(rest)) => write_all(to, &rest, count).await.map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

async fn splice(
    from: &TcpStream,
    to: &TcpStream,
    pipe: (&OwnedFd, &OwnedFd),
    count: &Cell<u64>,
) -> io::Result<()> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let (read_end, write_end) = pipe;
    let mut rounds = 0u32;
    loop {
        // The pipe is empty here, so "would block" can only mean that the socket has nothing.
        let fill =
            || Ok(rustix::pipe::splice(from.as_fd(), None, write_end, None, PIPE_BYTES, flags)?);
        let mut left = from.async_io(Interest::READABLE, fill).await?;
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            let drain = || Ok(rustix::pipe::splice(read_end, None, to.as_fd(), None, left, flags)?);
            let moved = to.async_io(Interest::WRITABLE, drain).await?;
            if moved == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left -= moved;
            count.set(count.get() + moved as u64);
        }
        rounds += 1;
        if rounds.is_multiple_of(FAIR_ROUNDS) {
            tokio::task::yield_now().await;
        }
    }
}

/// Completes when no byte has moved for too long.
pub(crate) async fn idle(sent: &Cell<u64>, received: &Cell<u64>, half_closed: &Cell<bool>) {
    let mut last = (sent.get(), received.get());
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(IDLE_TICK).await;
        let now = (sent.get(), received.get());
        let limit = if half_closed.get() { IDLE_HALF_CLOSED } else { IDLE };
        if now != last {
            last = now;
            since = Instant::now();
        } else if since.elapsed() >= limit {
            return;
        }
    }
}
