//! What a worker does when the memory of the process runs short (`base/memory.rs` says how short it is).
//!
//! - **Tight**: windows of HTTP/2 do not grow, relays use ordinary blocks, nothing free is kept.
//! - **Full**: bodies are not read on until there is room again, nobody is accepted, and what is of least use goes: the
//!   idle connections to backends first, then the exchanges whose bytes nobody takes, the longest stalled first.
//!   How many: as many as have this worker's share of what is to be freed.
//! - **Exhausted**: no request begins. If nothing is stalled, those exchanges end that were last to wait for room.
//!
//! An exchange is ended by having the time run out at once that bounds what it waits for, so that it ends like all that
//! wait too long.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::limits;
use crate::base::memory::{self, Level};
use crate::net::{Blocks, Expired, Timer, Timers};
use crate::worker::pace::Waiter;
use crate::worker::wire::Interrupted;

/// What a worker knows of its use of memory.
#[derive(Default)]
pub struct Memory {
    /// The sends under way whose receivers may be slow, in the order in which they began.
    sends: RefCell<BTreeMap<u64, OpenSend>>,
    next_send: Cell<u64>,
    /// Relays that wait for room.
    waiting: RefCell<VecDeque<WaitingRelay>>,
    /// Relays that were let go on in this tick and have not passed on yet what they took.
    admitted: Cell<usize>,
    /// How many may be.
    places: Cell<usize>,
    /// Requests that wait to begin.
    late: RefCell<Vec<Waker>>,
    /// The core's millisecond in which stalled exchanges were ended last.
    relieved_at: Cell<Option<u64>>,
    /// The most that the thread had allocated since it last returned memory to the system.
    peak: Cell<usize>,
    /// When an exchange was last under way, in the core's milliseconds.
    busy_at: Cell<u64>,
    ended_in_tick: Cell<u32>,
    /// What happened for want of memory since it was last logged.
    ended: Cell<u32>,
    refused: Cell<u32>,
}

struct WaitingRelay {
    waiter: Rc<Waiter>,
    /// The number of the timer that bounds its wait.
    timer: u32,
}

struct OpenSend {
    /// The number of the timer that bounds it.
    timer: u32,
    /// Bytes of memory that it holds.
    bytes: usize,
    /// The core's millisecond in which it began.
    since: u64,
}

/// A send under way, until this is dropped.
pub struct Sending<'a> {
    memory: &'a Memory,
    number: u64,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.memory.sends.borrow_mut().remove(&self.number);
    }
}

/// A relay that may take more of a body although memory is short, or waits for that.
pub struct Admission<'a> {
    memory: &'a Memory,
    waiter: Rc<Waiter>,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.waiter.may_go() {
            let memory = self.memory;
            memory.admitted.set(memory.admitted.get().saturating_sub(1));
            memory.let_go_on();
        }
    }
}

impl WaitingRelay {
    /// Whether it has not been given up.
    fn is_there(&self) -> bool {
        Rc::strong_count(&self.waiter) > 1
    }
}

