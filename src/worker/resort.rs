//! Which backends of a pool take requests, as one worker sees them.

use crate::shared::backend_table::{BackendState, BackendTable};
use crate::snapshot::Backend;

/// The backends that take requests are of the first kind that there is any of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resort {
    Healthy,
    /// It answers, if badly: none else can be connected to.
    Ejected,
    /// It could not be connected to; if none could, all are as good as each other.
    Resting,
}

impl Resort {
    /// `None`: the backend takes no requests. `panics`: states count for nothing.
    pub fn of(backend: &Backend, table: &BackendTable, panics: bool) -> Option<Resort> {
        let is_resting = table.share(backend.id()) == 0;
        if backend.addr.is_none() || backend.draining {
            return None;
        }
        let state = match panics {
            true => BackendState::Healthy,
            false => table.state(backend.id()),
        };
        match state {
            BackendState::Healthy if !is_resting => Some(Resort::Healthy),
            BackendState::Ejected if !is_resting => Some(Resort::Ejected),
            BackendState::Healthy => Some(Resort::Resting),
            _ => None,
        }
    }
}
