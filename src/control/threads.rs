//! The other threads as the control thread sees them: what they are still to be told, and how far the workers have
//! followed.

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::base::addresses::ListenAddr;
use crate::base::ids::WorkerId;
use crate::base::limits;
use crate::messages::{ToHealth, ToWorker};
use crate::net::BoundListener;
use crate::shared::counter::Counter;
use crate::shared::mailbox::Mailbox;
use crate::shared::outbox::Outbox;
use crate::snapshot::Snapshot;

/// The kinds of messages that an outbox holds: the latest of each kind, sent in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// The snapshot in force.
    Snapshot,
    /// After the snapshot, which says how clients that come there are spoken to.
    Listen(ListenAddr),
    /// Requests of old generations are to end.
    EndGenerations,
    /// Another process has taken over.
    Retire,
    /// The process stops.
    Drain,
    /// The process ends now.
    Cut,
}

/// All of them.
#[derive(Debug)]
pub struct Threads {
    workers: Vec<Worker>,
    health: Outbox<Order, ToHealth>,
    health_thread: JoinHandle<()>,
    /// Snapshots that may still be in use. To drop a large one takes a while, and no worker has that: the last
    /// reference is always here.
    retired: Vec<Arc<Snapshot>>,
    /// The number of snapshots in use, including the one in force.
    in_use: Arc<Counter>,
    /// Requests that began under this generation or an earlier one are told to end.
    ended: u64,
}

#[derive(Debug)]
struct Worker {
    mailbox: Mailbox<ToWorker>,
    outbox: Outbox<Order, ToWorker>,
    /// The generation that its requests begin with.
    adopted: u64,
}

impl Threads {
    /// Workers that have begun with this snapshot, and a health thread that knows it.
    pub fn new(
        workers: Vec<Mailbox<ToWorker>>,
        health: (Mailbox<ToHealth>, JoinHandle<()>),
        snapshot: &Arc<Snapshot>,
    ) -> Threads {
        let workers = workers.into_iter().map(|mailbox| Worker {
            outbox: Outbox::new(mailbox.clone()),
            mailbox,
            adopted: snapshot.generation,
        });
        Threads {
            workers: workers.collect(),
            health: Outbox::new(health.0),
            health_thread: health.1,
            retired: Vec::new(),
            in_use: Arc::default(),
            ended: 0,
        }
    }

    /// Tells everybody to use `snapshot` in the place of `before`, and the workers to listen on these sockets.
    pub fn put_in_force(
        &mut self,
        before: Arc<Snapshot>,
        snapshot: &Arc<Snapshot>,
        sockets: Vec<Vec<BoundListener>>,
    ) {
        debug_assert_eq!(
            sockets.len(),
            self.workers.len(),
            "each worker gets its sockets"
        );
        for (worker, sockets) in self.workers.iter_mut().zip(sockets) {
            for bound in sockets {
                let order = Order::Listen(bound.addr.clone());
                worker.outbox.put(order, bound.into());
            }
        }
        self.repeat(snapshot);
        self.health
            .put(Order::Snapshot, ToHealth::Snapshot(snapshot.clone()));
        self.retired.push(before);
        debug_assert!(
            self.retired.is_sorted_by_key(|retired| retired.generation),
            "the oldest come first"
        );
    }

    /// The mailboxes of the workers, for messages that do not wait behind those kept here.
    pub fn mailboxes(&self) -> Vec<Mailbox<ToWorker>> {
        let workers = self.workers.iter();
        workers.map(|worker| worker.mailbox.clone()).collect()
    }

    /// Tells the workers to drain.
    pub fn drain(&mut self) {
        for worker in &mut self.workers {
            worker.outbox.put(Order::Drain, ToWorker::Drain);
        }
    }

    /// Tells the workers to record the requests under way, because the process ends.
    pub fn cut(&mut self) {
        for worker in &mut self.workers {
            worker.outbox.put(Order::Cut, ToWorker::Cut);
        }
    }

    /// Tells the workers to leave what comes from now on to another process.
    pub fn retire(&mut self) {
        for worker in &mut self.workers {
            worker.outbox.put(Order::Retire, ToWorker::Retire);
        }
    }

    /// Whether the health thread has ended.
    pub fn has_health_ended(&self) -> bool {
        self.health_thread.is_finished()
    }

    /// Tells the health thread to stop probing.
    pub fn stop_probing(&mut self) {
        self.health.put(Order::Retire, ToHealth::StopProbing);
    }

    /// Tells the workers once more to use `snapshot`, and with it where to listen.
    pub fn repeat(&mut self, snapshot: &Arc<Snapshot>) {
        for worker in &mut self.workers {
            let message = ToWorker::Snapshot(snapshot.clone());
            worker.outbox.put(Order::Snapshot, message);
        }
    }

