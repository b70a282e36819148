//! A worker without clients, for tests of its parts over real sockets.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::TcpListener;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::base::addresses::BackendAddr;
use crate::base::ids::{PoolId, RequestId, RouteId, WorkerId};
use crate::base::limits;
use crate::messages;
use crate::net::{Engine, Expired, Ticker, Timer, run, spawn};
use crate::shared::backend_table::BackendTables;
use crate::shared::mailbox::mailbox;
use crate::shared::slots::Slots;
use crate::snapshot::sample;
use crate::snapshot::{Pool, Protocol, Snapshot};
use crate::worker::exchange::Exchange;
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;
use crate::worker::upstream::Neighbours;

/// The only pool of the worker.
pub const POOL: PoolId = PoolId(0);

/// The longest time that a test waits for an event which must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker whose clock runs, with a pool that has a backend at each of these addresses. `change` changes the pool and
/// the rest of the snapshot before the worker starts.
pub fn run_worker<T>(
    addrs: &[BackendAddr],
    change: impl FnOnce(&mut Pool),
    test: impl AsyncFnOnce(Rc<Shard>) -> T,
) -> T {
    run_worker_with(addrs, change, |_| (), test)
}

/// A worker as [`run_worker`] makes it, whose snapshot is changed by `adapt`.
pub fn run_worker_with<T>(
    addrs: &[BackendAddr],
    change: impl FnOnce(&mut Pool),
    adapt: impl FnOnce(&mut Snapshot),
    test: impl AsyncFnOnce(Rc<Shard>) -> T,
) -> T {
    let tables = BackendTables::new(1);
    let mut pool = sample::pool(&mut Slots::new(tables.clone()), "api", addrs);
    pool.options.idle_connections = 8;
    change(&mut pool);
    let snapshot = sample::adapted(sample::snapshot(1, vec![pool]), adapt);
    let (own, _letters) = mailbox(8).unwrap();
    let neighbours = Rc::new(Neighbours {
        worker: WorkerId(0),
        mailboxes: vec![own],
    });
    let (links, _ends) = messages::sample::links();
    let worked = run(Engine::Epoll, async move {
        let config = LiveConfig::new(snapshot, &neighbours);
        let shard = Rc::new(Shard::new(neighbours, tables, links, config, None).unwrap());
        let (ticked, ticker) = (shard.clone(), Ticker::new().unwrap());
        spawn(async move {
            while let Ok(lag) = ticker.tick().await {
                crate::worker::tick::tick(&ticked, lag);
            }
        });
        let bulk_counter = shard.clone();
        spawn(async move { bulk_counter.bulk_turns.run(&bulk_counter.turn).await });
        test(shard).await
    });
    worked.unwrap()
}

/// A listener on loopback, and its address. The kernel accepts connections to it even if the test does not.
pub fn listener() -> (TcpListener, BackendAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, BackendAddr::Tcp(addr))
}

/// An address that refuses connections.
pub fn refusing() -> BackendAddr {
    listener().1
}

/// Changes a pool to one of HTTP/2.
pub fn of_http2(pool: &mut Pool) {
    pool.options.protocol = Protocol::Http2;
}

/// Runs `task` as a task of its own, so that other tasks run beside it, and waits for its outcome.
pub async fn spawned<T: 'static>(task: impl Future<Output = T> + 'static) -> T {
    let outcome = Rc::new(RefCell::new((None, None::<Waker>)));
    let told = outcome.clone();
    spawn(async move {
        let done = task.await;
        let (place, waker) = &mut *told.borrow_mut();
        *place = Some(done);
        waker.take().into_iter().for_each(Waker::wake);
    });
    let done = poll_fn(|cx| {
        let (place, waker) = &mut *outcome.borrow_mut();
        match place.take() {
            Some(done) => Poll::Ready(done),
            None => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    });
    done.await
}

/// Lets the worker run until `is_true`. Panics if that takes longer than [`PATIENCE`].
pub async fn until(shard: &Shard, is_true: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < PATIENCE, "the awaited event has not come");
        tick(shard).await;
    }
}

/// Lets the worker run for about a tick.
pub async fn tick(shard: &Shard) {
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::TICK_MILLIS));
    let waited: Result<(), Expired> = timer.bound(|_| Poll::Pending).await;
    debug_assert!(waited.is_err());
}

/// An exchange whose request has taken the only route, in a snapshot with two backends that `change` changes.
pub fn routed(change: impl FnOnce(&mut Snapshot)) -> Exchange {
    let pool = sample::pool(&mut sample::slots(), "api", &sample::addrs(2));
    let snapshot = sample::adapted(sample::snapshot(1, vec![pool]), |snapshot| {
        sample::with_route(snapshot);
        change(snapshot);
    });
    let neighbours = Rc::new(Neighbours {
        worker: WorkerId(0),
        mailboxes: Vec::new(),
    });
    let config = LiveConfig::new(snapshot, &neighbours);
    let mut exchange = Exchange::new(Rc::new(config), WorkerId(0), RequestId(7));
    exchange.take_route(RouteId(0));
    exchange
}
