//! The part of a backend's bounds that a connection or a stream uses. When the connection or stream ends, a waiting
//! request gets the part.

use std::rc::Rc;

use crate::base::ids::BackendId;
use crate::shared::backend_table::Permit;
use crate::worker::upstream::Queue;

/// A part of a backend's bounds in use.
pub struct Hold {
    queue: Rc<Queue>,
    backend: BackendId,
    part: Part,
}

enum Part {
    /// One of the connections that all cores together may have to the backend.
    Permit(Permit),
    /// A stream, or one of the shared connections of this core.
    Room,
    /// The part was given to another owner.
    Passed,
}

impl Hold {
    /// Holds one of the connections that all cores together may have to a backend.
    pub fn permit(queue: &Rc<Queue>, permit: Permit) -> Hold {
        Hold::new(queue, permit.backend(), Part::Permit(permit))
    }

    /// Holds a stream, or a shared connection of this core, to a backend that speaks HTTP/2.
    pub fn room(queue: &Rc<Queue>, backend: BackendId) -> Hold {
        Hold::new(queue, backend, Part::Room)
    }

    fn new(queue: &Rc<Queue>, backend: BackendId, part: Part) -> Hold {
        Hold {
            queue: queue.clone(),
            backend,
            part,
        }
    }

    /// The backend whose bound is used.
    pub fn backend(&self) -> BackendId {
        self.backend
    }

    /// The queue of the requests that wait for a part of the same bounds.
    pub fn queue(&self) -> &Rc<Queue> {
        &self.queue
    }

    /// The permit, if the part is one.
    pub fn as_permit(&self) -> Option<&Permit> {
        match &self.part {
            Part::Permit(permit) => Some(permit),
            Part::Room | Part::Passed => None,
        }
    }

    /// Takes the permit, if the part is one, for a known owner: no waiting request gets it.
    pub fn into_permit(mut self) -> Option<Permit> {
        debug_assert!(
            !matches!(self.part, Part::Passed),
            "a part is given on once"
        );
        match std::mem::replace(&mut self.part, Part::Passed) {
            Part::Permit(permit) => Some(permit),
            Part::Room | Part::Passed => None,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.part, Part::Passed) {
            Part::Permit(permit) => self.queue.release(permit),
            Part::Room => self.queue.tell_room(self.backend),
            Part::Passed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Micros;
    use crate::worker::sample::{POOL, refusing, run_worker};
    use crate::worker::upstream::Carrier;
    use crate::worker::upstream::sample::Own;

    /// The part that a hold leaves when it is dropped goes to whoever waits, and to nobody if its holder gave it on.
    #[test]
    fn what_a_connection_took_up_goes_to_whoever_waits() {
        run_worker(
            &[refusing()],
            |pool| pool.backends[0].max_connections = 1,
            async |shard| {
                let own = Own::of(&shard);
                let id = own.config.backend(POOL, 0).id();
                let queue = own.config.live(POOL).queue();
                let open = || shard.tables.open(id);
                let permit = || shard.tables.try_open(id, 1).expect("one is free");
                drop(Hold::permit(queue, permit()));
                assert_eq!(open(), 0, "nobody waits");
                let place = queue
                    .join(own.config.clone(), Carrier::Pools, Micros::now())
                    .unwrap();
                drop(Hold::permit(queue, permit()));
                assert_eq!(open(), 1, "the request that waits has it");
                drop(place);
                assert_eq!(open(), 0);
                let hold = Hold::permit(queue, permit());
                assert_eq!(hold.backend(), id);
                drop(hold.into_permit());
                assert_eq!(open(), 0);
                let room = Hold::room(queue, id);
                assert!(room.as_permit().is_none() && room.into_permit().is_none());
            },
        );
    }
}
