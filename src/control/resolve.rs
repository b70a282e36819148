//! Host names of backends, looked up off the workers: all of them before the start, and again and again afterwards.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::base::limits;
use crate::config::{CannotCompile, Config, Resolved};
use crate::snapshot::Snapshot;

/// What looking up one name brought.
pub type Answer = (String, io::Result<Vec<IpAddr>>);

/// Compiles a configuration with these addresses; the number is the new snapshot's generation. Errors: why that is not
/// possible; the old snapshot stays in force then.
pub type Compile =
    Box<dyn FnMut(&Config, &Resolved, u64) -> Result<Snapshot, CannotCompile> + Send>;

/// What is looked up again and again, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub hosts: Vec<String>,
    /// Time between two look-ups.
    pub every: Duration,
}

impl Names {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Names {
        Names {
            hosts: config.names(),
            every: config.settings.resolve_interval,
        }
    }
}

/// What a look-up brought.
#[derive(Debug)]
pub enum Found {
    /// About names that a change needs for the first time.
    New(Vec<Answer>),
    /// About all names, once more.
    Again(Vec<Answer>),
}

/// Looks all names up, in parallel, and waits for each up to [`limits::RESOLVE_SECS`]. Names that do not resolve are
/// logged and absent. Blocks: it is meant for the time before anything is started.
pub fn look_up_all(hosts: &[String]) -> Resolved {
    let mut known = Known::default();
    if !hosts.is_empty() {
        match ask_all_blocking(hosts) {
            Ok(answers) => known.take_in(answers),
            Err(error) => warn!(%error, "names cannot be looked up"),
        }
    }
    known.resolved
}

fn ask_all_blocking(hosts: &[String]) -> io::Result<Vec<Answer>> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(limits::LOOKUPS)
        .build()?;
    let answers = runtime.block_on(ask_all(hosts));
    // A look-up that hangs would keep the runtime from being dropped.
    runtime.shutdown_background();
    Ok(answers)
}

/// The last good answers.
#[derive(Debug, Default)]
pub struct Known {
    resolved: Resolved,
    /// Names whose last look-up failed.
    failing: BTreeSet<String>,
    /// How many times addresses have come or gone.
    version: u64,
}

impl Known {
    /// What is known so far; of names that are absent it has been said that they do not resolve.
    pub fn new(hosts: &[String], resolved: Resolved) -> Known {
        let failing = hosts.iter().filter(|host| !resolved.contains_key(*host));
        Known {
            failing: failing.cloned().collect(),
            resolved,
            version: 0,
        }
    }

    /// Another number whenever an address has come or gone.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The last good answers; names that never had one are absent.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Those of `hosts` that were never looked up.
    pub fn missing(&self, hosts: Vec<String>) -> Vec<String> {
        let is_new =
            |host: &String| !self.resolved.contains_key(host) && !self.failing.contains(host);
        hosts.into_iter().filter(is_new).collect()
    }

    /// Forgets all but `hosts`.
    pub fn keep_only(&mut self, hosts: &[String]) {
        self.resolved.retain(|host, _| hosts.contains(host));
        self.failing.retain(|host| hosts.contains(host));
    }

    /// Takes answers over and logs what is new about names that do not resolve. A failure changes nothing: the last
    /// good answer stays.
    pub fn take_in(&mut self, answers: Vec<Answer>) {
        for (host, answer) in answers {
            match answer {
                Ok(addresses) => {
                    if self.failing.remove(&host) {
                        info!(name = host, "the name resolves again");
                    }
                    let is_new = self.resolved.get(&host) != Some(&addresses);
                    self.version += u64::from(is_new);
                    self.resolved.insert(host, addresses);
                }
                Err(error) => self.note_failure(host, &error),
            }
        }
    }

    fn note_failure(&mut self, host: String, error: &io::Error) {
        if !self.failing.contains(&host) {
            let meanwhile = match self.resolved.contains_key(&host) {
                true => "its last addresses stay in use",
                false => "its backends are down",
            };
            warn!(name = host, %error, "the name does not resolve: {meanwhile}");
            self.failing.insert(host);
        }
    }
}

