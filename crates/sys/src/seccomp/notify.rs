//! The listening side of [`super::Action::Notify`] (seccomp_unotify(2)).
//!
//! Used to *see* what is executed. A notified syscall may name memory that the caller changes
//! after it was read here, so letting it go on must never be a decision about that memory.

use super::limits::NOTIFICATION_BYTES;
use crate::bpf::SeccompData;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const GET_NOTIF_SIZES: libc::c_ulong = 3;
const IOCTL_RECV: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
const IOCTL_SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;
const IOCTL_ID_VALID: libc::Ioctl = 0x4008_2102_u32 as libc::Ioctl;
const IOCTL_SET_FLAGS: libc::Ioctl = 0x4008_2104_u32 as libc::Ioctl;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`.
const SYNC_WAKE_UP: libc::c_ulong = 1;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const FLAG_CONTINUE: u32 = 1;

/// Why a notification could not be received or answered.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The caller died or was interrupted; its notification is void.
    #[error("the notified process is gone; drop this notification and receive the next")]
    Gone,
    /// A signal came first.
    #[error("receiving a notification was interrupted by a signal; receive again")]
    Interrupted,
    /// The kernel's structs do not fit.
    #[error(
        "the kernel's seccomp notification has {0} bytes, more than {NOTIFICATION_BYTES}; \
         update ringfence, or do without notify_exec"
    )]
    TooLarge(u16),
    /// Any other failure.
    #[error("seccomp listener: {operation} failed; check `ringfence doctor`")]
    Os {
        /// The call that failed.
        operation: &'static str,
        /// Its error.
        source: io::Error,
    },
}

/// One syscall that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Cookie of this syscall, unique per listener.
    pub id: u64,
    /// Thread that called, in the listener's pid namespace; 0 if it is not visible there.
    pub pid: u32,
    /// Number, architecture and arguments.
    pub data: SeccompData,
}

/// What [`Listener::wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A notification waits (or was there a moment ago).
    Pending,
    /// No process uses the filter any more.
    Closed,
    /// Nothing came in time.
    TimedOut,
}

/// A listener with the kernel's struct sizes checked.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

