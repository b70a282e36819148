//! Connects to a name that has several addresses: to the picked address, and to the next one as well when the picked
//! one has failed or takes longer than a connection usually takes. The first connection that is made is used (RFC 8305
//! section 5).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::addresses::BackendAddr;
use crate::base::ids::BackendId;
use crate::base::limits;
use crate::net::{Expired, Socket, Timer, is_exhausted};
use crate::worker::multiplex::Unconnected;
use crate::worker::shard::Shard;
use crate::worker::upstream::await_descriptor::may_open;
use crate::worker::upstream::connecting::{Connecting, new_hold};
use crate::worker::upstream::dial::reach;
use crate::worker::upstream::trial::note_unreachable;
use crate::worker::upstream::{Hold, ReuseKey};

/// An address that may be connected to, and the part of the bound that its connection uses.
pub struct Entrant {
    /// The backend with this address.
    pub id: BackendId,
    /// The key that a connection to the address gets.
    pub key: ReuseKey,
    /// The address to connect to.
    pub addr: BackendAddr,
    /// The part of the backend's bound that the connection uses; `None`: there is no bound.
    pub hold: Option<Hold>,
}

/// The other addresses of the backend's name that take requests and may have another connection.
pub(super) fn others(connecting: &Connecting<'_>) -> Vec<Entrant> {
    let Connecting { shard, backend, .. } = connecting;
    let (config, tried) = (connecting.caller.config, connecting.caller.tried);
    let pool = config.pool(connecting.pool);
    let addresses = backend
        .addresses
        .clone()
        .map(|index| &pool.backends[index as usize]);
    addresses
        .filter(|other| other.id() != backend.id() && !tried.contains(&other.id()))
        .filter(|other| shard.tables.of(shard.worker).takes_requests(other.id()))
        .filter_map(|other| {
            Some(Entrant {
                id: other.id(),
                key: config.reuse_key(other.id())?,
                addr: other.addr.clone()?,
                hold: new_hold(shard, config, connecting.pool, other).ok()?,
            })
        })
        .collect()
}

type Reaching<'a> = Pin<Box<dyn Future<Output = io::Result<Socket>> + 'a>>;

/// A connection under way.
struct Running<'a> {
    /// The index of the entrant.
    index: usize,
    /// The core's millisecond in which the attempt to connect began.
    since: u64,
    reaching: Reaching<'a>,
}

/// The attempts to connect that are under way.
struct Race<'a> {
    entrants: &'a [Entrant],
    running: Vec<Running<'a>>,
    begun: usize,
    /// Whether the next attempt begins at once, because one has failed.
    is_short: bool,
}

/// Connects to the first of these addresses that answers, tried in their order, at most until the timer's deadline.
/// Addresses that fail rest from now on, and so do addresses that began earlier than the winner and were slower. At the
/// deadline the addresses rest that had at least half of the time, if the caller gave them enough time (`is_enough`).
pub async fn race(
    shard: &Shard,
    mut entrants: Vec<Entrant>,
    timer: &Timer,
    is_enough: impl Fn() -> bool,
) -> Result<(Entrant, Socket), Unconnected> {
    debug_assert!(!entrants.is_empty(), "a race has an entrant");
    let pause = Timer::new(&shard.timers);
    let mut race = Race {
        entrants: &entrants,
        running: Vec::new(),
        begun: 0,
        is_short: false,
    };
    let began = shard.timers.millis();
    let outcome = timer.bound(|cx| race.poll(shard, &pause, cx)).await;
    let now = shard.timers.millis();
    let running: Vec<_> = race
        .running
        .iter()
        .map(|one| (one.index, one.since))
        .collect();
    drop(race);
    let (won, outcome) = match outcome {
        Ok(Ok((index, socket))) => (index, Ok(socket)),
        Ok(Err(unconnected)) => (0, Err(unconnected)),
        Err(Expired) => (0, Err(Unconnected::TimedOut)),
    };
    let is_late = |&(index, since): &(usize, u64)| match &outcome {
        Ok(_) => index < won,
        Err(Unconnected::TimedOut) => is_enough() && 2 * (now - since) >= now - began,
        Err(_) => false,
    };
    for (index, _) in running.iter().filter(|one| is_late(one)) {
        let Entrant { id, addr, .. } = &entrants[*index];
        note_unreachable(shard, *id, addr, Unconnected::TimedOut);
    }
    outcome.map(|socket| (entrants.swap_remove(won), socket))
}