/// Looks the names up again and again, until nobody wants to know. New ones begin a new pause.
pub async fn look_up_forever(mut names: watch::Receiver<Names>, found: mpsc::Sender<Found>) {
    loop {
        let Names { hosts, every } = names.borrow_and_update().clone();
        tokio::select! {
            () = sleep(every) => {}
            changed = names.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let answers = ask_all(&hosts).await;
        if found.send(Found::Again(answers)).await.is_err() {
            return;
        }
    }
}

/// Looks all names up, [`limits::LOOKUPS`] at a time.
pub async fn ask_all(hosts: &[String]) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(hosts.len());
    let mut under_way = JoinSet::new();
    for host in hosts {
        if under_way.len() == limits::LOOKUPS {
            answers.extend(under_way.join_next().await.and_then(Result::ok));
        }
        let host = host.clone();
        under_way.spawn(async move {
            let answer = ask_one(&host).await;
            (host, answer)
        });
    }
    while let Some(answer) = under_way.join_next().await {
        answers.extend(answer.ok());
    }
    answers
}

/// The addresses of one name: sorted, each once, at most [`limits::ADDRESSES_PER_NAME`].
async fn ask_one(host: &str) -> io::Result<Vec<IpAddr>> {
    let most = Duration::from_secs(limits::RESOLVE_SECS);
    let found = match timeout(most, tokio::net::lookup_host((host, 0))).await {
        Ok(found) => found?,
        Err(_) => {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {most:?}"),
            ));
        }
    };
    let addresses: BTreeSet<IpAddr> = found.map(|addr| addr.ip()).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no addresses",
        ));
    }
    Ok(addresses
        .into_iter()
        .take(limits::ADDRESSES_PER_NAME)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<IpAddr> {
        last.iter()
            .map(|last| IpAddr::from([192, 0, 2, *last]))
            .collect()
    }

    fn found(last: &[u8]) -> Vec<Answer> {
        vec![("api.internal".to_owned(), Ok(addresses(last)))]
    }

    fn lost() -> Vec<Answer> {
        vec![(
            "api.internal".to_owned(),
            Err(io::ErrorKind::NotFound.into()),
        )]
    }

    #[test]
    fn answers_table() {
        let mut known = Known::new(&["api.internal".to_owned()], Resolved::new());
        assert!(known.failing.contains("api.internal"));
        let steps = [
            (lost(), false, None),
            (found(&[1, 2]), true, Some(addresses(&[1, 2]))),
            (found(&[1, 2]), false, Some(addresses(&[1, 2]))),
            (lost(), false, Some(addresses(&[1, 2]))),
            (found(&[1, 2]), false, Some(addresses(&[1, 2]))),
            (found(&[2]), true, Some(addresses(&[2]))),
            (lost(), false, Some(addresses(&[2]))),
            (found(&[3]), true, Some(addresses(&[3]))),
        ];
        for (number, (answers, changed, expected)) in steps.into_iter().enumerate() {
            let failed = answers.iter().any(|(_, answer)| answer.is_err());
            let before = known.version();
            known.take_in(answers);
            assert_eq!(known.version() != before, changed, "step {number}");
            assert_eq!(
                known.resolved().get("api.internal").cloned(),
                expected,
                "step {number}"
            );
            assert_eq!(
                known.failing.contains("api.internal"),
                failed,
                "step {number}"
            );
        }
    }

    #[test]
    fn names_are_looked_up_and_those_that_do_not_exist_are_absent() {
        // A label longer than 63 bytes cannot even be asked for (RFC 1035 section 2.3.4): no name server is needed.
        let too_long = "x".repeat(64);
        let mut hosts = vec!["localhost".to_owned()];
        hosts.extend((0..limits::LOOKUPS).map(|number| format!("{too_long}.n{number}")));
        let resolved = look_up_all(&hosts);
        assert_eq!(resolved.len(), 1);
        assert!(resolved["localhost"].iter().all(IpAddr::is_loopback));
    }
}