impl Memory {
    /// Notes a send of a block with so many bytes of memory, which is bounded by `timer`.
    pub fn note_send(&self, timer: &Timer, bytes: usize) -> Sending<'_> {
        let number = self.next_send.get();
        self.next_send.set(number + 1);
        let send = OpenSend {
            timer: timer.number(),
            bytes,
            since: timer.timers().millis(),
        };
        self.sends.borrow_mut().insert(number, send);
        Sending {
            memory: self,
            number,
        }
    }

    /// Waits until there is room for more of a body, at most until the timer's deadline. `watch` is polled meanwhile.
    /// What is given is kept until that was passed on.
    pub async fn admit<F>(
        &self,
        timer: &Timer,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<Option<Admission<'_>>, Interrupted<F>> {
        if memory::level() < Level::Full && self.waiting.borrow().is_empty() {
            return Ok(None);
        }
        let admission = Admission {
            memory: self,
            waiter: Rc::default(),
        };
        self.waiting.borrow_mut().push_back(WaitingRelay {
            waiter: admission.waiter.clone(),
            timer: timer.number(),
        });
        self.let_go_on();
        let waited = timer.bound(|cx| match admission.waiter.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => watch(cx).map(Err),
        });
        match waited.await {
            Ok(Ok(())) => Ok(Some(admission)),
            Ok(Err(seen)) => Err(Interrupted::Watched(seen)),
            Err(_) => Err(Interrupted::Expired),
        }
    }

    /// Waits for a while until a request may begin: while memory is exhausted, none does. Errors: it still is.
    pub async fn wait_to_begin(&self, timer: &Timer) -> Result<(), Expired> {
        if memory::level() < Level::Exhausted {
            return Ok(());
        }
        timer.set(Duration::from_millis(limits::MEMORY_WAIT_MILLIS));
        let waited = timer.bound(|cx| {
            if memory::level() < Level::Exhausted {
                return Poll::Ready(());
            }
            self.late.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        });
        waited.await
    }

    /// Begins another tick: those who were let go on in the last one and are still at it no longer stand in the way of
    /// others. They may be stalled, and more of those who wait, too: the more were found in the last tick, the more are
    /// looked for in this one.
    pub fn begin_tick(&self) {
        let ended = self.ended_in_tick.take() as usize;
        let fit = memory::usage().room() / limits::MEMORY_SHARES / limits::BLOCK_BYTES;
        let places = (2 * ended).max(self.places.get() / 2).max(fit);
        self.places.set(places.max(limits::RELAYS_PER_TURN));
        self.waiting.borrow_mut().retain(WaitingRelay::is_there);
        self.admitted.set(0);
        self.let_go_on();
        self.late.take().into_iter().for_each(Waker::wake);
    }

    /// Lets relays go on, the longest waiting first, as far as there are places. They get rid of what they hold, or turn
    /// out to be stalled.
    fn let_go_on(&self) {
        let mut waiting = self.waiting.borrow_mut();
        while self.admitted.get() < self.places.get()
            && let Some(first) = waiting.pop_front()
        {
            if first.is_there() {
                self.admitted.set(self.admitted.get() + 1);
                first.waiter.go();
            }
        }
    }

    /// Whether memory is full and nothing was done about it since the last tick.
    pub fn is_relief_due(&self, now: u64) -> bool {
        memory::level() >= Level::Full && self.relieved_at.replace(Some(now)) != Some(now)
    }

    /// Ends exchanges that are stalled, the longest stalled first, until this worker's share of what is to be freed is
    /// free, and what its relays wait for. Gives their number.
    pub fn end_stalled(&self, timers: &Timers) -> u32 {
        let wanted = self.waiting.borrow().len() * limits::BLOCK_BYTES;
        let bytes = memory::excess_of_thread() + wanted;
        let mut ended = self.end_longest(timers, bytes, limits::STALLED_MILLIS);
        if ended == 0 && memory::level() == Level::Exhausted {
            ended = self.end_latest(timers, memory::excess_of_thread());
        }
        self.ended.set(self.ended.get() + ended);
        self.ended_in_tick.set(self.ended_in_tick.get() + ended);
        ended
    }

    /// Ends sends that have been under way for `least` milliseconds until they have so many bytes.
    fn end_longest(&self, timers: &Timers, mut bytes: usize, least: u64) -> u32 {
        let (mut sends, mut ended) = (self.sends.borrow_mut(), 0);
        while bytes > 0
            && let Some(first) = sends.first_entry()
            && timers.millis() >= first.get().since + least
        {
            let send = first.remove();
            timers.expire(send.timer);
            bytes = bytes.saturating_sub(send.bytes + limits::BLOCK_BYTES);
            ended += 1;
        }
        ended
    }

    /// Ends relays that wait for room, those that came last first, until they have so many bytes.
    fn end_latest(&self, timers: &Timers, bytes: usize) -> u32 {
        let mut waiting = self.waiting.borrow_mut();
        let count = bytes
            .div_ceil(limits::MEMORY_STREAM_BYTES)
            .min(waiting.len());
        let kept = waiting.len() - count;
        let latest = waiting.drain(kept..);
        let there = latest.filter(WaitingRelay::is_there);
        there.map(|relay| timers.expire(relay.timer)).count() as u32
    }

    /// Counts streams that were refused for want of memory.
    pub fn note_refused(&self, streams: u32) {
        self.refused.set(self.refused.get() + streams);
    }

    /// What happened for want of memory since the last call, in words; `None`: nothing.
    pub fn complaint(&self) -> Option<String> {
        let (ended, refused) = (self.ended.take(), self.refused.take());
        let usage = memory::usage();
        if ended == 0 && refused == 0 && usage.level() < Level::Full {
            return None;
        }
        let (used, budget) = (usage.used >> 20, usage.budget >> 20);
        Some(format!(
            "memory is short: {used} of {budget} MiB (limits.memory_bytes) are in use; {ended} exchanges whose bytes \
             nobody took were ended and {refused} streams of HTTP/2 refused"
        ))
    }

    /// Returns memory to the system, if there is some to return and this worker has nothing else to do. At most once
    /// a second.
    pub fn purge_if_idle(&self, is_busy: bool, now: u64, blocks: &Blocks) {
        let allocated = memory::allocated_by_thread();
        let peak = self.peak.get().max(allocated);
        self.peak.set(peak);
        if is_busy {
            self.busy_at.set(now);
        }
        let idle = now.saturating_sub(self.busy_at.get());
        let freed = peak - allocated + blocks.free_bytes();
        if idle >= limits::PURGE_IDLE_MILLIS && freed >= limits::PURGE_BYTES {
            blocks.drop_free();
            memory::purge();
            self.peak.set(memory::allocated_by_thread());
            self.busy_at.set(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stalled_are_ended_until_enough_is_free() {
        let (memory, timers) = (Memory::default(), Rc::<Timers>::default());
        let timer = || Timer::new(&timers);
        let (first, second, third) = (timer(), timer(), timer());
        let _first = memory.note_send(&first, limits::BLOCK_BYTES);
        let finished = memory.note_send(&second, limits::BLOCK_BYTES);
        drop(finished);
        timers.advance();
        let _third = memory.note_send(&third, limits::BLOCK_BYTES);
        let least = limits::TICK_MILLIS;
        assert_eq!(memory.end_longest(&timers, 0, least), 0);
        assert_eq!(memory.end_longest(&timers, usize::MAX, least), 1);
        let expired = || [&first, &second, &third].map(Timer::expired);
        assert_eq!(expired(), [true, false, false]);
        let _fourth = memory.note_send(&second, limits::BLOCK_BYTES);
        assert_eq!(memory.end_longest(&timers, 1, 0), 1);
        assert_eq!(expired(), [true, false, true], "one was enough");
    }
}
