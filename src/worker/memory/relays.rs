//! The relays that wait for memory for more of a body while memory is full.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::limits;
use crate::net::{Interrupted, Timer, Timers};
use crate::worker::bulk_turns::Waiter;

/// All waiting relays of a core, and the number of those that were admitted.
#[derive(Default)]
pub struct Relays {
    waiting: RefCell<VecDeque<Waiting>>,
    /// Relays that were admitted in this tick and have not passed on yet the bytes that they received.
    admitted: Cell<usize>,
    /// The most relays that may be admitted at the same time.
    places: Cell<usize>,
}

struct Waiting {
    waiter: Rc<Waiter>,
    /// The number of the timer that bounds the wait.
    timer: u32,
    /// Bytes that would be freed if the relay's exchange ended.
    held: usize,
}

impl Waiting {
    /// Whether the relay still waits.
    fn is_there(&self) -> bool {
        Rc::strong_count(&self.waiter) > 1
    }
}

/// The admission of a relay to take more of a body although memory is short, or the relay's wait for an admission.
pub struct RelayAdmission<'a> {
    relays: &'a Relays,
    waiter: Rc<Waiter>,
}

impl Drop for RelayAdmission<'_> {
    fn drop(&mut self) {
        if self.waiter.may_go() {
            let admitted = &self.relays.admitted;
            admitted.set(admitted.get().saturating_sub(1));
            self.relays.let_go_on();
        }
    }
}

impl Relays {
    /// The number of waiting relays.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Waits for an admission, at most until the timer's deadline. `watch` is polled meanwhile. The relay keeps the
    /// admission until it has passed on the bytes that it received.
    pub async fn wait<F>(
        &self,
        timer: &Timer,
        held: usize,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<RelayAdmission<'_>, Interrupted<F>> {
        let admission = RelayAdmission {
            relays: self,
            waiter: Rc::default(),
        };
        self.waiting.borrow_mut().push_back(Waiting {
            waiter: admission.waiter.clone(),
            timer: timer.number(),
            held,
        });
        self.let_go_on();
        let waited = timer.bound(|cx| match admission.waiter.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => watch(cx).map(Err),
        });
        match waited.await {
            Ok(Ok(())) => Ok(admission),
            Ok(Err(seen)) => Err(Interrupted::Watched(seen)),
            Err(_) => Err(Interrupted::Expired),
        }
    }

    /// Begins a tick. `fit`: the number of blocks that there is memory for. `ended`: the number of stalled exchanges
    /// that were ended in the last tick.
    ///
    /// Relays that were admitted in the last tick and are still at work no longer count, because they may be stalled.
    /// The more stalled exchanges were found, the more relays are admitted in this tick to find others.
    pub fn begin_tick(&self, fit: usize, ended: usize) {
        let places = fit.max(2 * ended).max(self.places.get() / 2);
        self.places.set(places.max(limits::MEMORY_RELAYS_LEAST));
        self.waiting.borrow_mut().retain(Waiting::is_there);
        self.admitted.set(0);
        self.let_go_on();
    }

    /// Admits relays, the longest waiting first, up to the bound. An admitted relay passes on the bytes that it holds,
    /// or turns out to be stalled.
    fn let_go_on(&self) {
        debug_assert!(self.admitted.get() <= self.places.get());
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

    /// Ends relays that hold bytes, the one that began to wait last first, until they free so many bytes. The result is
    /// their number.
    pub fn end_latest(&self, timers: &Timers, mut bytes: usize) -> u32 {
        let (mut waiting, mut ended) = (self.waiting.borrow_mut(), 0);
        let mut at = waiting.len();
        while at > 0 && bytes > 0 {
            at -= 1;
            if waiting[at].held == 0 || !waiting[at].is_there() {
                continue;
            }
            if let Some(relay) = waiting.remove(at) {
                debug_assert!(relay.held > 0, "only a relay that holds bytes frees any");
                timers.expire(relay.timer);
                bytes = bytes.saturating_sub(relay.held + limits::BLOCK_BYTES);
                ended += 1;
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::Waker;

    use super::*;
    use crate::worker::wire::nothing;

    type Waits<'a> =
        Pin<Box<dyn Future<Output = Result<RelayAdmission<'a>, Interrupted<Infallible>>> + 'a>>;

    fn poll<'a>(wait: &mut Waits<'a>) -> Poll<Result<RelayAdmission<'a>, Interrupted<Infallible>>> {
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn admission<'a>(wait: &mut Waits<'a>) -> Option<RelayAdmission<'a>> {
        match poll(wait) {
            Poll::Ready(admitted) => Some(admitted.expect("it may go on")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn relays_go_on_in_order_as_places_become_free() {
        let (relays, timers) = (Relays::default(), Rc::<Timers>::default());
        let timer = Timer::new(&timers);
        relays.begin_tick(0, 0);
        let waits = |_| -> Waits<'_> { Box::pin(relays.wait(&timer, 0, nothing)) };
        let mut all: Vec<Waits<'_>> = (0..limits::MEMORY_RELAYS_LEAST + 3).map(waits).collect();
        let mut admitted: Vec<_> = all.iter_mut().filter_map(admission).collect();
        assert_eq!(
            (admitted.len(), relays.waiting()),
            (limits::MEMORY_RELAYS_LEAST, 3)
        );
        let mut late = all.split_off(limits::MEMORY_RELAYS_LEAST);
        drop(late.remove(0)); // The relay has given up.
        admitted.pop();
        assert!(
            admission(&mut late[1]).is_none(),
            "another one was before it"
        );
        let first = admission(&mut late[0]);
        assert!(first.is_some() && relays.waiting() == 1);
        relays.begin_tick(0, 0);
        assert!(admission(&mut late[1]).is_some(), "others may be stalled");
    }

    #[test]
    fn the_last_ones_are_ended() {
        let (relays, timers) = (Relays::default(), Rc::<Timers>::default());
        let (early, late) = (Timer::new(&timers), Timer::new(&timers));
        let mut waits: [Waits<'_>; 2] = [
            Box::pin(relays.wait(&early, 1, nothing)),
            Box::pin(relays.wait(&late, 1, nothing)),
        ];
        assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
        assert_eq!(relays.end_latest(&timers, 1), 1);
        assert!(poll(&mut waits[0]).is_pending());
        assert!(matches!(
            poll(&mut waits[1]),
            Poll::Ready(Err(Interrupted::Expired))
        ));
    }
}
