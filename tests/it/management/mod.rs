//! The management API, metrics, the live page, and the commands that speak to a running proxy.

mod admin_tls;
mod api;
mod cache_api;
mod changes;
mod committed;
mod metrics;
mod page;
mod pending;
mod remote;
mod rollbacks;
mod scrapers;
mod signs_of_life;
mod state_lock;
