//! Events that wake a core besides its sockets: another thread's message, the tick, its own politeness.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::net::TcpStream;
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::operations::count_operation;
use crate::base::limits;
use crate::base::time::Micros;

/// A descriptor that becomes readable now and then: an eventfd or a timerfd.
pub struct WakeEvent {
    /// The engine can wait for the readiness of a stream only; that it is none is of no concern for waiting.
    fd: TcpStream,
}

impl WakeEvent {
    /// Takes over a descriptor. Errors: the engine does not take the descriptor.
    pub fn new(fd: OwnedFd) -> io::Result<WakeEvent> {
        Ok(WakeEvent {
            fd: TcpStream::from_std(fd.into())?,
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
    #[expect(
        unsafe_code,
        reason = "the engine gives away its descriptor as a number alone"
    )]
    fn read_count(&self) -> u64 {
        let mut count = [0u8; 8];
        // SAFETY: the stream has the descriptor open for longer than this call lasts.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd.as_raw_fd()) };
        let _ = rustix::io::read(fd, &mut count); // Nothing is written if the descriptor is not ready.
        u64::from_ne_bytes(count)
    }
}

const TICK: Duration = Duration::from_millis(limits::TICK_MILLIS);

/// The core's tick.
pub struct Ticker {
    event: WakeEvent,
    /// When the next tick is due.
    due: Cell<Micros>,
}

impl Ticker {
    /// Ticks every `limits::TICK_MILLIS`.
    pub fn new() -> io::Result<Ticker> {
        let period = Timespec {
            tv_sec: 0,
            tv_nsec: (limits::TICK_MILLIS * 1_000_000) as i64,
        };
        let periodic = Itimerspec {
            it_interval: period,
            it_value: period,
        };
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        timerfd_settime(&fd, TimerfdTimerFlags::empty(), &periodic)?;
        Ok(Ticker {
            event: WakeEvent::new(fd)?,
            due: Cell::new(Micros::now().after(TICK)),
        })
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
    always_readable: WakeEvent,
}

impl Turn {
    /// Needs one descriptor.
    pub fn new() -> io::Result<Turn> {
        let fd = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Turn {
            always_readable: WakeEvent::new(fd)?,
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
        if is_over {
            // Without a ring there is nothing to go through. There a task that wakes itself starves nobody: the sockets
            // are looked at before it runs again.
            wake_again().await
        } else {
            drop(passing.await)
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
