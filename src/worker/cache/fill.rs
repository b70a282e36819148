//! The cache fill of an answer: its body is copied into the store on its way to the client.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::limits;
use crate::net::{Expired, Timer};
use crate::shared::cache::Filling;
use crate::worker::shard::Shard;

/// The fill of one answer. A fill that is dropped before its end is not stored, and whoever follows it learns that.
pub struct Fill {
    /// `None`: the store has no room for the rest, or the body has ended.
    filling: Option<Filling>,
}

impl Fill {
    /// A fill of which the head is stored.
    pub fn new(filling: Filling) -> Fill {
        Fill {
            filling: Some(filling),
        }
    }

    /// Stores the next bytes of the body. Where the store has no room for them the answer goes on without the cache.
    pub fn pass(&mut self, bytes: &[u8]) {
        if let Some(filling) = &mut self.filling
            && filling.push(bytes).is_err()
        {
            self.filling = None;
        }
    }

    /// Puts the whole response into the store. `trailers`: each `name: value CRLF`.
    pub fn end(&mut self, trailers: &[u8]) {
        if let Some(filling) = self.filling.take() {
            // A purge that came meanwhile keeps the response out of the store, which harms nobody.
            let _ = filling.finish(trailers);
        }
    }

    /// Waits until those who follow a body that the store does not keep have read on, if one of them is far behind. Who
    /// reads nothing for a while is not waited for. Errors: what `watch` has seen.
    pub async fn hold_back<F>(
        &self,
        shard: &Shard,
        timer: &Timer,
        mut watch: impl FnMut(&mut Context<'_>) -> Poll<F>,
    ) -> Result<(), F> {
        let Some(filling) = self.filling.as_ref().filter(|it| it.is_held_back()) else {
            return Ok(());
        };
        let Some(number) = filling.fill().map(|fill| fill.number()) else {
            return Ok(());
        };
        let wait = shard.wait_for_fill(number);
        let patience = Duration::from_millis(limits::RING_PATIENCE_MILLIS);
        filling.mark();
        timer.set(patience);
        loop {
            let read_on = timer.bound(|cx: &mut Context<'_>| {
                wait.set(cx);
                filling.wait(shard.worker.index());
                match filling.is_held_back() {
                    true => watch(cx).map(Err),
                    false => Poll::Ready(Ok(())),
                }
            });
            match read_on.await {
                Ok(outcome) => {
                    filling.go_on();
                    return outcome;
                }
                Err(Expired) => {
                    filling.forsake();
                    timer.set(patience);
                }
            }
        }
    }

    /// Whether the body is still being stored.
    pub fn is_storing(&self) -> bool {
        self.filling.is_some()
    }
}
