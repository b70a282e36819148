//! The trace that a request belongs to (W3C Trace Context).

use crate::http::h1::RequestHead;
use crate::http::traceparent::{self, TraceFields};
use crate::worker::plan::Plan;
use crate::worker::shard::Shard;

const TRACEPARENT: &str = "traceparent";

/// What becomes of the fields that name the request's trace.
pub enum Trace {
    Pass,
    Drop,
    Begin([u8; traceparent::BYTES]),
}

impl Trace {
    /// What the configuration says, for this request.
    pub fn of(shard: &Shard, plan: &Plan, head: &RequestHead<'_, '_>) -> Trace {
        let settings = plan.snapshot().traceparent;
        match (settings.propagate, settings.create) {
            (true, false) => Trace::Pass,
            (true, true) if head.field(TRACEPARENT).is_some() => Trace::Pass,
            (_, true) => Trace::Begin(shard.begin_trace()),
            (false, false) => Trace::Drop,
        }
    }

    /// What the encoder does with the fields.
    pub fn fields(&self) -> TraceFields<'_> {
        match self {
            Trace::Pass => TraceFields::Pass,
            Trace::Drop => TraceFields::Drop,
            Trace::Begin(value) => TraceFields::Replace(value),
        }
    }

    /// The id of the trace that the backend is told of; empty if there is none.
    pub fn id<'a>(&'a self, head: &RequestHead<'a, '_>) -> &'a [u8] {
        let value: Option<&[u8]> = match self {
            Trace::Pass => head.field(TRACEPARENT),
            Trace::Drop => None,
            Trace::Begin(value) => Some(value),
        };
        value.and_then(traceparent::trace_id).unwrap_or_default()
    }
}
