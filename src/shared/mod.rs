//! The border: what two threads touch, and nothing else. Atomics, channels and `Arc` live here.

pub mod access;
pub mod backend_table;
pub mod client_count;
pub mod count;
pub mod counts;
pub mod gauges;
pub mod health_record;
pub mod histogram;
pub mod links;
pub mod mailbox;
pub mod messages;
pub mod outbox;
pub mod pulse;
pub mod slots;
pub mod socket_files;
pub mod sockets;

#[cfg(test)]
pub mod sample;

/// A snapshot as the threads pass it around. A worker counts references once per snapshot, never once per request.
pub type SharedSnapshot = std::sync::Arc<crate::snapshot::Snapshot>;
/// A pool's counts as every snapshot of the pool holds them.
pub type SharedPoolCounts = std::sync::Arc<counts::PoolCounts>;
/// What an algorithm that uses keys makes of a pool, as every snapshot of the pool holds it.
pub type SharedHashTable = std::sync::Arc<crate::worker::balance::Table>;
/// The backend tables as every thread holds them.
pub type SharedTables = std::sync::Arc<backend_table::BackendTables>;
