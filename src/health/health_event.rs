//! Changes of states that the workers and the operator should know, and their texts in the log.

use tracing::{info, warn};

use crate::health::backend_ref::BackendRef;
use crate::health::probe::ProbeOutcome;
use crate::messages::StateChange;
use crate::shared::backend_table::BackendState;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthEvent {
    Changed(StateChange),
    /// A backend that is drained, or that the configuration no longer has, fails its probes, or passes them again. That
    /// concerns only the requests that are under way there.
    DownChanged(StateChange),
    /// No backend of the pool of this name is healthy.
    PoolDown(String),
    /// One is again.
    PoolUp(String),
    /// So few backends of the pool of this name are healthy that all take requests.
    PanicBegan {
        pool: String,
        healthy: usize,
        of: usize,
        threshold: u32,
    },
    /// Enough are healthy again, or the pool does not panic any more.
    PanicEnded(String),
}

impl StateChange {
    /// A change of the backend at `place`.
    pub fn new(
        backend_ref: &BackendRef,
        from: Option<BackendState>,
        to: BackendState,
        reason: String,
    ) -> StateChange {
        StateChange {
            id: backend_ref.id(),
            pool: backend_ref.pool().name.clone(),
            backend: backend_ref.backend().label.clone(),
            from,
            to,
            is_down: false,
            reason,
        }
    }

    /// Says whether the backend fails its probes.
    pub fn with_down(self, is_down: bool) -> StateChange {
        StateChange { is_down, ..self }
    }
}

impl HealthEvent {
    /// Writes its one line to the log. A backend that is new and healthy concerns nobody but the workers.
    pub fn log(&self) {
        match self {
            HealthEvent::Changed(change) => change.log(),
            HealthEvent::DownChanged(change) => {
                let StateChange {
                    pool,
                    backend,
                    reason,
                    ..
                } = change;
                let what = match change.to {
                    BackendState::Draining => "a backend that is drained",
                    _ => "a backend that was taken out, and has requests under way,",
                };
                if change.is_down {
                    warn!(pool, backend, reason, "{what} is down")
                } else {
                    info!(pool, backend, reason, "{what} is up again")
                }
            }
            HealthEvent::PoolDown(pool) => warn!(pool, "no backend of the pool is healthy"),
            HealthEvent::PoolUp(pool) => info!(pool, "the pool has a healthy backend again"),
            HealthEvent::PanicBegan {
                pool,
                healthy,
                of,
                threshold,
            } => warn!(
                pool,
                "the pool panics: {healthy} of {of} backends are healthy, which is less than {threshold} % \
                 (panic_threshold), so all of them take requests"
            ),
            HealthEvent::PanicEnded(pool) => warn!(
                pool,
                "the pool panics no longer: only healthy backends take requests"
            ),
        }
    }
}

impl StateChange {
    fn log(&self) {
        let StateChange {
            pool,
            backend,
            reason,
            to,
            ..
        } = self;
        let Some(from) = self.from.map(BackendState::label) else {
            return;
        };
        match to {
            BackendState::Healthy => {
                info!(
                    pool,
                    backend,
                    from,
                    to = to.label(),
                    reason,
                    "backend changed"
                );
            }
            _ => warn!(
                pool,
                backend,
                from,
                to = to.label(),
                reason,
                "backend changed"
            ),
        }
    }
}

/// Why probes turned a backend over: `3 probes failed: connection refused`, `1 probe passed: answered 200`.
pub fn probes_in_words(count: u32, outcome: &ProbeOutcome) -> String {
    let probes = if count == 1 { "probe" } else { "probes" };
    match outcome {
        Ok(words) => format!("{count} {probes} passed: {words}"),
        Err(words) => format!("{count} {probes} failed: {words}"),
    }
}
