//! Messages of other threads to a worker. The worker acts on them between two requests.

use std::io;
use std::rc::Rc;

use crate::base::panic_on_demand::panic_on_demand;
use crate::base::time::Micros;
use crate::messages::ToWorker;
use crate::net::{BoundListener, Engine, WakeEvent};
use crate::shared::mailbox::Inbox;
use crate::worker::shard::Shard;
use crate::worker::{accept, client_room};

/// Acts on messages for as long as the worker lives.
pub async fn run(shard: Rc<Shard>, inbox: Inbox<ToWorker>, engine: Engine) -> io::Result<()> {
    let event = WakeEvent::new(inbox.wake_stream()?.into())?;
    loop {
        event.wait().await?;
        inbox.clear_wake();
        while let Some(message) = inbox.take() {
            panic_on_demand("worker mailbox");
            take_over(&shard, message, engine);
        }
    }
}

fn take_over(shard: &Rc<Shard>, message: ToWorker, engine: Engine) {
    match message {
        ToWorker::Listen {
            addr,
            socket,
            came_for,
        } => {
            let bound = BoundListener {
                addr,
                socket,
                came_for,
                file: None, // The control thread keeps the file.
            };
            if let Err(error) = accept::start(shard, bound, engine) {
                shard
                    .links
                    .say_not_listening(shard.worker, error.to_string());
            }
        }
        ToWorker::Snapshot(snapshot) => {
            let began = Micros::now();
            shard.adopt(snapshot);
            shard.note_lag(Micros::now().since(began));
        }
        ToWorker::EndGenerations(last) => shard.end_generations(last),
        ToWorker::BackendState { id, state, is_down } => {
            shard.set_backend_state(id, state, is_down);
        }
        ToWorker::Drain => shard.drain(),
        ToWorker::Retire => shard.retire(),
        ToWorker::Cut => shard.cut(),
        ToWorker::Permit(permit) => shard.take_permit(permit),
        ToWorker::GiveIdle(id) => shard.give_idle(id),
        ToWorker::Look(id) => shard.look_for(id),
        ToWorker::FillMoved(fill) => shard.wake_followers(fill),
        ToWorker::LookForPlaces => shard.look_for_places(),
        ToWorker::CloseIdleClient { listener, asker } => {
            client_room::close_idle(shard, &listener, asker);
        }
    }
}
