//! The operations of the proxy during which a call on a file fails.

use std::fs;

use serde_json::json;

use super::place::World;
use crate::support::eventually;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Start,
    Change,
    Reload,
    Trial,
    Rollback,
    Drain,
    Renewal,
    Order,
    Rotation,
    Reading,
    Upgrade,
    Stop,
}

use Operation::*;

pub const ALL: [Operation; 12] = [
    Start, Change, Reload, Trial, Rollback, Drain, Renewal, Order, Rotation, Reading, Upgrade, Stop,
];

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done,
    Refused(String),
    /// There was no answer, or the answer leaves open whether the change comes into force.
    Unknown,
}

impl Operation {
    /// Does what must be done before the operation. Changes that the API acknowledges here must never be lost.
    #[track_caller]
    pub fn prepare(self, world: &World) {
        let [first, second] = world.place.added;
        add(world, first);
        if let Rollback | Drain = self {
            add(world, second);
        }
    }

    /// Starts the operation, and waits for its answer.
    #[track_caller]
    pub fn perform(self, world: &World) -> Outcome {
        let [_, second] = world.place.added;
        let ask = |line: &str, body: &str| outcome(world.say(line, body));
        match self {
            Change => ask("POST /servers", &url(second)),
            Reload => {
                world.write_config(2);
                ask("POST /reload", "")
            }
            Trial => {
                world.write_config(3);
                let begun = ask("POST /reload", "{\"confirm_secs\": 0.1}");
                self.comes_true(world, begun)
            }
            Rollback => ask("POST /config/rollback", "{\"revision\": 2}"),
            Drain => {
                let line = format!(
                    "DELETE /servers/{}/{}?drain=100ms",
                    second.ip(),
                    second.port()
                );
                let begun = ask(&line, "");
                self.comes_true(world, begun)
            }
            Renewal => {
                world.place.renew();
                let begun = ask("POST /reload", "");
                self.comes_true(world, begun)
            }
            Order => {
                world.write_text(&world.place.config_with_order());
                let begun = ask("POST /reload", "");
                self.comes_true(world, begun)
            }
            Rotation => {
                let log = world.place.files.path().join("access.log");
                // An earlier attempt may have moved the file.
                let _ = fs::rename(&log, log.with_extension("old"));
                world.proxy.signal(libc::SIGUSR1);
                self.comes_true(world, Outcome::Done)
            }
            Reading => {
                let lines = ["/metrics", "/config/diff", "/config", "/workers"];
                let all = lines.map(|path| ask(&format!("GET {path}"), ""));
                all.into_iter()
                    .find(|one| *one != Outcome::Done)
                    .unwrap_or(Outcome::Done)
            }
            Upgrade => ask("POST /upgrade", ""),
            Start | Stop => unreachable!("these are asked of a process, not of its API"),
        }
    }

    /// Waits until an acknowledged change is in force.
    #[track_caller]
    fn comes_true(self, world: &World, begun: Outcome) -> Outcome {
        if begun != Outcome::Done {
            return begun;
        }
        let mut outcome = Outcome::Unknown;
        eventually("what was promised is in force", || {
            match self.is_in_force(world) {
                Some(true) => outcome = Outcome::Done,
                Some(false) => return false,
                None => {}
            }
            true
        });
        outcome
    }

    /// Whether the change is in force; `None`: that cannot be seen.
    #[track_caller]
    fn is_in_force(self, world: &World) -> Option<bool> {
        let [_, second] = world.place.added;
        match self {
            Change => world.has(second),
            Rollback | Drain => world.has(second).map(|has| !has),
            Reload => world.number().map(|number| number == 2.0),
            Trial => world.number().map(|number| number == 1.0),
            Renewal => world.shows_newest(),
            Order => world.shows_ordered(),
            Rotation => {
                // Asks for another line in the log, which also shows whether the API answers.
                let _ = world.is_served();
                world.say("GET /health", "")?;
                let log = fs::metadata(world.place.files.path().join("access.log"));
                Some(log.is_ok_and(|log| log.len() > 0))
            }
            _ => None,
        }
    }

    /// The answer agrees with the configuration in force.
    #[track_caller]
    pub fn is_as_said(self, world: &World, outcome: &Outcome) {
        let wrong = match outcome {
            Outcome::Done => Some(false),
            // A refused trial leaves the former configuration in force, as one does that was taken back; and files of
            // certificates are loaded without an operation.
            Outcome::Refused(_) if !matches!(self, Trial | Renewal) => Some(true),
            _ => return,
        };
        assert_ne!(self.is_in_force(world), wrong, "{outcome:?}");
    }

    /// Whether the answer comes after all work on files.
    pub fn answers_at_its_end(self) -> bool {
        matches!(self, Change | Reload | Rollback | Renewal | Reading)
    }

    /// Whether a new process shows the change, too: every start loads the content of the file.
    pub fn is_kept(self) -> bool {
        matches!(self, Change | Rollback | Drain)
    }
}

fn url(addr: std::net::SocketAddr) -> String {
    json!({ "url": format!("http://{addr}") }).to_string()
}

#[track_caller]
fn add(world: &World, addr: std::net::SocketAddr) {
    let (status, text) = world.say("POST /servers", &url(addr)).expect("an answer");
    assert!([200, 201].contains(&status), "{status} {text}");
}

fn outcome(said: Option<(u16, String)>) -> Outcome {
    match said {
        Some((200..=299, _)) => Outcome::Done,
        Some((_, text)) if text.contains("may still come into force") => Outcome::Unknown,
        Some((status, text)) => Outcome::Refused(format!("{status} {text}")),
        None => Outcome::Unknown,
    }
}

impl World<'_> {
    /// Replaces the content of the configuration file.
    pub fn write_config(&self, number: u32) {
        self.write_text(&self.place.config(number));
    }

    fn write_text(&self, text: &str) {
        self.proxy.directory.write("config.toml", text);
    }
}
