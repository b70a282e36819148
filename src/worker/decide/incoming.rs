//! The request that is decided on, as the steps of a decision see it.

use std::rc::Rc;

use super::target::RequestedPath;
use super::trace::Trace;
use crate::http::h1::RequestHead;
use crate::http::max_forwards::Forwards;
use crate::http::refusal::Refusal;
use crate::worker::downstream::Client;
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;

/// A request whose head has been parsed, with all values that the steps of a decision use.
pub struct Incoming<'a> {
    /// The core that decides.
    pub shard: &'a Shard,
    /// The client that has sent the request.
    pub client: &'a Client,
    /// The configuration with which the exchange began.
    pub config: &'a Rc<LiveConfig>,
    /// The head of the request.
    pub head: &'a RequestHead<'a, 'a>,
    /// The target of the request.
    pub target: RequestedPath<'a>,
    /// The treatment of the fields that name the request's trace.
    pub trace: Trace,
    /// How often the request may still be forwarded (`Max-Forwards`, RFC 9110 section 7.6.2). Errors: the field is
    /// malformed.
    pub forwards: Result<Forwards, Refusal>,
}
