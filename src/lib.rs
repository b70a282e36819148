//! # palantir: the map
//!
//! A reverse proxy for HTTP APIs: one io_uring runtime per core, nothing shared on the way of a request.
//!
//! ## The steps of a request
//!
//! ```text
//! accept → parse → DECIDE: access → route → cache → balance → ENCODE → upstream (connect, send, receive head)
//!        → RESPONSE: source → head → body (cache fill) → record
//! ```
//!
//! Each step has a file or a folder in [`worker`]. A decision has outcomes: more bytes are needed, the request waits,
//! is answered by a reply of our own or by a stored response, or is forwarded. The files in the order of a request,
//! with `src/` left out:
//!
//! ```text
//! worker/accept.rs        takes in new connections; accept/pause.rs after an error, accept/turn_away.rs where the
//!                         clients in a queue came for another purpose
//! worker/client_room.rs   is there a place for another client: client_room/idle.rs lists the connections that may be
//!                         closed for one, client_room/wait.rs waits for a client
//! worker/connection/      a client's connection from accept to close: opening.rs (PROXY header, TLS), h1.rs, h2.rs,
//!                         tasks.rs (streams), failure.rs
//! worker/multiplex/       HTTP/2 connections on either side: connection/ (connection/drive.rs, connection/events.rs,
//!                         connection/watch.rs, connection/stream.rs), state.rs
//! worker/downstream/      the client's side: arrival.rs, head.rs, persistence.rs (may the connection go on), linger.rs
//! worker/proxy.rs         the way of one request through all that follows; exchange.rs is the request and its response
//! worker/decide/          the decision: head.rs, incoming.rs, facts.rs, access.rs, demands.rs, challenge.rs,
//!                         target.rs, route.rs, purge.rs, balance.rs, carrier.rs, trace.rs, memory.rs
//! worker/decide/cache.rs  the look-up in the cache: cache/fields.rs, cache/choice.rs (several match),
//!                         cache/follow.rs, cache/lead.rs (fetches of the cache's own), cache/parts.rs,
//!                         cache/sliced.rs
//! worker/cache/           the cache as one core uses it: asked_url.rs (the URL and its key), front.rs and rendered.rs
//!                         (what this core serves most), fetch.rs and own.rs (a request whose answer concerns the
//!                         cache), follow.rs and waits.rs (requests that wait for another's answer), recall.rs
//!                         (requests that wait for the disk), refresh.rs (requests without a client), effect.rs,
//!                         effect_on_part.rs and effect_on_slice.rs (what an answer does to the cache),
//!                         stored_head.rs, fill.rs and detached.rs (an answer is stored on its way, whatever its
//!                         client does), instead.rs (in the place of a failure), serving.rs, serve.rs,
//!                         served_head.rs, stored_body.rs (an answer from the store), slices.rs and sliced_body.rs
//!                         (an answer in slices)
//! worker/reply.rs         answers of our own; reply/render.rs renders their bytes once per core
//! worker/encode.rs        the request as a backend gets it; encode/told.rs: what the backend is told of the client
//! worker/buffer_body.rs   the part of a body that has come already
//! worker/forward.rs       sends a request to a backend, and perhaps to another one; forward/connection.rs asks for a
//!                         connection, retry.rs decides, and live_config.rs is the snapshot as this core uses it:
//!                         live_config/pool.rs (balancer, retry budget, queue), live_config/resort.rs (which backends
//!                         take requests), live_config/listener.rs (the settings of a listener)
//! worker/upstream/        connections to backends: caller.rs (for whom), pick.rs, wait.rs, queue.rs, connect.rs,
//!                         connecting.rs, reach.rs, race.rs, dial.rs, stream.rs, shared.rs, idle.rs, keep.rs,
//!                         idle_timeout.rs, peak.rs, hold.rs, descriptors.rs, await_descriptor.rs, carrier.rs,
//!                         rest.rs, trial.rs, reuse_key.rs, websocket.rs
//! worker/attempt.rs       one attempt at one backend: attempt/parties.rs, attempt/send.rs, attempt/duplex.rs,
//!                         upload.rs and upload/rate.rs (the body), under_way.rs and leave.rs (its backend turns
//!                         unhealthy), unfinished.rs (a connection that was not used to its end), failure.rs
//! worker/response/        a response from its backend to the client: begin.rs, receive.rs, head.rs, answer.rs
//! worker/interim.rs       bounds interim heads; references.rs rewrites references to the backend
//! worker/relay/           the one pump for bodies: source.rs, filter.rs, sink.rs
//! worker/body.rs          the framing of bodies: body/framing.rs chooses how one is framed, body/trailers.rs which
//!                         trailers it has; wire.rs and stream.rs are the two sides of an exchange,
//!                         bulk_turns.rs lets bulk transfers take turns, min_rate.rs measures slow clients
//! worker/contain.rs       a panic of a task ends the work of that task alone
//! worker/tunnel.rs        bytes both ways after a 101
//! worker/record.rs        counts and logs the exchange; log_ration.rs bounds the lines
//! ```
//!
//! Around the requests of a core: `worker/shard.rs` is all that a core owns (`worker/shard/accepting.rs` has the
//! listeners and connections, `worker/shard/adoption.rs` takes snapshots over, `worker/shard/backends.rs` knows the
//! states of backends, `worker/shard/counted.rs` has guards of what is counted, `worker/shard/ending.rs` ends a
//! worker), `worker/tick.rs` is due at every tick, `worker/mailbox.rs` takes messages of other threads, and
//! `worker/memory/` acts when memory runs short (`worker/memory/relays.rs`, `worker/memory/relief.rs`,
//! `worker/memory/sends.rs`).
//!
//! Heads have the form of HTTP/1 inside, whatever the version of either side. `http/h1/repair.rs` and
//! `http/h2/repair.rs` write answers anew that are not well-formed and have one reading. `http/proxy_fields.rs` lists
//! the fields in which a stranger could pose as a proxy. `docs/architecture.md` has the table of all failures, which
//! `shared/failure.rs` declares.
//!
//! ## The threads
//!
//! * **worker**, one per core: owns its listeners, connections, idle upstream connections, balancers and timers.
//!   Workers tell each other of two things only: connections to a backend that may have no more of them
//!   (`worker/upstream/queue.rs`), and places for clients (`worker/client_room.rs`).
//! * **health**, one: probes the backends and tells every worker their states.
//! * **control**, one: alone changes the configuration. The thread takes signals, serves the management API, metrics
//!   and the live page, puts configurations in force, resolves names, and hands over to a new process.
//! * **files** and **acme-files**: read and write files for the control thread, which waits for no disk.
//! * **cache-disk**, one, and **cache-recall**, two: write what leaves the cache to the disk, and read it again
//!   (`shared/cache/disk/`). Workers never wait for a file.
//! * **access-log** and **log**: write lines (`control/access_log/`, [`base::log`]). A file or a pipe that does not
//!   answer stops no other thread.
//!
//! [`shared`] holds all that two threads touch. The one exception is the count of allocated bytes ([`base::memory`]),
//! because the process has one bound on these bytes, `limits.memory`.
//!
//! ## Who waits for whom
//!
//! Where several want the same and there is not enough of it, one place decides: `worker/upstream/queue.rs` for
//! connections to a bounded backend, `worker/upstream/rest.rs` for backends that cannot be connected to,
//! `worker/upstream/descriptors.rs` for descriptors, `worker/client_room.rs` for places of clients,
//! `worker/bulk_turns.rs` for the time of a core, `worker/memory/` for memory, and `http/h2/connection/send.rs` for the
//! bytes of a connection. `docs/architecture.md` says how ("Fair shares").
//!
//! ## The way of a change
//!
//! ```text
//! API, signal or command line → control: file + overrides → config: checked → compiled → snapshot
//!   → every worker adopts the snapshot between two requests and says so → the answer
//! ```
//!
//! Certificates and the settings of TLS are loaded and built on the way ([`config`] names them, [`tls`] loads them),
//! never by a worker. Certificates that palantir orders itself (`control/acme/`) lie in files like all others: a new
//! one is a file that has changed (`control/file_watch.rs`). A worker only knows the answers to an authority that asks
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
//! and certificates that are renewed), `control/removals` (backends that are drained), `control/listeners`,
//! `control/threads`, `control/file_thread`, `control/access_log`, `control/monitoring` (what is counted and shown),
//! `control/shutdown`, `control/upgrade/run` (upgrades) and `control/service_manager` (the messages to systemd).
//! `control/turn` is one turn of its loop, and `control/compiler` compiles its configurations on the thread that works
//! with files.
//!
//! ## The layers
//!
//! Each module imports only those above it, and no files import each other in a circle. `tests/tidy.rs` enforces both.
//!
//! | layer | modules |
//! |---|---|
//! | foundations | [`base`]: bounds, ids, time; [`http`]: the wire without I/O; [`tls`]: certificates, keys |
//! | steps that only decide, with their compiled forms | [`route`], [`balance`], [`cache`] |
//! | between threads | [`shared`]: counters and tables; [`snapshot`]: the compiled configuration; [`messages`] |
//! | the data plane | [`net`]: the engine and its sockets; [`worker`]: one core |
//! | the control plane | [`config`], [`health`], [`control`] |
//! | the outside | [`cli`], [`test_server`] |
//!
//! ## Glossary
//!
//! One word per concept. `tests/tidy/words.rs` refuses older words as names, and a public type name that occurs twice.
//!
//! * **downstream**, **upstream**: the side of the client, the side of the backend.
//! * **listener**: an address that clients connect to, with its settings.
//! * **route**: host and path prefix, with the pool and the conditions of their requests.
//! * **pool**: backends that do the same work; **backend**: one of them; **balancer**: an algorithm at work, which
//!   `pick`s a backend.
//! * **exchange**: one request with its response. **Reply**: an answer of our own. **Failure**: an exchange or an
//!   attempt that went wrong, with the party at fault.
//! * **healthy**, **unhealthy**, **draining**: states of a backend. **Probe**: an active check. **Outlier**: a backend
//!   that is ejected for its answers.
//! * **settings**: as the operator wrote them; **config**: checked; **snapshot**: compiled. **Override**: a change by
//!   the API against the file. **Revision**: one state of file and overrides.
//! * **reload**: another snapshot for the running process. **Upgrade**: another process takes the sockets over.
//!   **Drain**: nothing new begins, what runs may end.
//! * **worker**: a thread that serves; **shard**: what it owns.
//! * **timeout**: a setting; **deadline**: an instant. **Counter**: only goes up; **gauge**: goes up and down.
//! * **live config**: a snapshot as one core uses it, with balancers, retry budgets and queues.
//! * **config store**: the configuration in force, its revisions and the overrides. **Operation**: a demand on the
//!   control thread; **change request**: one demand with its author; **pending operation**: a demand that palantir
//!   repeats by itself until the operation is done.
//! * **removal**: a backend that is drained and then removed. **Upgrade run**: the state of a process that hands over
//!   to a new one, or takes over from an old one.
//! * **TLS store**: the loaded certificates, keys and authorities.
//! * **head facts**: the framing, connection options and special fields of a head. **Drive**: to move the bytes of a
//!   connection that many streams share.
//! * **idle timeout estimate**: the time after which a backend seems to close its idle connections.
//! * **backend health**: the findings of probes and requests about a backend; **health event**: a change of them.
//! * **mailbox**, **inbox**: the sending and the receiving end of a channel into a thread.
//! * **accept switch**: turns the accepting of a listener off and on; **access policy**: decides who may use the
//!   management API.
//! * **live stats**: the figures of the last second, for the live page, `palantir top` and `GET /board`.

pub mod base;

pub mod http;

pub mod tls;

pub mod balance;
pub mod cache;
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

// The simulated world, in which the tests of the library run whole workers: sockets, the clock, the order of tasks and
// all chances come from a seed.
#[cfg(test)]
mod simulated;
