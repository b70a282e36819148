//! The least rate of a request body, before its answer comes, while the answer is on its way, and after the client has
//! the answer.

use std::cell::Cell;

use crate::base::limits;
use crate::worker::attempt::Attempt;
use crate::worker::min_rate::MinRate;
use crate::worker::stream::Stream;

/// The least rates at which the client must send the rest of a body.
pub struct BodyRate {
    before_answer: MinRate,
    /// The least rate after the whole answer, when neither side needs the rest of the body.
    behind_answer: MinRate,
    has_begun: Cell<bool>,
    /// The bytes of the answer that had come when the last piece of the body came.
    answer_bytes: Cell<u64>,
    /// The bytes that had come on the client's connection when the last piece of the body came, if the client speaks
    /// HTTP/2.
    connection_bytes: Cell<u64>,
}

impl BodyRate {
    /// The least rates that the client's listener demands.
    pub fn of(attempt: &Attempt<'_>) -> BodyRate {
        let listener = &attempt.client.arrival.listener;
        let (before_answer, behind_answer) = if attempt.exchange.facts.is_grpc {
            (MinRate::none(), MinRate::none())
        } else {
            (MinRate::of(listener), MinRate::behind_answer(listener))
        };
        BodyRate {
            before_answer,
            behind_answer,
            has_begun: Cell::default(),
            answer_bytes: Cell::default(),
            connection_bytes: Cell::default(),
        }
    }

    /// Notes that `bytes` came after a wait of `waited` milliseconds for the client. The result says whether the client
    /// is too slow. The wait for the first piece does not count, because the client may have waited for permission. Nor
    /// does a wait in which bytes of the answer came, because the client may have had nothing to send before it read
    /// them.
    pub fn is_slow(&self, attempt: &Attempt<'_>, waited: u64, bytes: usize) -> bool {
        let exchange = attempt.exchange;
        let answer_bytes = exchange.tally().response_bytes;
        let answer_moved = self.answer_bytes.replace(answer_bytes) != answer_bytes;
        let is_first = !self.has_begun.replace(true);
        let rate = match attempt.client.since_answer(attempt.shard) {
            Some(_) => &self.behind_answer,
            None => &self.before_answer,
        };
        let shares = self.has_fair_share(&attempt.client.wire.stream, rate, waited, bytes);
        let waited = if shares || is_first || answer_moved || exchange.tally().is_event_stream {
            0
        } else {
            waited
        };
        !rate.note_after_pause(waited, bytes as u64)
    }

    /// Whether the client's connection as a whole met the least rate in this time, and this stream had its share of the
    /// bytes. Such a client was busy with its other streams.
    fn has_fair_share(&self, client: &Stream, rate: &MinRate, waited: u64, bytes: usize) -> bool {
        let Stream::Multiplexed(stream) = client else {
            return false;
        };
        let (all, streams) = stream.connection_bytes();
        let came = all - self.connection_bytes.replace(all);
        rate.is_met_by(waited, came) && is_fair_share(bytes, came, streams)
    }
}

/// Whether `bytes` of a stream are a fair share of the `came` bytes of a connection with so many streams.
fn is_fair_share(bytes: usize, came: u64, streams: usize) -> bool {
    bytes as u64 * limits::FAIR_SHARE_PARTS * streams as u64 >= came
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_its_share_of_what_its_connection_brings() {
        let parts = limits::FAIR_SHARE_PARTS;
        let rows = [
            (100, 100, 1, true),
            (100, 100 * parts, 1, true),
            (100, 100 * parts + 1, 1, false),
            (100, 400 * parts, 4, true),
            (100, 400 * parts + 1, 4, false),
            (0, 1, 4, false),
        ];
        for (bytes, came, streams, expected) in rows {
            assert_eq!(
                is_fair_share(bytes, came, streams),
                expected,
                "{bytes} {came} {streams}"
            );
        }
    }
}
