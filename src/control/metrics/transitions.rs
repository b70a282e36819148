//! The latest changes of backends' states, with their reasons.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

use crate::base::limits;
use crate::messages::StateChange;

/// A backend changed its state.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Transition {
    /// Seconds since 1970.
    pub time: f64,
    /// The name of the pool.
    pub pool: String,
    /// The backend, as logs and metrics name it.
    pub backend: String,
    /// The state before.
    pub from: &'static str,
    /// The state after.
    pub to: &'static str,
    /// Why the state changed.
    pub reason: String,
}

/// The latest [`limits::TRANSITIONS`], newest first.
#[derive(Debug, Default)]
pub(super) struct Transitions(VecDeque<Transition>);

impl Transitions {
    /// Notes a change that happened at `time`, in seconds since 1970. A backend that is new has not changed.
    pub(super) fn note(&mut self, change: StateChange, time: f64) {
        let Some(from) = change.from else {
            return;
        };
        self.0.truncate(limits::TRANSITIONS - 1);
        self.0.push_front(Transition {
            time,
            pool: change.pool,
            backend: change.backend,
            from: from.label(),
            to: change.to.label(),
            reason: change.reason,
        });
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Transition> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::BackendId;
    use crate::shared::backend_table::BackendState::{Healthy, Unhealthy};

    #[test]
    fn the_latest_come_first_and_old_ones_go() {
        let mut transitions = Transitions::default();
        let change = |reason: usize, from| StateChange {
            id: BackendId(0),
            pool: "api".to_owned(),
            backend: "127.0.0.1:1".to_owned(),
            from,
            to: Unhealthy,
            is_down: true,
            reason: reason.to_string(),
        };
        transitions.note(change(0, None), 0.0);
        assert!(transitions.list().is_empty());
        for number in 1..=limits::TRANSITIONS + 5 {
            transitions.note(change(number, Some(Healthy)), number as f64);
        }
        let list = transitions.list();
        assert_eq!(list.len(), limits::TRANSITIONS);
        assert_eq!(list[0].reason, (limits::TRANSITIONS + 5).to_string());
        assert_eq!((list[0].from, list[0].to), ("healthy", "unhealthy"));
        assert_eq!(list.last().unwrap().reason, "6");
    }
}
