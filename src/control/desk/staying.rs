//! Whether a pool keeps a backend that takes requests.

use super::edit::Problem;
use crate::config::Config;

/// Errors: before, the pool had backends that take requests, and afterwards it has only drained ones, which count as gone.
pub fn check(before: &Config, after: &Config, pool: &str) -> Result<(), Problem> {
    match (count(before, pool), count(after, pool)) {
        (Some(1..), Some(0)) => Err(Problem::conflict(format!(
            "no backend of pool {pool:?} would take requests any more, since those that are drained count as gone"
        ))),
        _ => Ok(()),
    }
}

/// How many backends of the pool are not drained; `None`: there is no such pool.
fn count(config: &Config, pool: &str) -> Option<usize> {
    let mut pools = config.settings.all_pools();
    let pool = pools.find(|one| one.name.value == pool)?;
    let staying = pool.backends.iter().filter(|backend| !backend.draining);
    Some(staying.count())
}
