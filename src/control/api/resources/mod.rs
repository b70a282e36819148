//! The resources of the management API, one file for each.

pub mod bad_requests;
pub mod cache;
pub mod cache_entries;
pub mod cache_explain;
pub mod cache_purge;
pub mod config;
pub mod config_check;
pub mod config_diff;
pub mod docs;
pub mod events;
pub mod health;
pub mod live_stats;
pub mod metrics;
pub mod page;
pub mod pool_servers;
pub mod pools;
pub mod reload;
pub mod revisions;
pub mod routes;
pub mod servers;
pub mod stats;
pub mod upgrade;
pub mod version;
pub mod workers;