/// `struct seccomp_notif_sizes`.
#[repr(C)]
#[derive(Default)]
struct Sizes {
    notification: u16,
    response: u16,
    data: u16,
}

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawNotification {
    id: u64,
    pid: u32,
    flags: u32,
    data: SeccompData,
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawResponse {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Memory as large as any struct of the kernel that we accept; the known struct is its head.
#[repr(C)]
union Buffer<T: Copy> {
    known: T,
    room: [u64; NOTIFICATION_BYTES / 8],
}

impl<T: Copy> Buffer<T> {
    const fn zeroed() -> Self {
        Self { room: [0; NOTIFICATION_BYTES / 8] }
    }
}

impl Listener {
    /// Takes the descriptor that [`super::install`] returned.
    ///
    /// # Errors
    /// [`NotifyError::TooLarge`] if the kernel's structs outgrew the limit.
    pub fn new(fd: OwnedFd) -> Result<Self, NotifyError> {
        let mut sizes = Sizes::default();
        // SAFETY: `sizes` is a `seccomp_notif_sizes` that the kernel fills.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, GET_NOTIF_SIZES, 0, std::ptr::from_mut(&mut sizes))
        };
        check(result, "SECCOMP_GET_NOTIF_SIZES")?;
        let largest = sizes.notification.max(sizes.response).max(sizes.data);
        if usize::from(largest) > NOTIFICATION_BYTES {
            return Err(NotifyError::TooLarge(largest));
        }
        Ok(Self { fd })
    }

    /// Waits until a notification is there, the last user of the filter is gone, or `timeout`
    /// (none: no end) has passed.
    ///
    /// # Errors
    /// [`NotifyError::Interrupted`] or [`NotifyError::Os`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Readiness, NotifyError> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        poll(&mut fds, timeout.as_ref()).map_err(|errno| failure(errno.into(), "poll"))?;
        let seen = fds[0].revents();
        Ok(if seen.contains(PollFlags::IN) {
            Readiness::Pending
        } else if seen.is_empty() {
            Readiness::TimedOut
        } else {
            Readiness::Closed
        })
    }

    /// Takes the next notification and blocks until there is one: call [`Self::wait`] first, since
    /// older kernels block for good when the last user of the filter is gone.
    ///
    /// # Errors
    /// [`NotifyError::Gone`] if the caller vanished meanwhile, [`NotifyError::Interrupted`].
    pub fn receive(&self) -> Result<Notification, NotifyError> {
        let mut buffer = Buffer::<RawNotification>::zeroed();
        // SAFETY: `buffer` is zeroed as the call demands and at least as large as the kernel's
        // struct, which `new` has checked.
        let result = unsafe {
            libc::ioctl(self.fd.as_raw_fd(), IOCTL_RECV, std::ptr::from_mut(&mut buffer))
        };
        check(result.into(), "SECCOMP_IOCTL_NOTIF_RECV")?;
        // SAFETY: every bit pattern is a valid `RawNotification`.
        let raw = unsafe { buffer.known };
        Ok(Notification { id: raw.id, pid: raw.pid, data: raw.data })
    }

    /// Whether the syscall of `id` still waits. Whatever was read about its process by pid before
    /// this answered true belongs to that process and to no later one with the same pid.
    ///
    /// # Errors
    /// [`NotifyError::Os`].
    pub fn id_valid(&self, id: u64) -> Result<bool, NotifyError> {
        // SAFETY: the call reads one u64.
        let result =
            unsafe { libc::ioctl(self.fd.as_raw_fd(), IOCTL_ID_VALID, std::ptr::from_ref(&id)) };
        match check(result.into(), "SECCOMP_IOCTL_NOTIF_ID_VALID") {
            Ok(()) => Ok(true),
            Err(NotifyError::Gone) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Asks the kernel to wake caller and listener on one processor (Linux 6.6): a call that is
    /// answered at once then costs a tenth. Older kernels go on as they are.
    pub fn wake_in_place(&self) {
        // SAFETY: the call takes a number and touches no memory of ours.
        let _ = unsafe { libc::ioctl(self.fd.as_raw_fd(), IOCTL_SET_FLAGS, SYNC_WAKE_UP) };
    }

    /// Lets the kernel run the syscall.
    ///
    /// # Errors
    /// [`NotifyError::Gone`] or [`NotifyError::Os`].
    pub fn respond_continue(&self, id: u64) -> Result<(), NotifyError> {
        self.respond(RawResponse { id, value: 0, error: 0, flags: FLAG_CONTINUE })
    }

    /// Answers in the syscall's place: it returns 0, and the kernel does not run it.
    ///
    /// # Errors
    /// [`NotifyError::Gone`] or [`NotifyError::Os`].
    pub fn respond_done(&self, id: u64) -> Result<(), NotifyError> {
        self.respond(RawResponse { id, value: 0, error: 0, flags: 0 })
    }

    /// Fails the syscall with `errno` (positive).
    ///
    /// # Errors
    /// [`NotifyError::Gone`] or [`NotifyError::Os`].
    pub fn respond_errno(&self, id: u64, errno: u16) -> Result<(), NotifyError> {
        self.respond(RawResponse { id, value: 0, error: -i32::from(errno), flags: 0 })
    }

    fn respond(&self, response: RawResponse) -> Result<(), NotifyError> {
        let mut buffer = Buffer::<RawResponse>::zeroed();
        buffer.known = response;
        // SAFETY: `buffer` is at least as large as the kernel's struct, which `new` has checked.
        let result = unsafe {
            libc::ioctl(self.fd.as_raw_fd(), IOCTL_SEND, std::ptr::from_mut(&mut buffer))
        };
        check(result.into(), "SECCOMP_IOCTL_NOTIF_SEND")
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.fd
    }
}

fn check(result: libc::c_long, operation: &'static str) -> Result<(), NotifyError> {
    if result < 0 { Err(failure(io::Error::last_os_error(), operation)) } else { Ok(()) }
}

fn failure(source: io::Error, operation: &'static str) -> NotifyError {
    match source.raw_os_error() {
        Some(libc::ENOENT) => NotifyError::Gone,
        Some(libc::EINTR) => NotifyError::Interrupted,
        _ => NotifyError::Os { operation, source },
    }
}

const _: () = assert!(size_of::<RawNotification>() == 80);
const _: () = assert!(size_of::<RawResponse>() == 24);
