//! The border: what two threads touch, and nothing else. Atomics, channels and `Arc` live here.

pub mod access;
pub mod backend_table;
pub mod gauges;
pub mod mailbox;
pub mod messages;
pub mod outbox;
pub mod slots;

#[cfg(test)]
pub mod sample;
