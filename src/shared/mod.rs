//! The border: what two threads touch, and nothing else. Atomics, channels and `Arc` live here.

pub mod access;
pub mod backend_table;
pub mod client_count;
pub mod connection_failure;
pub mod count;
pub mod counts;
pub mod failure;
pub mod gauges;
pub mod health_record;
pub mod histogram;
pub mod mailbox;
pub mod outbox;
pub mod pulse;
pub mod slots;
pub mod socket_files;
pub mod sockets;

/// A pool's counts as every snapshot of the pool holds them.
pub type SharedPoolCounts = std::sync::Arc<counts::PoolCounts>;
/// The backend tables as every thread holds them.
pub type SharedTables = std::sync::Arc<backend_table::BackendTables>;
