//! One core: its listeners, its connections, and every step of a request.

mod accept;
mod attempt;
mod body;
mod buffer_body;
mod bulk_turns;
mod cache;
mod client_room;
mod connection;
mod contain;
mod decide;
mod downstream;
mod encode;
mod exchange;
mod failure;
mod forward;
mod interim;
mod leave;
mod live_config;
mod log_ration;
mod mailbox;
mod memory;
mod min_rate;
mod multiplex;
mod proxy;
mod record;
mod references;
mod relay;
mod reply;
mod response;
mod retry;
#[cfg(test)]
mod sample;
mod shard;
mod stream;
mod tick;
mod tunnel;
mod under_way;
mod unfinished;
mod upload;
mod upstream;
mod wire;

use std::io;
use std::rc::Rc;

use crate::base::ids::WorkerId;
use crate::base::memory::count_in_steps;
use crate::messages::ToWorker;
use crate::messages::links::Links;
use crate::net::{Engine, Ticker, pin, run, spawn};
use crate::shared::mailbox::{Inbox, Mailbox};
use crate::shared::{SharedStore, SharedTables};
use crate::snapshot::SharedSnapshot;
use crate::worker::live_config::LiveConfig;
use crate::worker::shard::Shard;
use crate::worker::upstream::Neighbours;

pub use accept::turn_away::GONE;

/// The values with which a worker starts.
pub struct Start {
    /// The number of the worker.
    pub worker: WorkerId,
    /// The engine that its tasks run on.
    pub engine: Engine,
    /// The CPU to pin the thread to, if it is to be pinned.
    pub cpu: Option<usize>,
    /// The configuration to begin with.
    pub snapshot: SharedSnapshot,
    /// The tables of all workers.
    pub tables: SharedTables,
    /// The store of the cache; `None`: nothing is cached.
    pub cache: Option<SharedStore>,
    /// The messages of other threads to the worker.
    pub inbox: Inbox<ToWorker>,
    /// The ways to other threads.
    pub links: Links,
    /// The mailboxes of all workers, in their order.
    pub mailboxes: Vec<Mailbox<ToWorker>>,
}

/// Runs a worker on the calling thread until the process ends. The worker accepts no client before
/// [`ToWorker::Listen`]. Errors: the engine or a descriptor cannot be had.
pub fn work(start: Start) -> io::Result<()> {
    if let Some(cpu) = start.cpu {
        pin(cpu);
    }
    run(start.engine, work_here(start))?
}

/// Runs a worker inside the simulated world.
#[cfg(test)]
pub async fn simulate(start: Start) {
    work_here(start).await.unwrap();
}

/// A guard of a task without which the worker cannot work. The engine does not catch a panic, so that the panic ends
/// the worker: the guard then tells the control thread which task has failed.
struct Vital(Rc<Shard>, &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        self.0.report_panic(self.1);
    }
}

async fn work_here(start: Start) -> io::Result<()> {
    count_in_steps();
    let neighbours = Rc::new(Neighbours {
        worker: start.worker,
        mailboxes: start.mailboxes,
    });
    let config = LiveConfig::new(start.snapshot, &neighbours);
    let shard = Shard::new(neighbours, start.tables, start.links, config, start.cache)?;
    let shard = Rc::new(shard);
    let ticker = Ticker::new()?;
    let ticked = Vital(shard.clone(), "keeping time");
    spawn(async move {
        while let Ok(lag) = ticker.tick().await {
            tick::tick(&ticked.0, lag);
        }
    });
    let bulk_counter = Vital(shard.clone(), "sharing out time");
    spawn(async move { bulk_counter.0.bulk_turns.run(&bulk_counter.0.turn).await });
    mailbox::run(shard, start.inbox, start.engine).await
}
