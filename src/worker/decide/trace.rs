//! The trace that a request belongs to (W3C Trace Context).

use crate::http::h1::RequestHead;
use crate::http::traceparent::{self, TraceFields};
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;

const TRACEPARENT: &str = "traceparent";

/// The treatment of the fields that name the request's trace.
pub enum Trace {
    Pass,
    Drop,
    Begin([u8; traceparent::BYTES]),
}

impl Trace {
    /// The choice of the configuration for this request.
    pub fn of(shard: &Shard, config: &LiveConfig, head: &RequestHead<'_, '_>) -> Trace {
        let settings = config.snapshot().traceparent;
        match (settings.propagate, settings.create) {
            (true, false) => Trace::Pass,
            (true, true) if head.field(TRACEPARENT).is_some() => Trace::Pass,
            (_, true) => Trace::Begin(shard.begin_trace()),
            (false, false) => Trace::Drop,
        }
    }

    /// The edits of the encoder for the fields.
    pub fn fields(&self) -> TraceFields<'_> {
        match self {
            Trace::Pass => TraceFields::Pass,
            Trace::Drop => TraceFields::Drop,
            Trace::Begin(value) => TraceFields::Replace(value),
        }
    }

    /// The id of the trace that the backend is told; empty if there is none.
    pub fn id<'a>(&'a self, head: &RequestHead<'a, '_>) -> &'a [u8] {
        let value: Option<&[u8]> = match self {
            Trace::Pass => head.field(TRACEPARENT),
            Trace::Drop => None,
            Trace::Begin(value) => Some(value),
        };
        value.and_then(traceparent::trace_id).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::decide::sample::with_head;

    const VALUE: &[u8; traceparent::BYTES] =
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_log_has_the_trace_that_the_backend_is_told_of() {
        let with = format!("GET / HTTP/1.1\nHost: a\ntraceparent: {GIVEN}\n");
        let without = "GET / HTTP/1.1\nHost: a\n".to_owned();
        let rows = [
            (&with, Trace::Pass, &GIVEN[3..35]),
            (&without, Trace::Pass, ""),
            (&with, Trace::Drop, ""),
            (
                &with,
                Trace::Begin(*VALUE),
                "4bf92f3577b34da6a3ce929d0e0e4736",
            ),
        ];
        for (text, trace, expected) in rows {
            with_head(text, |head| {
                assert_eq!(trace.id(head), expected.as_bytes(), "{text}");
            });
        }
    }
}
