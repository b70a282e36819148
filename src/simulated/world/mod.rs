//! The world around the workers: clients and backends, what is known of every request, and what must hold.
//!
//! A `scenario` is made of a seed (`generate`), run (`run`), looked at (`ledger`, `check`), and made smaller while it
//! fails (`shrink`). Clients and backends speak HTTP/1 (`message`) and HTTP/2 (`frames`) with code of their own.
//! `cached` is another world with the same workers, whose routes have a cache.

mod backend_one;
mod backend_two;
mod cached;
mod check;
mod client_one;
mod client_two;
mod course;
mod frames;
mod generate;
mod ledger;
mod message;
mod panics;
mod run;
mod scenario;
mod script;
mod settings;
mod shrink;
mod stage;
mod tests;
