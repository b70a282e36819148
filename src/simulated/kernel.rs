//! The simulated kernel: virtual time, connections, and what happens when.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use super::clock;
use super::executor::Executor;
use super::flow::{Ending, Flow, Weather};
use super::place::{Attempt, Listening, Place};
use crate::base::random::SplitMix64;
use crate::base::time::Micros;

/// The number of a connection.
pub type ConnId = usize;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Proxy,
    /// A client or a backend.
    Peer,
}

/// A connection between the proxy and a client or a backend.
pub struct Conn {
    /// Where the proxy connected to; `None`: a client connected to the proxy.
    pub backend: Option<SocketAddr>,
    pub to_proxy: Flow,
    pub to_peer: Flow,
    pub watch: Watch,
    /// Whether the proxy has accepted the connection, or has made it.
    pub is_accepted: bool,
    pub is_proxy_open: bool,
    pub is_peer_open: bool,
    /// Whether the proxy wants closing to be a reset.
    pub resets_on_close: bool,
    /// The settings of TLS that the proxy has made the connection with, as a number that stands for them.
    pub secured: Option<usize>,
}

/// The proxy's wait for bytes of a connection.
#[derive(Default)]
pub struct Watch {
    pub is_begun: bool,
    /// Whether the event that completes it is under way.
    pub is_due: bool,
    pub is_complete: bool,
    pub waker: Option<Waker>,
}

/// Something that a client or a backend has to take note of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The proxy has connected to a backend.
    Connected(ConnId),
    /// Bytes or an end have arrived at the peer's side, or there is room to send more.
    Changed(ConnId),
    /// A time that the world has asked for.
    Due(u64),
}

pub(super) enum What {
    Wake(Waker),
    Segment(ConnId, Side, Vec<u8>),
    End(ConnId, Side, Ending),
    Readable(ConnId),
    Connect(usize),
    Knock(RawFd, ConnId, SocketAddr),
    World(u64),
}

struct Due {
    at: u64,
    number: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The simulated kernel of one thread.
pub struct Kernel {
    pub executor: Executor,
    pub(super) state: RefCell<State>,
    now: Cell<u64>,
    /// Rounds of the workers since something has happened besides.
    quiet_rounds: Cell<u32>,
    /// Whether somebody may have posted something since the bells were looked at.
    may_have_rung: Cell<bool>,
}

/// The state of the simulated kernel.
pub struct State {
    pub(super) random: SplitMix64,
    pub(super) weather: Weather,
    pub(super) conns: Vec<Conn>,
    pub(super) places: BTreeMap<SocketAddr, Place>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) listening: BTreeMap<RawFd, Listening>,
    pub(super) happenings: VecDeque<Happening>,
    /// Tasks that wait for a descriptor of the real kernel: the bells of mailboxes.
    pub(super) bells: Vec<(RawFd, Waker)>,
    events: BinaryHeap<Reverse<Due>>,
    numbers: u64,
    pub(super) now: u64,
    is_traced: bool,
}

impl State {
    pub(super) fn at(&mut self, at: u64, what: What) {
        self.numbers += 1;
        let (at, number) = (at.max(self.now), self.numbers);
        self.events.push(Reverse(Due { at, number, what }));
    }

    pub(super) fn after(&mut self, micros: u64, what: What) {
        self.at(self.now + micros, what);
    }

    /// Has something happen after a while that the seed decides.
    pub(super) fn soon(&mut self, what: What) {
        let delay = self.weather.delay(&mut self.random);
        self.after(delay, what);
    }

    /// Sends something to a side of a connection, behind all that is under way to it.
    pub(super) fn send(&mut self, conn: ConnId, to: Side, what: What) {
        let delay = self.weather.delay(&mut self.random);
        let now = self.now;
        let flow = self.flow(conn, to);
        flow.last_arrival = flow.last_arrival.max(now + delay);
        let at = flow.last_arrival;
        self.at(at, what);
    }

