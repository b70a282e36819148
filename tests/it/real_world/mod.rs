//! What users of other proxies have reported, one file per kind.

mod client_bound;
mod hanging_backends;
mod named_checks;
mod panic_threshold;
mod tls_refusals;
