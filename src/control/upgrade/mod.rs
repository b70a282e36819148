//! Handing over to a new process of the binary without losing a connection:
//!
//! ```text
//! the old process                         the new one
//! starts it, sends its sockets, and
//! what it knows of names             →    takes them instead of binding, starts everything
//!                                    ←    `ready`, or why not, or its end
//! `go`                               →    accepts
//! stops accepting, finishes, ends
//! ```
//!
//! Until it hears `go` the new process accepts nothing, so ending it costs nobody anything; until it has said `go` the
//! old one stops nothing, so it can go on as if nothing had been. Connections in between wait in the sockets' queues.

mod predecessor;
mod program;
mod successor;

use std::os::fd::RawFd;
use std::thread;

use tokio::sync::{mpsc, watch};
use tracing::info;

pub use predecessor::Predecessor;
pub use program::Program;
pub use successor::Successor;

use crate::net::{BoundListener, Handed};
use crate::snapshot::Purpose;

/// Tells a new process which of its descriptors is its end of the line.
const LINE_VARIABLE: &str = "PALANTIR_HANDOVER";
/// Standard input, output and error.
const STANDARD_DESCRIPTORS: RawFd = 3;

const READY: &str = "ready";
const GO: &str = "go";

/// What became of a new process: ready, or why not.
pub type Outcome = Result<Successor, String>;

/// Everything that an upgrade takes besides the workers' sockets. One at a time.
#[derive(Debug)]
pub struct Upgrades {
    program: Program,
    passed_on: Vec<(BoundListener, Purpose)>,
    accepting: watch::Sender<bool>,
    under_way: bool,
    outcomes: (mpsc::Sender<Outcome>, mpsc::Receiver<Outcome>),
}

impl Upgrades {
    /// Of `program`. `passed_on` are duplicates of the listening sockets that are not the workers': test servers,
    /// management API.
    pub fn new(program: Program, passed_on: Vec<(BoundListener, Purpose)>) -> Upgrades {
        Upgrades {
            program,
            passed_on,
            accepting: watch::Sender::new(true),
            under_way: false,
            outcomes: mpsc::channel(1),
        }
    }

    /// For servers on the sockets that are not the workers': false once they must leave what comes to another process.
    pub fn accepting(&self) -> watch::Receiver<bool> {
        self.accepting.subscribe()
    }

    /// Whether a new process is being started.
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// Starts a new process and hands it the workers' listening sockets, the others, and what is told besides, on a thread
    /// of its own: see [`Upgrades::outcome`]. None may be under way. Errors: no thread or descriptors are to be had.
    pub fn begin(&mut self, mut handed: Handed) -> Result<(), String> {
        for (socket, purpose) in &self.passed_on {
            let socket = socket.try_clone().map_err(|error| error.to_string())?;
            handed.sockets.push((socket, Some(*purpose)));
        }
        let (program, outcomes) = (self.program.clone(), self.outcomes.0.clone());
        info!("upgrade: starting {}", program.path.display());
        let work = move || {
            // If nobody wants the outcome any more, a process that got ready ends with it.
            let _ = outcomes.blocking_send(successor::prepare(&program, &handed));
        };
        let thread = thread::Builder::new()
            .name("upgrade".to_owned())
            .spawn(work);
        thread.map_err(|error| error.to_string())?;
        self.under_way = true;
        Ok(())
    }

    /// What became of the new process; it takes a few times `limits::UPGRADE_SECS` at most. May be dropped while it waits.
    pub async fn outcome(&mut self) -> Outcome {
        let outcome = self.outcomes.1.recv().await;
        self.under_way = false;
        // This holds a sender itself, so the channel does not end.
        outcome.unwrap_or_else(|| Err("it was given up".to_owned()))
    }

    /// Lets the new process take over: the servers of the other sockets stop accepting too. Errors: it has ended
    /// meanwhile; nothing has changed.
    pub fn let_go(&mut self, successor: Successor) -> Result<(), String> {
        successor.go()?;
        self.accepting.send_replace(false);
        self.passed_on.clear();
        Ok(())
    }
}
