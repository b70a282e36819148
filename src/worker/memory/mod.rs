//! The acts of a worker when the memory of the process runs short (`base/memory` says how short it is).
//!
//! - **Tight**: windows of HTTP/2 do not grow, relays use ordinary blocks, nothing free is kept.
//! - **Full**: bodies are not read on until there is room again, few clients are accepted, and what is of least use
//!   goes: idle connections first, then the exchanges whose bytes nobody takes, the longest stalled first. How many: as
//!   many as have this worker's share of what is to be freed.
//! - **Exhausted**: no request begins, and who waits for that too long is told so. If nothing is stalled, those
//!   exchanges end that were last to wait for room and hold a part of a body.
//!
//! An exchange is ended by having the time run out at once that bounds what it waits for, so that it ends like all that
//! wait too long.

mod relays;
pub mod relief;
mod sends;

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::limits;
use crate::base::memory::{self, Level, Promise};
use crate::net::{Blocks, Expired, Interrupted, Timer, Timers};
use relays::Relays;
use sends::Sends;

pub use relays::RelayAdmission;
pub use sends::Sending;

/// The use of memory of a worker.
#[derive(Default)]
pub struct Memory {
    sends: Sends,
    relays: Relays,
    /// Connections accepted in this tick.
    accepted: Cell<usize>,
    /// Requests that wait to begin.
    late: RefCell<Vec<Waker>>,
    /// The core's millisecond in which something was last done about full memory.
    relieved_at: Cell<Option<u64>>,
    /// Exchanges that were ended in this tick.
    ended_in_tick: Cell<u32>,
    /// The most that the thread had allocated since it last returned memory to the system.
    peak: Cell<usize>,
    /// When an exchange was last under way, or memory was returned, in the core's milliseconds.
    idle_since: Cell<u64>,
    /// When memory was last returned to the system, likewise.
    purged_at: Cell<u64>,
    /// Exchanges that were ended for want of memory since that was last logged.
    ended: Cell<u32>,
    refused: Cell<u32>,
}

