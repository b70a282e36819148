//! The cache as one core uses it: requests are looked up, answers are stored on their way to the client, and stored
//! responses are served. `crate::cache` decides by the rules of RFC 9111; `shared/cache` is the store of all cores.

pub mod asked_url;
pub mod detached;
pub mod effect;
mod effect_on_part;
mod effect_on_slice;
pub mod fetch;
pub mod fill;
pub mod follow;
pub mod front;
pub mod instead;
pub mod own;
pub mod recall;
pub mod refresh;
pub mod rendered;
pub mod serve;
pub mod served_head;
pub mod serving;
pub mod sliced_body;
pub mod slices;
pub mod stored_body;
pub mod stored_head;
pub mod waits;

use std::cell::RefCell;

use crate::base::ids::WorkerId;
use crate::messages::ToWorker;
use crate::shared::SharedStore;
use crate::shared::cache::Wake;
use crate::shared::mailbox::Mailbox;
use front::Front;
use waits::Waits;

/// The cache of one core.
pub struct Cache {
    /// The store of all cores.
    pub store: SharedStore,
    /// The tasks of this core that wait for responses which are being stored.
    pub waits: Waits,
    /// The entries that this core serves most.
    pub front: Front,
    /// Memory for the key of the request that is looked up.
    pub scratch: RefCell<Vec<u8>>,
}

impl Cache {
    /// The cache of a worker with this mailbox.
    pub fn new(store: SharedStore, worker: WorkerId, mailbox: Mailbox<ToWorker>) -> Cache {
        store.register_core(worker.index(), WakeWorker(mailbox));
        Cache {
            store,
            waits: Waits::default(),
            front: Front::default(),
            scratch: RefCell::default(),
        }
    }

    /// Does the work of a tick: a message about a fill may have found the mailbox full.
    pub fn tick(&self) {
        self.front.sweep();
        self.front.give_way(&self.store);
        self.waits.forget_gone();
        self.waits.wake_all();
    }
}

/// Wakes the tasks of a worker by a message.
#[derive(Debug)]
struct WakeWorker(Mailbox<ToWorker>);

impl Wake for WakeWorker {
    fn wake(&self, fill: u64) {
        // Where the mailbox is full, the next tick wakes the tasks.
        let _ = self.0.post(ToWorker::FillMoved(fill));
    }
}
