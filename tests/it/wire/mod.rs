//! HTTP as clients and backends see it: messages, fields, bodies, tunnels, and which route a request meets.

mod answers_beside_uploads;
mod broken_tunnels;
mod early_answer;
mod fields;
mod framing;
mod identity;
mod interim;
mod large_heads;
mod one_answer;
mod own_answers;
mod pipelining;
mod proxy_protocol;
mod refusals;
mod route_bypass;
mod routing;
mod smuggling;
mod streaming;
mod tracing;
mod upgrade;
mod websocket;
