//! Decides which backends of a pool take requests, as one worker sees them.

use crate::shared::backend_table::{BackendState, BackendTable};
use crate::snapshot::Backend;

/// The preference for a backend. Requests go to the backends with the first preference that any backend has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resort {
    Healthy,
    /// The backend answers, but too often with failures. A backend of this kind is used if no healthy one can be
    /// connected to.
    Ejected,
    /// The backend could not be connected to. If that is true of all backends, each is as good as any other.
    Resting,
}

impl Resort {
    /// The preference for a backend; `None`: the backend takes no requests. `panics`: the states of backends are
    /// ignored.
    pub fn of(backend: &Backend, table: &BackendTable, panics: bool) -> Option<Resort> {
        let is_resting = table.share(backend.id()) == 0;
        if backend.addr.is_none() || backend.draining {
            return None;
        }
        let state = if panics {
            BackendState::Healthy
        } else {
            table.state(backend.id())
        };
        match state {
            BackendState::Healthy if !is_resting => Some(Resort::Healthy),
            BackendState::Ejected if !is_resting => Some(Resort::Ejected),
            BackendState::Healthy => Some(Resort::Resting),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::WorkerId;
    use crate::base::limits;
    use crate::shared::backend_table::BackendTables;
    use crate::shared::slots::Slots;
    use crate::snapshot::sample;

    #[test]
    fn state_and_share_decide_how_willingly_a_backend_is_used() {
        use BackendState::{Draining, Ejected, Healthy, Unhealthy};
        const WHOLE: u8 = limits::WHOLE_SHARE;
        let tables = BackendTables::new(1);
        let mut pool = sample::pool(&mut Slots::new(tables.clone()), "api", &sample::addrs(1));
        let (backend, table) = (&mut pool.backends[0], tables.of(WorkerId(0)));
        let rows = [
            (Healthy, WHOLE, false, Some(Resort::Healthy)),
            (Healthy, 0, false, Some(Resort::Resting)),
            (Ejected, WHOLE, false, Some(Resort::Ejected)),
            (Ejected, 0, false, None),
            (Unhealthy, WHOLE, false, None),
            (Draining, WHOLE, false, None),
            (Unhealthy, WHOLE, true, Some(Resort::Healthy)),
            (Ejected, 0, true, Some(Resort::Resting)),
        ];
        for (state, share, panics, expected) in rows {
            table.set_state(backend.id(), state);
            table.set_share(backend.id(), share);
            let found = Resort::of(backend, table, panics);
            assert!(found == expected, "{state:?} {share} {panics}");
        }
        table.set_share(backend.id(), WHOLE);
        backend.draining = true;
        assert!(
            Resort::of(backend, table, true).is_none(),
            "no panic sends requests to a draining one"
        );
        (backend.draining, backend.addr) = (false, None);
        assert!(
            Resort::of(backend, table, true).is_none(),
            "its name has no address"
        );
    }
}
