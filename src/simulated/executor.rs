//! Runs the tasks of all simulated workers on one thread. A worker's loop is the engine's: all tasks that are ready run
//! once, in an order that the seed decides, and whatever they wake runs in the next round.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::clock;
use crate::base::random::SplitMix64;

type Future_ = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of all workers.
#[derive(Default)]
pub struct Executor {
    tasks: RefCell<Vec<Task>>,
    loops: RefCell<Vec<WorkerLoop>>,
    /// The worker whose task runs.
    current: Cell<usize>,
    /// The list of the tasks of a round, empty between rounds.
    round: RefCell<Vec<usize>>,
}

struct Task {
    /// `None`: it runs at this moment, or has ended.
    future: Option<Future_>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct WorkerLoop {
    ready: Arc<Mutex<Vec<usize>>>,
    /// Rounds that have ended.
    rounds: u64,
    /// The tasks that wait for the end of a round.
    passing: Vec<Waker>,
}

impl WorkerLoop {
    fn is_ready(&self) -> bool {
        !self.ready.lock().unwrap().is_empty()
    }
}

struct Woken {
    task: usize,
    is_queued: AtomicBool,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Relaxed) {
            self.ready.lock().unwrap().push(self.task);
        }
    }
}

impl Executor {
    /// An executor of so many workers without a task.
    pub fn new(workers: usize) -> Executor {
        let executor = Executor::default();
        let loops = (0..workers).map(|_| WorkerLoop::default());
        executor.loops.replace(loops.collect());
        executor
    }

    /// Starts a task on the worker whose task runs.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.spawn_on(self.current.get(), future);
    }

    /// Starts a task on a worker.
    pub fn spawn_on(&self, worker: usize, future: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        let woken = Arc::new(Woken {
            task: tasks.len(),
            is_queued: AtomicBool::new(false),
            ready: self.loops.borrow()[worker].ready.clone(),
        });
        tasks.push(Task {
            future: Some(Box::pin(future)),
            woken: woken.clone(),
        });
        woken.wake();
    }

    /// How many workers have a ready task.
    pub fn ready_workers(&self) -> u64 {
        let loops = self.loops.borrow();
        loops.iter().filter(|one| one.is_ready()).count() as u64
    }

    /// One of the workers that have a ready task, by its place among them.
    pub fn ready_worker(&self, place: usize) -> usize {
        let loops = self.loops.borrow();
        let mut ready = (0..loops.len()).filter(|at| loops[*at].is_ready());
        ready.nth(place).expect("so many workers are ready")
    }

    /// Runs every ready task of a worker once.
    pub fn run_round(&self, worker: usize, random: &mut SplitMix64) {
        let mut tasks = self.round.take();
        std::mem::swap(
            &mut tasks,
            &mut *self.loops.borrow()[worker].ready.lock().unwrap(),
        );
        shuffle(&mut tasks, random);
        self.current.set(worker);
        for task in tasks.drain(..) {
            self.run(task);
        }
        self.round.replace(tasks);
        let own = &mut self.loops.borrow_mut()[worker];
        own.rounds += 1;
        own.passing.drain(..).for_each(Waker::wake);
    }

    fn run(&self, index: usize) {
        let (future, woken) = {
            let task = &mut self.tasks.borrow_mut()[index];
            task.woken.is_queued.store(false, Relaxed);
            (task.future.take(), task.woken.clone())
        };
        let Some(mut future) = future else {
            return; // The task has ended.
        };
        clock::begin_turn();
        let waker = Waker::from(woken);
        let mut cx = Context::from_waker(&waker);
        // A task that panics has ended; the world knows of the panic by its hook.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            self.tasks.borrow_mut()[index].future = Some(future);
        }
    }

    /// Comes back after everything that is ready now has run.
    pub fn poll_passed(&self, since: &Cell<Option<u64>>, cx: &mut Context<'_>) -> Poll<()> {
        let own = &mut self.loops.borrow_mut()[self.current.get()];
        let began = since.get().unwrap_or(own.rounds);
        since.set(Some(began));
        if own.rounds > began {
            return Poll::Ready(());
        }
        own.passing.push(cx.waker().clone());
        Poll::Pending
    }

    /// Ends all tasks.
    pub fn clear(&self) {
        loop {
            let ended: Vec<Future_> = {
                let mut tasks = self.tasks.borrow_mut();
                tasks
                    .iter_mut()
                    .filter_map(|task| task.future.take())
                    .collect()
            };
            if ended.is_empty() {
                return;
            }
        }
    }
}

/// Puts a list into an order that the random numbers decide (Fisher and Yates).
pub fn shuffle<T>(list: &mut [T], random: &mut SplitMix64) {
    for last in (1..list.len()).rev() {
        let other = (random.number() % (last as u64 + 1)) as usize;
        list.swap(last, other);
    }
}