    pub(super) fn flow(&mut self, conn: ConnId, to: Side) -> &mut Flow {
        match to {
            Side::Proxy => &mut self.conns[conn].to_proxy,
            Side::Peer => &mut self.conns[conn].to_peer,
        }
    }

    pub(super) fn new_conn(&mut self, backend: Option<SocketAddr>) -> ConnId {
        let capacity = self.weather.capacity;
        self.conns.push(Conn {
            is_accepted: backend.is_some(),
            backend,
            to_proxy: Flow::new(capacity),
            to_peer: Flow::new(capacity),
            watch: Watch::default(),
            is_proxy_open: true,
            is_peer_open: true,
            resets_on_close: false,
            secured: None,
        });
        self.conns.len() - 1
    }

    /// Has the proxy's wait for bytes complete soon, if there is one and something to read.
    pub(super) fn complete_watch(&mut self, conn: ConnId) {
        let one = &mut self.conns[conn];
        let watch = &mut one.watch;
        if watch.is_begun && !watch.is_due && !watch.is_complete && one.to_proxy.is_readable() {
            watch.is_due = true;
            self.soon(What::Readable(conn));
        }
    }

    /// Tells of what happens, if the run is to be followed.
    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{:>12.3} ms  {}", self.now as f64 / 1000.0, what());
        }
    }

    fn take(&mut self, until: u64) -> Option<What> {
        if self.events.peek()?.0.at > until {
            return None;
        }
        self.events.pop().map(|due| due.0.what)
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Wake(waker) => waker.wake(),
            What::World(number) => self.happenings.push_back(Happening::Due(number)),
            What::Connect(attempt) => self.connect_now(attempt),
            What::Knock(listener, conn, from) => self.knock_now(listener, conn, from),
            What::Segment(conn, to, bytes) => self.deliver(conn, to, bytes),
            What::End(conn, to, ending) => self.deliver_end(conn, to, ending),
            What::Readable(conn) => {
                let watch = &mut self.conns[conn].watch;
                watch.is_due = false;
                watch.is_complete = true;
                if let Some(waker) = watch.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn deliver(&mut self, conn: ConnId, to: Side, bytes: Vec<u8>) {
        self.trace(|| format!("connection {conn}: {} bytes for {to:?}", bytes.len()));
        let one = &self.conns[conn];
        let is_open = match to {
            Side::Proxy => one.is_proxy_open,
            Side::Peer => one.is_peer_open,
        };
        let flow = self.flow(conn, to);
        flow.under_way -= bytes.len();
        if flow.is_cut {
            return;
        }
        if !is_open {
            return self.refuse(conn, to);
        }
        flow.queue.push(&bytes);
        self.tell(conn, to);
    }

    fn deliver_end(&mut self, conn: ConnId, to: Side, ending: Ending) {
        self.trace(|| format!("connection {conn}: {ending:?} end for {to:?}"));
        let flow = self.flow(conn, to);
        if flow.end != Some(Ending::Reset) {
            flow.end = Some(ending);
        }
        if ending == Ending::Reset {
            // A side that is reset can send no more either.
            let back = self.flow(conn, to.other());
            back.sent_end = Some(Ending::Reset);
            back.is_cut = true;
            back.wake_sender();
        }
        self.tell(conn, to);
    }

    fn tell(&mut self, conn: ConnId, to: Side) {
        match to {
            Side::Proxy => self.complete_watch(conn),
            Side::Peer => self.happenings.push_back(Happening::Changed(conn)),
        }
    }

    /// Answers bytes for a side that has closed with a reset.
    pub(super) fn refuse(&mut self, conn: ConnId, closed: Side) {
        let back = closed.other();
        if self.flow(conn, back).sent_end != Some(Ending::Reset) {
            self.flow(conn, back).sent_end = Some(Ending::Reset);
            self.send(conn, back, What::End(conn, back, Ending::Reset));
        }
    }
}

impl Side {
    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Proxy => Side::Peer,
            Side::Peer => Side::Proxy,
        }
    }
}

