//! The least rate of a request body that is passed on while its answer may come, or is with the client already.

use std::cell::Cell;

use crate::base::limits;
use crate::worker::deliver::Ends;
use crate::worker::min_rate::MinRate;
use crate::worker::stream::Stream;

/// How fast the client must send the rest of a body.
pub struct BodyRate {
    before_answer: MinRate,
    /// Behind the whole answer, which ends the interest of both sides in the rest.
    behind_answer: MinRate,
    has_begun: Cell<bool>,
    /// The bytes of the answer that had come when the last piece of the body came.
    answer_bytes: Cell<u64>,
    /// The bytes that had come on the client's connection then, if it speaks HTTP/2.
    connection_bytes: Cell<u64>,
}

impl BodyRate {
    /// What the client's listener demands.
    pub fn of(ends: &Ends<'_>) -> BodyRate {
        let listener = &ends.client.arrival.listener;
        let (before_answer, behind_answer) = match ends.exchange.is_grpc.get() {
            true => (MinRate::none(), MinRate::none()),
            false => (MinRate::of(listener), MinRate::behind_answer(listener)),
        };
        BodyRate {
            before_answer,
            behind_answer,
            has_begun: Cell::default(),
            answer_bytes: Cell::default(),
            connection_bytes: Cell::default(),
        }
    }

    /// Notes that so many bytes came after the client was waited for, in milliseconds. Whether it is too slow. The wait
    /// for the first piece is no slowness yet: the client may be waiting for permission. Nor is a wait in which some of
    /// the answer came: the client may have had nothing to send before it read that.
    pub fn is_slow(&self, ends: &Ends<'_>, waited: u64, bytes: usize) -> bool {
        let exchange = ends.exchange;
        let answer_bytes = exchange.response_bytes.get();
        let answer_moved = self.answer_bytes.replace(answer_bytes) != answer_bytes;
        let is_first = !self.has_begun.replace(true);
        let rate = match ends.client.since_answer(ends.shard) {
            Some(_) => &self.behind_answer,
            None => &self.before_answer,
        };
        let shares = self.has_fair_share(&ends.client.wire.stream, rate, waited, bytes);
        let waited = match shares || is_first || answer_moved || exchange.is_event_stream.get() {
            true => 0,
            false => waited,
        };
        !rate.note_after_pause(waited, bytes as u64)
    }

    /// Whether the client's connection as a whole was fast enough meanwhile, and this stream had its part of that: then
    /// it is the other streams that the client was busy with.
    fn has_fair_share(&self, client: &Stream, rate: &MinRate, waited: u64, bytes: usize) -> bool {
        let Stream::Multiplexed(stream) = client else {
            return false;
        };
        let (all, streams) = stream.connection_bytes();
        let came = all - self.connection_bytes.replace(all);
        let share = bytes as u64 * limits::FAIR_SHARE_PARTS * streams as u64;
        rate.is_met_by(waited, came) && share >= came
    }
}
