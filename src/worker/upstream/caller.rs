//! The party that asks for a connection to a backend, as plain values: the request of a client, or palantir itself.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::http::proxy_protocol::ProxiedAddrs;
use crate::net::{Expired, Timer};
use crate::worker::failure::Failure;
use crate::worker::live_config::LiveConfig;

/// The party that asks for a connection.
pub struct Caller<'a> {
    /// The configuration with which the caller began. It decides how connections are made, counted and reused.
    pub config: &'a Rc<LiveConfig>,
    /// The timer of the caller's task.
    pub timer: &'a Timer,
    /// The longest time that one step towards a connection may take.
    pub connect: Duration,
    /// The longest time that the caller may wait in the queue of a pool whose backends may have no more connections.
    pub queue: Duration,
    /// The instant by which the caller must have ended; `None`: no instant. The live configuration may set an earlier
    /// one.
    pub deadline: Option<Micros>,
    /// The client that a PROXY header names, where the pool sends one.
    pub introduced: ProxiedAddrs,
    /// The backends that have given the caller no answer.
    pub tried: &'a [BackendId],
    /// The number of connections to backends that serve requests of the caller's client.
    pub held: &'a Rc<Cell<usize>>,
    /// Polled while the caller waits. Ready, with the reason, when the caller needs no connection any more. The
    /// argument is the backend that is being connected to; `None`: no backend is picked yet.
    pub watch: &'a dyn Fn(Option<BackendId>, &mut Context<'_>) -> Poll<Failure>,
}

impl Caller<'_> {
    /// Waits until `poll` is ready, at most for the time of the step. `at`: the backend that is being connected to;
    /// `None`: no backend is picked yet. Errors: `late` if the time for this step is over, [`Failure::ExchangeTimeout`]
    /// if the time for the whole exchange is over, and the failure of the caller's own watch.
    pub async fn await_step<T>(
        &self,
        at: Option<BackendId>,
        (wait, late): (Duration, Failure),
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.timer.set(self.bounded(wait));
        let waited = self.timer.bound(|cx| match poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => (self.watch)(at, cx).map(Err),
        });
        match waited.await {
            Ok(outcome) => outcome,
            Err(Expired) => Err(self.expired(late)),
        }
    }

    /// The time for a step that may take `wait` by itself: the caller's deadline bounds it.
    pub fn bounded(&self, wait: Duration) -> Duration {
        match self.due() {
            None => wait,
            Some(due) => wait.min(Duration::from_micros(due.since(Micros::now()))),
        }
    }

    /// The failure that an expired step means: the failure `step`, or that of the whole exchange.
    pub fn expired(&self, step: Failure) -> Failure {
        if self.is_overdue() {
            Failure::ExchangeTimeout
        } else {
            step
        }
    }

    /// Whether the caller's time has ended.
    pub fn is_overdue(&self) -> bool {
        self.due().is_some_and(|due| Micros::now() >= due)
    }

    /// The instant by which the caller must have ended: its own, or that of a configuration that is too old.
    fn due(&self) -> Option<Micros> {
        let bounds = [self.deadline, self.config.due()];
        bounds.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::sample::{refusing, run_worker};
    use crate::worker::upstream::sample::Own;

    #[test]
    fn the_nearest_bound_counts() {
        run_worker(
            &[refusing()],
            |_| (),
            async |shard| {
                let own = Own::of(&shard);
                let (step, far) = (
                    Duration::from_secs(10),
                    Micros::now().after(Duration::from_secs(3600)),
                );
                let with = |deadline| Caller {
                    deadline,
                    ..own.caller()
                };
                assert_eq!(with(None).bounded(step), step);
                assert_eq!(with(Some(far)).bounded(step), step);
                assert_eq!(with(Some(Micros(1))).bounded(step), Duration::ZERO);
                let late = Failure::ConnectTimeout;
                for (deadline, expected) in [
                    (None, late),
                    (Some(far), late),
                    (Some(Micros(1)), Failure::ExchangeTimeout),
                ] {
                    assert_eq!(with(deadline).expired(late), expected);
                }
                // Callers that began with a configuration that is too old have to end although they have time left.
                own.config.end_by(Micros(1));
                assert!(with(Some(far)).is_overdue() && with(None).is_overdue());
            },
        );
    }
}
