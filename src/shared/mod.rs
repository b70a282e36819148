//! The border: what two threads touch, and nothing else. Atomics, channels and `Arc` live here.

pub mod access;
pub mod backend_table;
pub mod cache;
pub mod cache_counters;
pub mod client_count;
pub mod connection_failure;
pub mod counter;
pub mod failure;
pub mod health_record;
pub mod histogram;
pub mod mailbox;
pub mod outbox;
pub mod pulse;
pub mod route_counters;
pub mod slots;
pub mod socket_files;
pub mod sockets;
pub mod worker_counters;

/// The store of the cache as every thread holds it.
pub type SharedStore = std::sync::Arc<cache::CacheStore>;
/// An entry of the cache as whoever uses it holds it.
pub type SharedEntry = std::sync::Arc<cache::Entry>;
/// A route's counts of its cache as every snapshot of the route holds them.
pub type SharedCacheCounters = std::sync::Arc<cache_counters::CacheCounters>;
/// A fetch that others may wait for.
pub type SharedFill = std::sync::Arc<cache::RunningFill>;
/// A pool's counts as every snapshot of the pool holds them.
pub type SharedPoolCounters = std::sync::Arc<route_counters::PoolCounters>;
/// The backend tables as every thread holds them.
pub type SharedTables = std::sync::Arc<backend_table::BackendTables>;
