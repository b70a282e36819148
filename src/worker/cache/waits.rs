//! The tasks of one core that wait for responses which are being stored, on whatever core that happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

/// The waiting tasks, by the number of the fill that they wait for.
#[derive(Default)]
pub struct Waits {
    tasks: RefCell<BTreeMap<u64, Vec<Weak<Wait>>>>,
}

/// One task that waits for one fill, for as long as the value lives.
#[derive(Default)]
pub struct Wait {
    waker: RefCell<Option<Waker>>,
}

impl Wait {
    /// Lets the calling task be woken when the fill makes progress. The task must look again after this call, because
    /// the fill may have made progress before.
    pub fn set(&self, cx: &mut Context<'_>) {
        let mut known = self.waker.borrow_mut();
        if !known
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *known = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        // The waker stays: a task that is woken for nothing waits again without another clone.
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Waits {
    /// Adds a task that waits for this fill.
    pub fn join(&self, fill: u64) -> Rc<Wait> {
        let wait = Rc::<Wait>::default();
        let mut tasks = self.tasks.borrow_mut();
        tasks.entry(fill).or_default().push(Rc::downgrade(&wait));
        wait
    }

    /// Wakes the tasks that wait for this fill.
    pub fn wake(&self, fill: u64) {
        let mut tasks = self.tasks.borrow_mut();
        let Some(waiting) = tasks.get_mut(&fill) else {
            return;
        };
        waiting.retain(|wait| wait.upgrade().inspect(|wait| wait.wake()).is_some());
        if waiting.is_empty() {
            tasks.remove(&fill);
        }
    }

    /// Wakes all waiting tasks: a message that names a fill may have been lost.
    pub fn wake_all(&self) {
        let waiting = self.tasks.borrow();
        let waiting = waiting.values().flatten().filter_map(Weak::upgrade);
        waiting.for_each(|wait| wait.wake());
    }

    /// Forgets the tasks that wait no longer.
    pub fn forget_gone(&self) {
        self.tasks.borrow_mut().retain(|_, waiting| {
            waiting.retain(|wait| wait.strong_count() > 0);
            !waiting.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_tasks_of_a_fill_are_woken_for_as_long_as_they_wait() {
        let waits = Waits::default();
        let counts = [(); 3].map(|()| Arc::new(Count::default()));
        let join = |(count, fill): (&Arc<Count>, u64)| {
            let wait = waits.join(fill);
            let waker = Waker::from(count.clone());
            wait.set(&mut Context::from_waker(&waker));
            wait
        };
        let mut waiting: Vec<_> = counts.iter().zip([1, 1, 2]).map(join).collect();
        let found = || counts.each_ref().map(|count| count.0.load(Relaxed));
        waits.wake(1);
        assert_eq!(found(), [1, 1, 0]);
        waiting.remove(0);
        waits.wake(1);
        assert_eq!(found(), [1, 2, 0], "the first waits no longer");
        waits.wake_all();
        assert_eq!(found(), [1, 3, 1]);
        waiting.clear();
        waits.forget_gone();
        assert!(waits.tasks.borrow().is_empty());
    }
}