impl Race<'_> {
    /// Whether another attempt may begin. While others run, one begins only if there are descriptors to spare.
    fn may_begin(&self, shard: &Shard) -> bool {
        let is_there = self.begun < self.entrants.len();
        is_there && (self.running.is_empty() || may_open(shard, limits::NEXT_ADDRESS_SPARE))
    }

    fn poll(
        &mut self,
        shard: &Shard,
        pause: &Timer,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(usize, Socket), Unconnected>> {
        loop {
            let is_due = self.running.is_empty() || self.is_short || pause.poll(cx).is_ready();
            if is_due && self.may_begin(shard) {
                self.is_short = false;
                self.running.push(Running {
                    index: self.begun,
                    since: shard.timers.millis(),
                    reaching: Box::pin(reach(&self.entrants[self.begun].addr)),
                });
                self.begun += 1;
                pause.set(Duration::from_millis(limits::NEXT_ADDRESS_MILLIS));
                continue;
            }
            if self.running.is_empty() {
                return Poll::Ready(Err(Unconnected::Failed));
            }
            let polled = self.running.iter_mut().enumerate().find_map(|(at, one)| {
                match one.reaching.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Some((at, outcome)),
                    Poll::Pending => None,
                }
            });
            let Some((at, outcome)) = polled else {
                return Poll::Pending;
            };
            let index = self.running.remove(at).index;
            match outcome {
                Ok(socket) => return Poll::Ready(Ok((index, socket))),
                Err(error) if is_exhausted(&error) => {
                    return Poll::Ready(Err(Unconnected::Exhausted));
                }
                Err(_) => {
                    self.is_short = true;
                    let Entrant { id, addr, .. } = &self.entrants[index];
                    note_unreachable(shard, *id, addr, Unconnected::Failed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::{POOL, listener, refusing, run_worker};

    /// Races to all backends of a pool, with the settings that are in force, or with earlier ones; the index of the one
    /// that won.
    fn race_to(addrs: &[BackendAddr], is_current: bool) -> (Result<usize, Unconnected>, Vec<u8>) {
        run_worker(
            addrs,
            |_| (),
            async |shard| {
                let config = shard.config();
                let backends = &config.pool(POOL).backends;
                let key = |id| config.reuse_key(id).filter(|_| is_current);
                let entrants = backends.iter().map(|backend| Entrant {
                    id: backend.id(),
                    key: key(backend.id()).unwrap_or_default(),
                    addr: backend.addr.clone().unwrap(),
                    hold: None,
                });
                let timer = Timer::new(&shard.timers);
                timer.set(Duration::from_secs(30));
                let won = race(&shard, entrants.collect(), &timer, || true).await;
                let index = |id| backends.iter().position(|one| one.id() == id).unwrap();
                let shares = backends
                    .iter()
                    .map(|one| shard.tables.of(shard.worker).share(one.id()));
                (won.map(|(won, _)| index(won.id)), shares.collect())
            },
        )
    }

    #[test]
    fn the_first_that_can_be_connected_to_wins_and_those_that_refuse_rest() {
        let whole = limits::WHOLE_SHARE;
        let ((_first, one), (_second, two)) = (listener(), listener());
        type Row<'a> = (&'a [BackendAddr], Result<usize, Unconnected>, &'a [u8]);
        let rows: [Row<'_>; 4] = [
            (&[one.clone(), two.clone()], Ok(0), &[whole, whole]),
            (&[refusing(), two.clone()], Ok(1), &[0, whole]),
            (
                &[refusing(), refusing(), one.clone(), two],
                Ok(2),
                &[0, 0, whole, whole],
            ),
            (&[refusing(), refusing()], Err(Unconnected::Failed), &[0, 0]),
        ];
        for (addrs, won, shares) in rows {
            for is_current in [true, false] {
                let found = race_to(addrs, is_current);
                assert_eq!(found, (won, shares.to_vec()), "{addrs:?} {is_current}");
            }
        }
    }
}