    /// Sends what there is room for; whether nothing waits any more.
    pub fn send(&mut self) -> bool {
        let mut all_sent = self.health.send();
        for worker in &mut self.workers {
            all_sent &= worker.outbox.send();
        }
        all_sent
    }

    /// A worker has followed up to this generation.
    pub fn note_adopted(&mut self, worker: WorkerId, generation: u64) {
        let adopted = &mut self.workers[worker.index()].adopted;
        *adopted = generation.max(*adopted);
    }

    /// The generation that every worker has adopted, or a later one.
    pub fn adopted_by_all(&self) -> u64 {
        let adopted = self.workers.iter().map(|worker| worker.adopted);
        adopted.min().unwrap_or(u64::MAX)
    }

    /// The snapshots that nothing uses any more. A reference to a snapshot can only be cloned from another one, so that
    /// none comes back.
    pub fn take_unused(&mut self) -> Vec<Arc<Snapshot>> {
        let is_unused = |snapshot: &mut Arc<Snapshot>| Arc::strong_count(snapshot) == 1;
        let unused = self.retired.extract_if(.., is_unused).collect();
        self.in_use.set(self.retired.len() as u64 + 1);
        unused
    }

    /// The number of snapshots in use.
    pub fn generations(&self) -> Arc<Counter> {
        self.in_use.clone()
    }

    /// Tells requests that began under the oldest snapshots to end if there are more than [`limits::GENERATIONS`]
    /// snapshots. Returns the last generation whose requests are to end, if that has changed.
    pub fn end_oldest(&mut self) -> Option<u64> {
        let surplus = (self.retired.len() + 1).checked_sub(limits::GENERATIONS + 1)?;
        let last = self.retired[surplus].generation;
        if last <= self.ended {
            return None;
        }
        self.ended = last;
        for worker in &mut self.workers {
            let message = ToWorker::EndGenerations(last);
            worker.outbox.put(Order::EndGenerations, message);
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::mailbox::mailbox;
    use crate::snapshot::sample;

    fn ended() -> JoinHandle<()> {
        std::thread::spawn(|| {})
    }

    #[test]
    fn a_generation_is_adopted_when_the_slowest_worker_has_it() {
        let (first, _) = mailbox(1).unwrap();
        let (health, _) = mailbox(1).unwrap();
        let snapshot = sample::snapshot(3, Vec::new());
        let mut threads = Threads::new(vec![first.clone(), first], (health, ended()), &snapshot);
        let rows = [(0, 4, 3), (0, 5, 3), (1, 4, 4), (0, 4, 4), (1, 6, 5)];
        for (worker, generation, all) in rows {
            threads.note_adopted(WorkerId(worker), generation);
            assert_eq!(threads.adopted_by_all(), all, "{worker}: {generation}");
        }
    }

    #[test]
    fn a_snapshot_is_dropped_here_once_nobody_else_has_it() {
        let (worker, inbox) = mailbox(4).unwrap();
        let (health, health_inbox) = mailbox(4).unwrap();
        let [first, second] = [1, 2].map(|generation| sample::snapshot(generation, Vec::new()));
        let mut threads = Threads::new(vec![worker], (health, ended()), &first);
        assert!(threads.send());
        let used_by_a_request = first.clone();
        threads.put_in_force(first, &second, vec![Vec::new()]);
        assert!(threads.send());
        while health_inbox.take().is_some() {}
        assert!(matches!(inbox.take(), Some(ToWorker::Snapshot(_))));
        assert_eq!(threads.take_unused().len(), 0);
        drop(used_by_a_request);
        assert_eq!(threads.take_unused().len(), 1);
    }

    #[test]
    fn what_began_under_the_oldest_of_too_many_snapshots_is_to_end() {
        let (worker, inbox) = mailbox(1000).unwrap();
        let (health, _health_inbox) = mailbox(1000).unwrap();
        let first = sample::snapshot(1, Vec::new());
        let mut threads = Threads::new(vec![worker], (health, ended()), &first);
        let mut used = vec![first];
        for generation in 2..=limits::GENERATIONS as u64 + 2 {
            let snapshot = sample::snapshot(generation, Vec::new());
            let before = used[used.len() - 1].clone();
            threads.put_in_force(before, &snapshot, vec![Vec::new()]);
            threads.send();
            used.push(snapshot);
            threads.take_unused();
            let expected = generation.checked_sub(limits::GENERATIONS as u64);
            assert_eq!(threads.end_oldest(), expected.filter(|last| *last > 0));
            assert_eq!(threads.end_oldest(), None, "it was said");
            assert_eq!(threads.generations().get(), generation);
        }
        threads.send();
        let told = std::iter::from_fn(|| inbox.take());
        let ends = told.filter(|message| matches!(message, ToWorker::EndGenerations(_)));
        assert_eq!(ends.count(), 2);
    }
}
