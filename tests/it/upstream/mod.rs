//! Backends: how one is chosen, connected to, probed, kept and left, and what happens when it fails.

mod algorithms;
mod at_the_bound;
mod backend_strictness;
mod drained;
mod failure_table;
mod h2_backends;
mod h2_silence;
mod health;
mod keepalive;
pub mod names;
mod nginx;
mod probe_shares;
mod probes;
mod resting;
mod retries;
mod reuse;
mod slow_names;
mod stranger_bytes;
mod surplus;
mod vanished;
