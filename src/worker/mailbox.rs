//! What other threads tell a worker, taken over between two requests.

use std::io;
use std::rc::Rc;

use crate::net::Event;
use crate::shared::mailbox::Letters;
use crate::shared::messages::ToWorker;
use crate::worker::plan::Plan;
use crate::worker::shard::Shard;

/// Takes messages for as long as the worker lives.
pub async fn run(shard: Rc<Shard>, letters: Letters<ToWorker>) -> io::Result<()> {
    let event = Event::new(letters.wake_fd())?;
    loop {
        event.wait().await?;
        letters.clear_wake();
        while let Some(message) = letters.take() {
            take_over(&shard, message);
        }
    }
}

fn take_over(shard: &Shard, message: ToWorker) {
    match message {
        ToWorker::Snapshot(snapshot) => {
            shard.set_plan(Plan::new(snapshot, shard.worker, &shard.tables));
        }
        ToWorker::BackendState(id, state) => {
            shard.tables.of(shard.worker).set_state(id, state);
            shard.plan().state_changed(id, shard.worker, &shard.tables);
        }
        ToWorker::Drain => shard.drain(),
    }
}
