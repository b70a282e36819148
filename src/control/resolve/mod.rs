//! Host names of backends, looked up off the workers, each by itself: at once when it is new, and again and again from
//! then on. Nothing waits for a name that does not answer: the start for a moment, a change for a few seconds, and both
//! go on with what is known; a backend whose name was never resolved is down until it is.
//!
//! Names are looked up as every other program of the machine does it (`getaddrinfo`): with its hosts file, search
//! domains and name services. That call cannot be ended, so each one has a thread, of which there are few: see
//! [`LookUps`].

mod handed;
mod known;
mod look_ups;
mod run;
mod start;

use std::net::IpAddr;
use std::time::Duration;

pub use handed::{from_blobs, to_blob};
pub use known::Known;
pub use look_ups::LookUps;
pub use run::{Question, ask};
pub use start::begin;

use crate::config::{CannotCompile, Config, Resolved};
use crate::snapshot::Snapshot;

/// The answer about one name: its addresses, or the reason why there are none.
pub type Answer = (String, Result<Vec<IpAddr>, String>);

/// Compiles a configuration with these addresses; the number is the new snapshot's generation. Errors: why that is not
/// possible; the old snapshot stays in force then.
pub type Compile =
    Box<dyn FnMut(&Config, &Resolved, u64) -> Result<Snapshot, CannotCompile> + Send>;

/// The names that are looked up again and again, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub hosts: Vec<String>,
    /// Time between two look-ups of a name.
    pub every: Duration,
}

impl Names {
    /// The names of a configuration.
    pub fn of(config: &Config) -> Names {
        Names {
            hosts: config.names(),
            every: config.settings.resolve_interval,
        }
    }
}

/// The answers of look-ups.
#[derive(Debug)]
pub enum Found {
    /// About all names that a change needs for the first time.
    New(Vec<Answer>),
    /// About some of the names in force, once more.
    Again(Vec<Answer>),
}
