//! The sends under way, in the order in which their receivers last took bytes: the first send is stalled for longest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::base::limits;
use crate::net::{Timer, Timers};

/// All sends of a core to receivers that may be slow.
#[derive(Default)]
pub struct Sends {
    open: RefCell<BTreeMap<u64, OpenSend>>,
    next: Cell<u64>,
}

struct OpenSend {
    /// The number of the timer that bounds the send.
    timer: u32,
    /// Bytes of memory that the send holds.
    bytes: usize,
    /// The core's millisecond in which the send began, or its receiver last took bytes.
    since: u64,
}

/// A send that is listed until this value is dropped.
pub struct Sending<'a> {
    sends: &'a Sends,
    number: Cell<u64>,
}

impl Sending<'_> {
    /// Notes that the receiver has taken bytes.
    pub fn renew(&self, now: u64) {
        let mut open = self.sends.open.borrow_mut();
        if let Some(send) = open.remove(&self.number.get()) {
            self.number.set(self.sends.next_number());
            debug_assert!(
                open.values()
                    .next_back()
                    .is_none_or(|last| last.since <= now),
                "sends are listed in the order in which they moved"
            );
            open.insert(self.number.get(), OpenSend { since: now, ..send });
        }
    }

    /// Whether the send was ended for want of memory.
    pub fn was_ended(&self) -> bool {
        !self.sends.open.borrow().contains_key(&self.number.get())
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.sends.open.borrow_mut().remove(&self.number.get());
    }
}

impl Sends {
    /// Lists a send that holds so many bytes of memory and is bounded by `timer`.
    pub fn note(&self, timer: &Timer, bytes: usize) -> Sending<'_> {
        let number = self.next_number();
        let send = OpenSend {
            timer: timer.number(),
            bytes,
            since: timer.timers().millis(),
        };
        debug_assert!(
            (self.open.borrow().values().next_back()).is_none_or(|last| last.since <= send.since),
            "sends are listed in the order in which they moved"
        );
        self.open.borrow_mut().insert(number, send);
        Sending {
            sends: self,
            number: Cell::new(number),
        }
    }

    fn next_number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    /// Ends the sends whose receivers have taken no bytes for at least so many milliseconds, the longest stalled first,
    /// until they free so many bytes. The result is their number.
    pub fn end_stalled(&self, timers: &Timers, millis: u64, mut bytes: usize) -> u32 {
        let (mut open, mut ended) = (self.open.borrow_mut(), 0);
        while bytes > 0
            && let Some(first) = open.first_entry()
            && timers.millis() >= first.get().since + millis
        {
            let send = first.remove();
            timers.expire(send.timer);
            bytes = bytes.saturating_sub(send.bytes + limits::BLOCK_BYTES);
            ended += 1;
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_longest_stalled_are_ended_until_enough_is_free() {
        let (sends, timers) = (Sends::default(), Rc::<Timers>::default());
        const STALLED: u64 = 500;
        let pass = || (0..STALLED / limits::TICK_MILLIS).for_each(|_| timers.advance());
        let [first, second, third] = [(); 3].map(|()| Timer::new(&timers));
        let expired = || [&first, &second, &third].map(Timer::expired);
        let _first = sends.note(&first, limits::BLOCK_BYTES);
        drop(sends.note(&second, limits::BLOCK_BYTES));
        pass();
        let _third = sends.note(&third, limits::BLOCK_BYTES);
        assert_eq!(sends.end_stalled(&timers, STALLED, 0), 0);
        assert_eq!(sends.end_stalled(&timers, STALLED, usize::MAX), 1);
        assert_eq!(
            expired(),
            [true, false, false],
            "the third is not stalled yet"
        );
        let _second = sends.note(&second, limits::BLOCK_BYTES);
        pass();
        assert_eq!(sends.end_stalled(&timers, STALLED, 1), 1);
        assert_eq!(expired(), [true, false, true], "one was enough");
    }

    #[test]
    fn who_takes_something_is_not_stalled() {
        let (sends, timers) = (Sends::default(), Rc::<Timers>::default());
        let [slow, stuck] = [(); 2].map(|()| Timer::new(&timers));
        let living = sends.note(&slow, limits::BLOCK_BYTES);
        let dead = sends.note(&stuck, limits::BLOCK_BYTES);
        for _ in 0..10 {
            timers.advance();
            living.renew(timers.millis());
        }
        assert_eq!(sends.end_stalled(&timers, 500, usize::MAX), 1);
        assert_eq!((slow.expired(), stuck.expired()), (false, true));
        assert_eq!((living.was_ended(), dead.was_ended()), (false, true));
        dead.renew(timers.millis());
        assert!(dead.was_ended(), "it stays ended");
    }
}