impl Kernel {
    /// A kernel for so many workers, whose chances the seed decides.
    pub fn new(workers: usize, seed: u64, weather: Weather) -> Rc<Kernel> {
        Rc::new(Kernel {
            executor: Executor::new(workers),
            state: RefCell::new(State {
                random: SplitMix64::from_seed(seed),
                weather,
                conns: Vec::new(),
                places: BTreeMap::new(),
                attempts: Vec::new(),
                listening: BTreeMap::new(),
                happenings: VecDeque::new(),
                bells: Vec::new(),
                events: BinaryHeap::new(),
                numbers: 0,
                now: 0,
                is_traced: super::is_traced(),
            }),
            now: Cell::new(0),
            quiet_rounds: Cell::new(0),
            may_have_rung: Cell::new(true),
        })
    }

    /// The virtual time, in microseconds.
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// Has the world told of this number at a time.
    pub fn remind(&self, at: u64, number: u64) {
        self.state.borrow_mut().at(at, What::World(number));
    }

    /// Tells of what happens, if the run is to be followed.
    pub fn trace(&self, what: impl FnOnce() -> String) {
        self.state.borrow().trace(what);
    }

    /// The next thing that a client or a backend has to take note of.
    pub fn take_happening(&self) -> Option<Happening> {
        self.state.borrow_mut().happenings.pop_front()
    }

    /// Rounds of the workers since something has happened besides: many mean that a worker spins.
    pub fn quiet_rounds(&self) -> u32 {
        self.quiet_rounds.get()
    }

    /// Notes that something was posted to a mailbox.
    pub fn note_post(&self) {
        self.may_have_rung.set(true);
    }

    fn set_now(&self, now: u64) {
        self.now.set(now);
        self.state.borrow_mut().now = now;
        clock::set(Some(Micros(now)));
    }

    /// Goes on by one step: a round of a worker's loop if one has something to do, else the next event. False if
    /// nothing will happen any more.
    pub fn step(&self) -> bool {
        if self.may_have_rung.take() {
            self.ring();
        }
        let ready = self.executor.ready_workers();
        if ready > 0 {
            let mut random = self.own_random();
            let worker = self
                .executor
                .ready_worker((random.number() % ready) as usize);
            self.executor.run_round(worker, &mut random);
            self.quiet_rounds.set(self.quiet_rounds.get() + 1);
            self.set_now(self.now() + 1 + random.number() % 20);
            self.pass_events();
            return true;
        }
        let next = self.state.borrow().events.peek().map(|due| due.0.at);
        let Some(next) = next else {
            return false;
        };
        self.set_now(next.max(self.now()));
        self.pass_events();
        true
    }

    fn own_random(&self) -> SplitMix64 {
        SplitMix64::from_seed(self.state.borrow_mut().random.number())
    }

    fn pass_events(&self) {
        let now = self.now();
        loop {
            let what = self.state.borrow_mut().take(now);
            match what {
                Some(what) => {
                    self.quiet_rounds.set(0);
                    self.state.borrow_mut().happen(what);
                }
                None => return,
            }
        }
    }

    /// Wakes those whose bell has rung, each after a while.
    #[expect(unsafe_code, reason = "descriptors of the bells are kept as numbers")]
    fn ring(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.bells.is_empty() {
            return;
        }
        let mut polled: Vec<libc::pollfd> = Vec::with_capacity(state.bells.len());
        polled.extend(state.bells.iter().map(|(fd, _)| libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        }));
        // SAFETY: the entries live during the call, which does not wait.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 0) };
        for at in (0..polled.len())
            .rev()
            .filter(|at| polled[*at].revents != 0)
        {
            let (_, waker) = state.bells.swap_remove(at);
            state.soon(What::Wake(waker));
        }
    }
}
