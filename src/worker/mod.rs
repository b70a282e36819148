//! One core: its listeners, its connections, and every step of a request's way.

pub mod balance;
pub mod route;
