//! Host names of backends. They are looked up outside the workers, each name by itself: at once when it is new, and
//! repeatedly from then on. A start waits a moment for a name that does not answer, and a change waits a few seconds;
//! both then go on with the addresses that are known. A backend is down until its name was resolved for the first time.
//!
//! Palantir looks names up as every other program of the machine does (`getaddrinfo`): with the machine's hosts file,
//! search domains and name services. That call cannot be cancelled, so each look-up has a thread, of which there are
//! few: see [`LookUps`].

mod followed;
mod handed;
mod known;
mod look_ups;
mod run;
mod start;

use std::net::IpAddr;
use std::time::Duration;

pub use followed::{FollowedNames, NameChannels};
pub use handed::{NAMES, from_blobs, to_blob};
pub use known::KnownAddrs;
pub use look_ups::LookUps;
pub use run::{LookUpRequest, ask};
pub use start::begin;

use crate::config::Config;

/// The answer about one name: its addresses, or the reason why there are none.
pub type LookUpAnswer = (String, Result<Vec<IpAddr>, String>);

/// The names that are looked up repeatedly, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedNames {
    /// The names, each once.
    pub hosts: Vec<String>,
    /// Time between two look-ups of a name.
    pub every: Duration,
}

impl WatchedNames {
    /// The names of a configuration.
    pub fn of(config: &Config) -> WatchedNames {
        WatchedNames {
            hosts: config.names(),
            every: config.settings.resolve_interval,
        }
    }
}

/// The answers of look-ups.
#[derive(Debug)]
pub enum LookUpResults {
    /// Answers about all names that a change needs for the first time.
    New(Vec<LookUpAnswer>),
    /// Answers about some of the names in force.
    Again(Vec<LookUpAnswer>),
}
