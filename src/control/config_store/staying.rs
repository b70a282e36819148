//! The rule that a pool keeps a backend that takes requests.

use super::edit::Problem;
use crate::config::Config;

/// Checks that a change leaves the pool a backend that takes requests. Errors: the pool had such backends before the
/// change, and afterwards has only drained ones.
pub fn check(before: &Config, after: &Config, pool: &str) -> Result<(), Problem> {
    match (count(before, pool), count(after, pool)) {
        (Some(1..), Some(0)) => Err(Problem::conflict(format!(
            "no backend of pool {pool:?} would take requests any more, since those that are drained count as gone"
        ))),
        _ => Ok(()),
    }
}

/// The number of the pool's backends that are not drained; `None`: there is no such pool.
fn count(config: &Config, pool: &str) -> Option<usize> {
    let mut pools = config.settings.all_pools();
    let pool = pools.find(|one| one.name.value == pool)?;
    let staying = pool.backends.iter().filter(|backend| !backend.draining);
    Some(staying.count())
}
