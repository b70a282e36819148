//! What wakes a core besides its sockets: another thread's message, the tick, its own politeness.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::net::TcpStream;

use super::operations::count_operation;
use crate::base::limits;
use crate::base::time::Micros;

/// A descriptor that becomes readable now and then: an eventfd or a timerfd.
pub struct Event {
    /// The engine can wait for the readiness of a stream only; that it is none is of no concern for waiting.
    fd: TcpStream,
}

impl Event {
    /// Waits on a copy of `fd`, which stays the caller's.
    pub fn new(fd: RawFd) -> io::Result<Event> {
        // SAFETY: plain system call; the copy is owned by the stream made of it.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        Event::owning(copy)
    }

    fn owning(fd: RawFd) -> io::Result<Event> {
        // SAFETY: the caller hands over a descriptor that nobody else closes.
        let stream = unsafe { std::net::TcpStream::from_raw_fd(fd) };
        Ok(Event {
            fd: TcpStream::from_std(stream)?,
        })
    }

    /// Waits until the descriptor is readable.
    pub async fn wait(&self) -> io::Result<()> {
        count_operation();
        #[cfg(test)]
        if let Some(kernel) = crate::simulated::kernel() {
            use std::os::fd::AsRawFd;
            kernel.hear(self.fd.as_raw_fd()).await;
            return Ok(());
        }
        self.fd.readable(false).await
    }

    /// How often it became ready since the last call; 0 if it is not ready.
    fn read_count(&self) -> u64 {
        use std::os::fd::AsRawFd;
        let mut count = [0u8; 8];
        // SAFETY: reads eight bytes into a live array; the descriptor does not block.
        unsafe { libc::read(self.fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        u64::from_ne_bytes(count)
    }
}

const TICK: Duration = Duration::from_millis(limits::TICK_MILLIS);

/// The core's tick.
pub struct Ticker {
    event: Event,
    /// When the next tick is due.
    due: Cell<Micros>,
}

impl Ticker {
    /// Ticks every `limits::TICK_MILLIS`.
    pub fn new() -> io::Result<Ticker> {
        let period = libc::timespec {
            tv_sec: 0,
            tv_nsec: (limits::TICK_MILLIS * 1_000_000) as libc::c_long,
        };
        let periodic = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: plain system calls with live arguments; the descriptor is owned by the event made of it.
        unsafe {
            let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, flags);
            if fd < 0 || libc::timerfd_settime(fd, 0, &periodic, std::ptr::null_mut()) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Ticker {
                event: Event::owning(fd)?,
                due: Cell::new(Micros::now().after(TICK)),
            })
        }
    }

    /// Waits for the next tick; how late it is taken up, in microseconds. Ticks that passed meanwhile count as one, as
    /// late as the first of them.
    pub async fn tick(&self) -> io::Result<u64> {
        #[cfg(test)]
        if let Some(kernel) = crate::simulated::kernel() {
            let due = self.due.get();
            kernel.sleep_until(due.0).await;
            self.due.set(due.after(TICK));
            return Ok(Micros::now().since(due));
        }
        self.event.wait().await?;
        let passed = self.event.read_count();
        let due = self.due.get();
        self.due.set(due.after(TICK * passed as u32));
        Ok(Micros::now().since(due))
    }
}

/// Lets others have their turn: a task that wakes itself would starve them, one that goes through the ring does not.
pub struct Turn {
    always_readable: Event,
}

impl Turn {
    /// Needs one descriptor.
    pub fn new() -> io::Result<Turn> {
        // SAFETY: plain system call; the descriptor is owned by the event made of it.
        let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Turn {
            always_readable: Event::owning(fd)?,
        })
    }

    /// Comes back after everything that is ready now has run.
    pub async fn pass(&self) {
        #[cfg(test)]
        if let Some(kernel) = crate::simulated::kernel() {
            return kernel.pass_turn().await;
        }
        let mut passing = pin!(self.always_readable.wait());
        let is_over = poll_fn(|cx| Poll::Ready(passing.as_mut().poll(cx).is_ready())).await;
        match is_over {
            // Without a ring there is nothing to go through. There a task that wakes itself starves nobody: the sockets
            // are looked at before it runs again.
            true => wake_again().await,
            false => drop(passing.await),
        }
    }
}

/// Comes back when this task is run for the next time.
async fn wake_again() {
    let mut is_woken = false;
    poll_fn(|cx| {
        if is_woken {
            return Poll::Ready(());
        }
        is_woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
