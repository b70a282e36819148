//! The names of the configuration in force, as the control thread follows them: which are looked up, what is known of
//! them, and how much of that the workers have.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::{KnownAddrs, LookUpRequest, LookUpResults, WatchedNames, ask};
use crate::config::Config;
use crate::shared::counter::Counter;

/// The names that are followed, and the channels to and from the task that looks names up.
pub struct FollowedNames {
    /// The addresses that are known.
    pub known: KnownAddrs,
    /// The version of the addresses in the snapshot in force.
    pub in_force: u64,
    /// The names that are looked up repeatedly.
    pub followed: watch::Sender<WatchedNames>,
    /// The channels to and from the task that looks names up.
    pub channels: NameChannels,
}

/// The channels of look-ups, as the control thread has them.
pub struct NameChannels {
    /// Delivers the answers of look-ups to the control thread.
    pub found: mpsc::Sender<LookUpResults>,
    /// Receives the names to look up for the first time.
    pub questions: mpsc::Sender<LookUpRequest>,
    /// The number of look-ups that hang.
    pub hanging: Arc<Counter>,
}

impl FollowedNames {
    /// Follows the names of this configuration, of which `known` says what was found before the start.
    pub fn new(
        config: &Config,
        revision: u64,
        mut known: KnownAddrs,
        channels: NameChannels,
    ) -> FollowedNames {
        let names = WatchedNames::of(config);
        known.keep(&names.hosts, revision);
        FollowedNames {
            in_force: known.version(),
            known,
            followed: watch::Sender::new(names),
            channels,
        }
    }

    /// Has exactly the names of this configuration looked up from now on.
    pub fn follow(&mut self, config: &Config, revision: u64) {
        let names = WatchedNames::of(config);
        self.known.keep(&names.hosts, revision);
        self.followed.send_if_modified(|followed| {
            let is_new = *followed != names;
            *followed = names;
            is_new
        });
    }

    /// Looks no name up any more.
    pub fn stop(&self) {
        self.followed.send_modify(|names| names.hosts.clear());
    }

    /// Whether the snapshot in force lacks addresses that are known.
    pub fn is_behind(&self) -> bool {
        debug_assert!(self.in_force <= self.known.version());
        self.in_force != self.known.version()
    }

    /// Has these names looked up for the first time. The answers come as [`LookUpResults::New`].
    pub fn look_up(&self, missing: Vec<String>) {
        let found = self.channels.found.clone();
        let asked = ask(self.channels.questions.clone(), missing);
        tokio::spawn(async move {
            let answers = asked.await;
            let _ = found.send(LookUpResults::New(answers)).await; // The control thread's loop may have ended.
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use super::*;
    use crate::config;

    fn config(backends: &str) -> Config {
        let text = format!("[[pools]]\nname = \"api\"\nbackends = [{backends}]\n");
        config::parse(Path::new("test.toml"), text).unwrap()
    }

    fn names() -> FollowedNames {
        let channels = NameChannels {
            found: mpsc::channel(1).0,
            questions: mpsc::channel(1).0,
            hanging: Arc::default(),
        };
        FollowedNames::new(
            &config("\"api.internal:80\""),
            1,
            KnownAddrs::default(),
            channels,
        )
    }

    #[test]
    fn new_addresses_are_missing_until_they_are_in_force() {
        let mut names = names();
        assert!(!names.is_behind());
        let address = IpAddr::from([192, 0, 2, 1]);
        let answer = ("api.internal".to_owned(), Ok(vec![address]));
        names.known.take_in(vec![answer]);
        assert!(names.is_behind());
        names.in_force = names.known.version();
        assert!(!names.is_behind());
    }

    #[test]
    fn the_names_of_the_configuration_in_force_are_followed_until_the_end() {
        let mut names = names();
        let mut followed = names.followed.subscribe();
        assert_eq!(followed.borrow_and_update().hosts, ["api.internal"]);
        names.follow(&config("\"api.internal:81\""), 2);
        assert!(!followed.has_changed().unwrap(), "the names are the same");
        names.follow(&config("\"other.internal:80\""), 3);
        assert_eq!(followed.borrow_and_update().hosts, ["other.internal"]);
        names.stop();
        assert_eq!(followed.borrow_and_update().hosts, [""; 0]);
    }
}
