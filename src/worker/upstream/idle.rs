//! The idle connections of one core: last in, first out per backend, so that those in use stay few and warm.

use std::cell::RefCell;
use std::task::{Context, Poll, Waker};

use crate::base::ids::{BackendId, WorkerId};
use crate::net::Timers;
use crate::shared::backend_table::BackendTables;
use crate::worker::stream::Stream;
use crate::worker::upstream::Upstream;
use crate::worker::upstream::learnt::Learnt;

/// How long and how many idle connections to a backend are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Per core and backend.
    pub most: u32,
    /// Milliseconds.
    pub keepalive: u64,
}

/// All idle connections of a core.
#[derive(Default)]
pub struct Upstreams {
    backends: RefCell<Vec<Backend>>,
}

#[derive(Default)]
struct Backend {
    idle: Vec<Idle>,
    learnt: Learnt,
}

struct Idle {
    upstream: Upstream,
    since: u64,
    keepalive: u64,
}

impl Upstreams {
    /// Takes the connection to a backend that was used last and is still good. `cx` is woken from now on by what it
    /// receives.
    pub fn take(&self, id: BackendId, now: u64, cx: &mut Context<'_>) -> Option<Upstream> {
        let mut backends = self.backends.borrow_mut();
        let backend = backends.get_mut(id.index())?;
        while let Some(idle) = backend.idle.pop() {
            if !backend.is_finished(&idle, now, cx) {
                return Some(idle.upstream);
            }
        }
        None
    }

    /// Whether there is an idle connection to a backend.
    pub fn has_idle(&self, id: BackendId) -> bool {
        let backends = self.backends.borrow();
        backends
            .get(id.index())
            .is_some_and(|backend| !backend.idle.is_empty())
    }

    /// Keeps a connection whose exchange is complete on both sides. It is closed instead if there are enough, if it
    /// already brought more than its response, or if another core waits for the backend's last connection.
    pub fn give(
        &self,
        mut upstream: Upstream,
        keep: Keep,
        timers: &Timers,
        tables: &BackendTables,
    ) {
        let id = upstream.backend;
        if !matches!(upstream.wire.stream, Stream::Socket(_)) {
            return;
        }
        self.with(id, |backend| {
            let is_full = backend.idle.len() >= keep.most as usize;
            if is_full || !upstream.wire.is_empty() || tables.take_wanted(id) {
                return;
            }
            upstream.reused = true;
            upstream.wire.stream.watch();
            let unwatched = &mut Context::from_waker(Waker::noop());
            if upstream.wire.stream.poll_readable(unwatched).is_pending() {
                backend.idle.push(Idle {
                    upstream,
                    since: timers.millis(),
                    keepalive: keep.keepalive,
                });
            }
        });
    }

    fn with(&self, id: BackendId, change: impl FnOnce(&mut Backend)) {
        let mut backends = self.backends.borrow_mut();
        if backends.len() <= id.index() {
            backends.resize_with(id.index() + 1, Backend::default);
        }
        change(&mut backends[id.index()]);
    }

    /// Notes how long the backend says that it keeps idle connections, in seconds.
    pub fn note_announced(&self, id: BackendId, secs: u32, now: u64) {
        self.with(id, |backend| {
            backend.learnt.note(u64::from(secs) * 1000, now)
        });
    }

    /// Closes what has ended or is too old, and says how many are left: once a tick.
    pub fn sweep(&self, now: u64, worker: WorkerId, tables: &BackendTables) {
        let unwatched = &mut Context::from_waker(Waker::noop());
        for (index, backend) in self.backends.borrow_mut().iter_mut().enumerate() {
            let mut idle = std::mem::take(&mut backend.idle);
            idle.retain(|idle| !backend.is_finished(idle, now, unwatched));
            backend.idle = idle;
            let id = BackendId(index as u32);
            if !backend.idle.is_empty() && tables.take_wanted(id) {
                backend.idle.remove(0);
            }
            tables.of(worker).set_idle(id, backend.idle.len() as u32);
        }
    }

    /// Closes the idle connections to backends that `stays` does not hold for, and forgets what was learnt of them.
    pub fn forget_unless(&self, stays: impl Fn(BackendId) -> bool) {
        for (backend, id) in self.backends.borrow_mut().iter_mut().zip(0..) {
            if !stays(BackendId(id)) {
                *backend = Backend::default();
            }
        }
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        for backend in self.backends.borrow_mut().iter_mut() {
            backend.idle.clear();
        }
    }
}

fn has_ended(stream: &Stream) -> bool {
    matches!(stream, Stream::Socket(socket) if socket.has_ended())
}

impl Backend {
    fn is_finished(&mut self, idle: &Idle, now: u64, cx: &mut Context<'_>) -> bool {
        let age = now.saturating_sub(idle.since);
        let stream = &idle.upstream.wire.stream;
        match stream.poll_readable(cx) {
            Poll::Ready(()) if has_ended(stream) => {
                self.learnt.note(age, now);
                true
            }
            Poll::Ready(()) => true, // Bytes that nobody asked for.
            Poll::Pending => age >= self.learnt.retire_after(idle.keepalive, now),
        }
    }
}
