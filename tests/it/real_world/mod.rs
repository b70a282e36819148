//! What users of other proxies have reported, one file per kind.

mod hanging_backends;
mod panic_threshold;
