//! Backends that the configuration no longer has, while requests are under way there. Whoever waits in one that hangs
//! is to learn that it is down, as if it were still configured; to everybody else it is gone.

use super::{NextProbe, Watch, Watched};
use crate::base::ids::BackendId;

impl Watch {
    /// Probes a backend on that the snapshot in force no longer has. `lane`: behind all pools of the schedule.
    pub(super) fn keep_removed(&mut self, id: BackendId, watched: Watched, lane: usize) {
        debug_assert!(
            !self.backends.contains_key(&id),
            "a removed backend is in no pool"
        );
        match watched.next_probe {
            NextProbe::Never => return,
            NextProbe::At(at) => self.schedule.insert(lane, at, id),
            NextProbe::AfterThis => self.schedule.note_started(lane),
        }
        self.removed.insert(id);
        self.backends.insert(id, Watched { lane, ..watched });
    }

    /// Forgets those that leave and at which nothing is under way any more.
    pub fn let_go(&mut self, in_flight: impl Fn(BackendId) -> u32) {
        for id in self.removed.extract_if(.., |id| in_flight(*id) == 0) {
            let Some(watched) = self.backends.remove(&id) else {
                continue;
            };
            match watched.next_probe {
                NextProbe::Never => {}
                NextProbe::At(at) => self.schedule.remove(watched.lane, at, id),
                NextProbe::AfterThis => self.schedule.note_ended(watched.lane),
            }
        }
    }
}
