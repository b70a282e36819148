//! Every bound of the program, by subject. A bound that is configurable has its hard maximum here and its default in
//! [`default`]; every other bound is fixed here. Nothing in palantir grows without one of these lines.
//!
//! Each bound says its meaning and unit, and its impact where a change would not show it: the cost of a larger or a
//! smaller number, or the party that the bound protects. Relations between bounds are asserted below them when the
//! program is compiled.

pub mod default;
pub mod h2_flood;

mod acme;
mod cache;
mod cache_disk;
mod cache_store;
mod configuration;
mod control;
mod core;
mod health;
mod http2;
mod logs;
mod management;
mod memory;
mod message;
mod sockets;
mod test_server;
mod tls;
mod upstream;

pub use self::acme::*;
pub use self::cache::*;
pub use self::cache_disk::*;
pub use self::cache_store::*;
pub use self::configuration::*;
pub use self::control::*;
pub use self::core::*;
pub use self::health::*;
pub use self::http2::*;
pub use self::logs::*;
pub use self::management::*;
pub use self::memory::*;
pub use self::message::*;
pub use self::sockets::*;
pub use self::test_server::*;
pub use self::tls::*;
pub use self::upstream::*;
