//! Decides which backends of a pool take requests, from the view of one worker.

use crate::shared::backend_table::{BackendState, BackendTable};
use crate::snapshot::Backend;

/// How willingly a backend is used. Requests go to the backends of the first kind that any backend belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resort {
    Healthy,
    /// The backend answers, but badly. Such a backend is used if no healthy one can be connected to.
    Ejected,
    /// The backend could not be connected to. If that is so of all backends, each is as good as any other.
    Resting,
}

impl Resort {
    /// `None`: the backend takes no requests. `panics`: the states of backends are ignored.
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
