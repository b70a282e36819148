//! A connection's protocol, frame by frame and in pairs.

mod client;
mod ends;
mod floods;
mod pair;
mod properties;
mod raw;
mod rules;
mod windows;

use std::time::Duration;

use super::*;
use crate::http::h2::Field;

/// How long a client may let everything stand still.
const IDLE: Duration = Duration::from_secs(60);
const PATIENCE: Patience = Patience {
    idle: IDLE,
    head: Duration::from_secs(10),
};

fn new_server() -> H2Connection {
    raw::server(LocalSettings::default())
}

fn field<'b>(name: &'b str, value: &'b str) -> Field<'b> {
    let (name, value) = (name.as_bytes(), value.as_bytes());
    Field {
        name,
        value,
        sensitive: false,
    }
}
