//! The live configurations of a core. A worker adopts each snapshot between two requests. Exchanges that began with an
//! earlier snapshot may end with it.

use std::rc::{Rc, Weak};

use crate::base::limits;
use crate::base::memory;
use crate::base::time::Micros;
use crate::snapshot::SharedSnapshot;
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;

impl Shard {
    /// Adopts a new snapshot, between two requests.
    pub fn adopt(&self, snapshot: SharedSnapshot) {
        let before = self.config();
        let config = Rc::new(LiveConfig::after(&before, snapshot));
        self.config.replace(config.clone());
        self.remember(&before);
        // Another backend may soon have the row of a backend that is gone.
        let stays = |id| config.takes(id) && config.reuse_key(id) == before.reuse_key(id);
        self.upstreams
            .forget_unless(self.tables.of(self.worker), stays);
        self.shared_upstreams.forget_unless(stays);
        let forgotten = self.rests.borrow_mut().forget_unless(stays);
        for id in forgotten {
            self.set_share(id, limits::WHOLE_SHARE);
        }
        self.close_accept_switches(|addr| config.snapshot().listener(addr).is_none());
        if config.end_changed_listeners(&before) {
            self.timers.wake_all();
        }
        self.derive_bounds();
        self.look_for_places();
        self.untold.set(Some(config.snapshot().generation));
        self.tell_adopted();
    }

    /// Keeps a weak reference to a live configuration, for as long as requests that began with it may run.
    fn remember(&self, config: &Rc<LiveConfig>) {
        let mut earlier = self.earlier_configs.borrow_mut();
        earlier.retain(|config| config.strong_count() > 0);
        earlier.push(Rc::downgrade(config));
    }

    /// Tells the control thread which generation is adopted. If the mailbox is full, [`Shard::end_tick`] tries again.
    pub(super) fn tell_adopted(&self) {
        if let Some(generation) = self.untold.take()
            && !self.links.say_adopted(self.worker, generation)
        {
            self.untold.set(Some(generation));
        }
    }

    pub(super) fn each_earlier_config(&self, look: impl Fn(&LiveConfig)) {
        let earlier = self.earlier_configs.borrow();
        earlier
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|config| look(&config));
    }

    /// Bounds the exchanges that began with a generation up to `last`: they must end within `shutdown_timeout`.
    pub fn end_generations(&self, last: u64) {
        let due = Micros::now().after(self.config().snapshot().shutdown_timeout);
        self.each_earlier_config(|config| {
            if config.snapshot().generation <= last {
                config.end_by(due);
            }
        });
        self.timers.wake_all();
    }

    pub(super) fn derive_bounds(&self) {
        let config = self.config.borrow();
        for listener in &config.snapshot().listeners {
            listener.clients.set_most(listener.connections);
        }
        memory::set_budget(config.snapshot().memory_bytes);
    }
}
