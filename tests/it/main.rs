//! What a user sees: the built binary, spoken to over real sockets. One module per feature, one program for all, so
//! that it is linked once.

mod access_log;
mod algorithms;
mod api;
mod backend_strictness;
mod bounds;
mod certificates;
mod command_line;
mod departures;
mod early_answer;
mod fields;
mod framing;
mod handover;
mod health;
mod interim;
mod keepalive;
mod metrics;
mod names;
mod nginx;
mod own_answers;
mod page;
mod pipelining;
mod refusals;
mod reload;
mod remote;
mod retries;
mod routing;
mod shutdown;
mod smuggling;
mod streaming;
mod support;
mod systemd;
mod tracing;
mod upgrade;
