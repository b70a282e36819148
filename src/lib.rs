//! # palantir: the map
//!
//! A reverse proxy for HTTP APIs: one io_uring runtime per core, nothing shared on the way of a request.
//!
//! ## The way of a request
//!
//! ```text
//! accept → parse → DECIDE: access → guard (client) → route → guard (route) → auth → cache lookup → balance → shed
//!        → ENCODE → upstream (connect, send, receive head)
//!        → RESPONSE: source → filters (cache fill, compression) → sink → record
//! ```
//!
//! (Guard, auth, cache, shed and filters are not built yet; their places in `worker/decide/mod.rs` are marked.)
//! [`worker`] holds the steps, `worker/proxy.rs` names them in this order. The files of `worker/`, in the order of a
//! request:
//!
//! * **the core**: `mod.rs` starts it, `shard.rs` has all that it owns, `plan.rs` the configuration in force,
//!   `mailbox.rs` takes messages of other threads
//! * **accept**: `accept.rs`, `turn_away.rs`, `client_room.rs` (places for clients), `idle_clients.rs`,
//!   `live_listener.rs`
//! * **connection**: `connection/` (from the first byte to the close), `downstream/` (the client's side: arrival,
//!   persistence, heads, lingering), `multiplex/` (the bytes of HTTP/2), `stream.rs` and `wire.rs` (a socket or a
//!   stream, with what was received)
//! * **exchange**: `proxy.rs` (the steps), `exchange.rs` (one request with its response, as plain data)
//! * **decide**: `decide/`: `head.rs`, `target.rs`, `trace.rs`, `facts.rs`, `challenge.rs`, `access.rs` and
//!   `demands.rs`, `route.rs`, `balance.rs` and `carrier.rs`, `memory.rs`; the pure parts are [`route`] and [`balance`]
//! * **reply**: `reply.rs`: any answer of our own; `failure.rs` and `shared/failure.rs`: the table of failures
//! * **encode**: `encode.rs`, `references.rs` (names in answers), `buffer_body.rs` (the body that is kept),
//!   `framing.rs`
//! * **upstream**: `forward.rs` (one attempt after the other), `retry.rs` (whether there is another), `attempt.rs` (one
//!   attempt), `upstream/` (connections), `upload.rs` (the rest of the body), `under_way.rs`, `leave.rs` and
//!   `resort.rs` (backends that turn unhealthy)
//! * **response**: `response/` (a head is received from the backend, the client is answered), `interim.rs`, `relay/`
//!   (bodies, from a source through filters to a sink), `body.rs`, `trailers.rs`, `tunnel.rs`
//! * **record**: `record.rs`, `log_ration.rs`
//! * **fairness**: `pace.rs` (the time of a core), `min_rate.rs` (slow clients), `memory/`
//!
//! Whether a request that failed at one backend may be sent to another is decided in `worker/retry.rs`;
//! `docs/architecture.md` has the whole table of what happens when something fails.
//!
//! A connection of HTTP/2 carries many requests: `worker/multiplex` moves its bytes, `http/h2` knows the protocol, and
//! each stream goes the same way from downstream on, as one side of an exchange (`worker/stream.rs`: a socket or a
//! stream). In between, every head has the form of HTTP/1: what comes over HTTP/2 is lowered to it, what goes out over
//! it raised from it.
//!
//! Near the way of a request: `http/h1/repair.rs` and `http/h2/repair.rs` write answers anew that are not well-formed and
//! have one reading. `http/proxy_fields.rs` lists the fields in which a stranger could pose as a proxy.
//!
//! ## The threads
//!
//! * **workers**, one per core, own their listeners, connections, idle upstream connections, balancers and timers. They
//!   speak to each other of two things only: of connections to a backend that may have no more of them
//!   (`worker/upstream/queue.rs`), and of places for clients when there are as many as may be
//!   (`worker/client_room.rs`).
//! * **health**, one, probes the backends and tells every worker what it found.
//! * **control**, one, is the only thread that changes the configuration: it takes signals, serves the management API,
//!   metrics and the live page, puts configurations in force, resolves names, and hands over to a new process.
//! * **files**, one, reads and writes files and compiles configurations for the control thread, which waits for no
//!   disk; **acme-files** does that for certificates that palantir orders.
//! * **access-log** and **log**, one each, write lines (`control/access_log`, [`base::log`]): a file or a pipe that
//!   does not answer stops no other thread.
//!
//! [`shared`] holds all that two threads touch. The one exception is the count of allocated bytes ([`base::memory`]),
//! because the process has one bound on these bytes, `limits.memory_bytes`. `worker/memory` has what a worker does near
//! that bound.
//!
//! ## Who waits for whom
//!
//! Where several want the same and there is not enough of it, one place decides: `worker/upstream/queue.rs` for
//! connections to a bounded backend, `worker/upstream/rest.rs` for backends that cannot be connected to,
//! `worker/upstream/descriptors.rs` for descriptors, `worker/client_room.rs` for places of clients, `worker/pace.rs`
//! for the time of a core, `worker/memory` for memory, and `http/h2/connection/send.rs` for the bytes of a connection.
//! `docs/architecture.md` says how ("Fair shares").
//!
//! ## The way of a change
//!
//! ```text
//! API, signal or command line → control/ask → control/desk (file + what the API said → checked) → config (compiled)
//!   → snapshot → every worker adopts it between two requests and says so → the answer
//! ```
//!
//! Certificates and the settings of TLS are loaded and built on the way (`config` says what, [`tls`] does it), never by
//! a worker. Those that palantir orders itself (`control/acme`) lie in files like all others: a new one is a file that
//! has changed (`control/file_watch`). A worker knows of it only what an authority that asks is answered
//! (`tls/challenges.rs`).
//!
//! ## The start and the control thread
//!
//! `cli/run` starts a process: `configuration` reads the file and compiles the first snapshot, `sockets` takes or binds
//! every listening socket, `workers` and `start` start the threads, and `go` lets them accept. An old process hands its
//! sockets over (`net/handover`), and named messages with them (`control/upgrade/blobs`): what the health thread knows
//! of the backends is one of them (`control/upgrade/health`, `health/resume`).
//!
//! The state of the control thread has an owner for each part: `control/configuration` (the configuration, and which
//! one is in force), `control/change` (the changes under way), `control/resolve` (names), `control/certificates` (keys
//! and certificates that are renewed), `control/departures` (backends that are drained), `control/listeners`,
//! `control/threads`, `control/file_thread`, `control/access_log`, `control/monitoring` (what is counted and shown),
//! `control/shutdown` and `control/succession` (upgrades and the service manager). `control/turn` is one turn of its
//! loop, and `control/compiler` compiles its configurations on the thread that works with files.
//!
//! ## The words
//!
//! One word per concept; `tests/tidy/words.rs` refuses older words as names, and a public type name that occurs twice.
//!
//! | word | meaning |
//! |---|---|
//! | settings, config, snapshot | what the file says; what was checked; what was compiled, for the threads |
//! | live config | a snapshot as one core uses it: with balancers, retry budgets and queues |
//! | config store | the configuration in force, its revisions, and the overrides |
//! | override | a value that the API has set in the place of the file's |
//! | operation, change request | what may be requested of the control thread; one request for it, with who requested it |
//! | pending operation | an operation that palantir requests of itself until it is done |
//! | removal | a backend that is drained and then removed |
//! | upgrade run | the state of a process that hands over to a new one, or takes over from an old one |
//! | TLS store | the certificates, keys and authorities that were loaded |
//! | exchange, head, body, trailers | a request and its answer, and the parts of each (RFC 9110) |
//! | head facts | what a proxy must know of a head: framing, connection options, special fields |
//! | pick, pick input | the choice of a backend by an algorithm, and what the algorithm may look at |
//! | drive | to move the bytes of a connection that many streams share |
//! | idle timeout estimate | after how long a backend seems to close its idle connections |
//! | counter, gauge | a number that only grows; a number that goes up and down |
//! | backend health, health event | what probes and requests say of a backend; a change of that |
//! | mailbox, inbox | the sending and the receiving end of a channel into a thread |
//! | accept switch, access policy | whether a listener accepts; whom the management API lets in |
//! | live stats | the figures of the last second, for the live page, `palantir top` and `GET /board` |
//!
//! ## Who may import whom
//!
//! Modules stand below in reading order; each may import those named before it, never one named after it. The steps
//! that only decide ([`balance`], [`route`]) do not import each other. `tests/tidy.rs` enforces both rules.

pub mod base;

pub mod http;

pub mod tls;

pub mod balance;
pub mod route;

pub mod shared;
pub mod snapshot;

pub mod messages;

pub mod net;
pub mod worker;

pub mod config;
pub mod health;

pub mod control;

pub mod test_server;

pub mod cli;

#[cfg(test)]
mod simulated;