impl Memory {
    /// Notes a send that holds so many bytes of memory and is bounded by `timer`.
    pub fn note_send(&self, timer: &Timer, bytes: usize) -> Sending<'_> {
        self.sends.note(timer, bytes)
    }

    /// Waits until there is room for more of a body, at most until the timer's deadline. `watch` is polled meanwhile.
    /// The caller keeps the admission until it has passed these bytes on. `held`: bytes of the body that this process
    /// has received and not passed on yet.
    pub async fn admit<F>(
        &self,
        timer: &Timer,
        held: usize,
        watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<Option<RelayAdmission<'_>>, Interrupted<F>> {
        if memory::level() < Level::Full && self.relays.waiting() == 0 {
            return Ok(None);
        }
        self.relays.wait(timer, held, watch).await.map(Some)
    }

    /// Counts an accepted connection.
    pub fn note_accepted(&self) {
        self.accepted.set(self.accepted.get() + 1);
    }

    /// Whether this worker, one of so many, may accept a connection. What a crowd that comes at once will take is not
    /// known before the next tick: until then all workers accept at most half of those for whom there would be room.
    pub fn may_accept(&self, workers: usize) -> bool {
        debug_assert!(workers > 0);
        let usage = memory::usage();
        let most = usage.room() / limits::MEMORY_STREAM_BYTES / 2 / workers;
        let most = if usage.level() < Level::Full {
            most.max(limits::MEMORY_ACCEPTS_LEAST)
        } else {
            limits::MEMORY_ACCEPTS_LEAST
        };
        self.accepted.get() < most
    }

    /// Waits for a while until a request may begin: while memory is exhausted, or promised to others, none does.
    /// `watch` is polled meanwhile. Errors: memory still is, or what is watched happened.
    pub async fn begin<F>(
        &self,
        timer: &Timer,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<Promise, Interrupted<F>> {
        if memory::may_begin() {
            return Ok(memory::promise());
        }
        timer.set(Duration::from_millis(limits::MEMORY_WAIT_MILLIS));
        let waited = timer.bound(|cx| {
            if memory::may_begin() {
                return Poll::Ready(Ok(memory::promise()));
            }
            self.late.borrow_mut().push(cx.waker().clone());
            watch(cx).map(Err)
        });
        match waited.await {
            Ok(Ok(promise)) => Ok(promise),
            Ok(Err(seen)) => Err(Interrupted::Watched(seen)),
            Err(Expired) => Err(Interrupted::Expired),
        }
    }

    /// Lets those go on who wait, as far as there is room: once a tick, after what could be freed was freed.
    pub fn begin_tick(&self) {
        let fit = memory::usage().room() / limits::MEMORY_SHARES / limits::BLOCK_BYTES;
        self.relays
            .begin_tick(fit, self.ended_in_tick.take() as usize);
        self.accepted.set(0);
        self.late.take().into_iter().for_each(Waker::wake);
    }

    /// Whether memory is full and nothing was done about it since the last tick.
    pub fn is_relief_due(&self, now: u64) -> bool {
        memory::level() >= Level::Full && self.relieved_at.replace(Some(now)) != Some(now)
    }

    /// Ends exchanges that are stalled, the longest stalled first, until this worker's share of what is to be freed is
    /// free, and what its relays wait for. Gives their number.
    pub fn end_stalled(&self, timers: &Timers) -> u32 {
        let excess = memory::excess_of_thread();
        let is_exhausted = memory::level() == Level::Exhausted;
        let millis = if is_exhausted {
            limits::STALLED_EXHAUSTED_MILLIS
        } else {
            limits::STALLED_MILLIS
        };
        let wanted = self.relays.waiting() * limits::BLOCK_BYTES;
        let mut ended = self.sends.end_stalled(timers, millis, excess + wanted);
        if ended == 0 && is_exhausted {
            ended = self.relays.end_latest(timers, excess);
        }
        self.ended.set(self.ended.get() + ended);
        self.ended_in_tick.set(self.ended_in_tick.get() + ended);
        ended
    }

    /// Counts streams that were refused for want of memory.
    pub fn note_refused(&self, streams: u32) {
        self.refused.set(self.refused.get() + streams);
    }

    /// A sentence on what happened for want of memory since the last call; `None`: nothing.
    pub fn complaint(&self) -> Option<String> {
        let (ended, refused) = (self.ended.take(), self.refused.take());
        let usage = memory::usage();
        if ended == 0 && refused == 0 && usage.level() < Level::Full {
            return None;
        }
        let (used, budget) = (usage.used >> 20, usage.budget >> 20);
        Some(format!(
            "memory is short: {used} of {budget} MiB (limits.memory_bytes) are in use; {ended} exchanges were ended \
             and {refused} streams of HTTP/2 refused"
        ))
    }

    /// Returns memory to the system, if there is some to return and this worker has nothing else to do: at most once
    /// a second. Where there is much, it does so from time to time even if there is always something to do, and so it
    /// does when memory is short and the allocator holds some that is free.
    pub fn purge_if_due(&self, is_busy: bool, now: u64, blocks: &Blocks) {
        let allocated = memory::allocated_by_thread();
        let peak = self.peak.get().max(allocated);
        self.peak.set(peak);
        if is_busy {
            self.idle_since.set(now);
        }
        let freed = peak - allocated + blocks.free_bytes();
        let idle = now.saturating_sub(self.idle_since.get());
        let is_idle = idle >= limits::PURGE_IDLE_MILLIS
            && (freed >= limits::PURGE_BYTES || memory::is_more_resident());
        let since = now.saturating_sub(self.purged_at.get());
        let is_much = freed >= limits::PURGE_BUSY_BYTES && freed >= allocated;
        let is_short = since >= limits::PURGE_SHORT_MILLIS && memory::is_resident_short();
        if is_idle || since >= limits::PURGE_BUSY_MILLIS && is_much || is_short {
            blocks.drop_free();
            memory::purge();
            self.peak.set(memory::allocated_by_thread());
            self.idle_since.set(now);
            self.purged_at.set(now);
        }
    }
}
