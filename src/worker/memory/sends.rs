//! The sends under way, in the order in which they began: the first of them are those whose receivers are slowest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::base::limits;
use crate::net::{Timer, Timers};

/// All sends of a core whose receivers may be slow.
#[derive(Default)]
pub struct Sends {
    open: RefCell<BTreeMap<u64, OpenSend>>,
    next: Cell<u64>,
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
    sends: &'a Sends,
    number: u64,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.sends.open.borrow_mut().remove(&self.number);
    }
}

impl Sends {
    /// Notes a send that holds so many bytes of memory and is bounded by `timer`.
    pub fn note(&self, timer: &Timer, bytes: usize) -> Sending<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        let send = OpenSend {
            timer: timer.number(),
            bytes,
            since: timer.timers().millis(),
        };
        self.open.borrow_mut().insert(number, send);
        Sending {
            sends: self,
            number,
        }
    }

    /// Ends the sends that have been under way for longest, at least for `limits::STALLED_MILLIS`, until they have so
    /// many bytes. Gives their number.
    pub fn end_stalled(&self, timers: &Timers, mut bytes: usize) -> u32 {
        let (mut open, mut ended) = (self.open.borrow_mut(), 0);
        while bytes > 0
            && let Some(first) = open.first_entry()
            && timers.millis() >= first.get().since + limits::STALLED_MILLIS
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
        let pass =
            || (0..limits::STALLED_MILLIS / limits::TICK_MILLIS).for_each(|_| timers.advance());
        let [first, second, third] = [(); 3].map(|()| Timer::new(&timers));
        let expired = || [&first, &second, &third].map(Timer::expired);
        let _first = sends.note(&first, limits::BLOCK_BYTES);
        drop(sends.note(&second, limits::BLOCK_BYTES));
        pass();
        let _third = sends.note(&third, limits::BLOCK_BYTES);
        assert_eq!(sends.end_stalled(&timers, 0), 0);
        assert_eq!(sends.end_stalled(&timers, usize::MAX), 1);
        assert_eq!(
            expired(),
            [true, false, false],
            "the third is not stalled yet"
        );
        let _second = sends.note(&second, limits::BLOCK_BYTES);
        pass();
        assert_eq!(sends.end_stalled(&timers, 1), 1);
        assert_eq!(expired(), [true, false, true], "one was enough");
    }
}
