//! The acts of a worker when the memory of the process is short (`base/memory` defines the levels).
//!
//! - **Tight**: windows of HTTP/2 do not grow, relays use ordinary blocks, and no free memory is kept.
//! - **Full**: no more of a body is read until there is memory for it, and few clients are accepted. Memory of the
//!   least use is freed: idle connections are closed, then stalled exchanges are ended, the longest stalled first,
//!   until the worker's share of the excess is free.
//! - **Exhausted**: no request begins, and a request that waits too long for its beginning fails. If no exchange is
//!   stalled, those exchanges end that hold a part of a body and began to wait last.
//!
//! To end an exchange, the worker lets the timer of its present wait expire at once, so that the exchange ends like
//! every exchange that has waited for too long.

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
    /// The core's millisecond of the last attempt to free memory.
    relieved_at: Cell<Option<u64>>,
    /// Exchanges that were ended in this tick.
    ended_in_tick: Cell<u32>,
    /// The most memory that the thread had allocated since it last returned memory to the system, in bytes.
    peak: Cell<usize>,
    /// The core's millisecond in which an exchange was last under way, or memory was last returned to the system.
    idle_since: Cell<u64>,
    /// The core's millisecond in which memory was last returned to the system.
    purged_at: Cell<u64>,
    /// Exchanges that were ended for want of memory since the last log line about them.
    ended: Cell<u32>,
    refused: Cell<u32>,
}

impl Memory {
    /// Lists a send that holds so many bytes of memory and is bounded by `timer`.
    pub fn note_send(&self, timer: &Timer, bytes: usize) -> Sending<'_> {
        self.sends.note(timer, bytes)
    }

    /// Waits until there is memory for more of a body, at most until the timer's deadline. `watch` is polled meanwhile.
    /// The caller keeps the admission until it has passed the next bytes on. `held`: bytes of the body that this
    /// process has received and not passed on yet.
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

    /// Whether this worker, one of so many, may accept a connection. The memory that many clients need which come at
    /// once is not known before the next tick. Until then all workers together accept at most half of the clients for
    /// whom there is memory.
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

    /// Waits until a request may begin, at most for `limits::MEMORY_WAIT_MILLIS`: no request begins while memory is
    /// exhausted or promised to others. `watch` is polled meanwhile. Errors: the time is over, or `watch` was ready.
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

    /// Lets waiting relays and requests go on, as far as there is memory: once a tick, after memory was freed.
    pub fn begin_tick(&self) {
        let fit = memory::usage().room() / limits::MEMORY_SHARES / limits::BLOCK_BYTES;
        self.relays
            .begin_tick(fit, self.ended_in_tick.take() as usize);
        self.accepted.set(0);
        self.late.take().into_iter().for_each(Waker::wake);
    }

    /// Whether memory is full and the worker has not tried to free any since the last tick.
    pub fn is_relief_due(&self, now: u64) -> bool {
        memory::level() >= Level::Full && self.relieved_at.replace(Some(now)) != Some(now)
    }

    /// Ends stalled exchanges, the longest stalled first, until they free this worker's share of the excess and the
    /// memory that its relays wait for. The result is their number.
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

    /// A sentence about exchanges and streams that were ended for want of memory since the last call; `None`: there
    /// were none, and memory is not full.
    pub fn complaint(&self) -> Option<String> {
        let (ended, refused) = (self.ended.take(), self.refused.take());
        let usage = memory::usage();
        if ended == 0 && refused == 0 && usage.level() < Level::Full {
            return None;
        }
        let (used, budget) = (usage.used >> 20, usage.budget >> 20);
        Some(format!(
            "memory is short: {used} of {budget} MiB (limits.memory) are in use; {ended} exchanges were ended \
             and {refused} streams of HTTP/2 refused"
        ))
    }

    /// Returns free memory to the system: when this worker is idle, at most once a second; when there is much free
    /// memory, from time to time even under load; and when memory is short and the allocator holds free memory.
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
