//! The links of a worker in tests.

use crossbeam_channel::{Receiver, bounded};

use crate::messages::links::Links;
use crate::messages::{ToControl, ToHealth};
use crate::shared::access::AccessLine;
use crate::shared::mailbox::{Inbox, mailbox};
use crate::shared::worker_counters::counters;

/// The other ends of a worker's links.
pub type LinkEnds = (Inbox<ToHealth>, Inbox<ToControl>, Receiver<AccessLine>);

/// The links of the only worker, and their other ends.
pub fn links() -> (Links, LinkEnds) {
    let (health, to_health) = mailbox(64).unwrap();
    let (control, to_control) = mailbox(64).unwrap();
    let (access_lines, lines) = bounded(64);
    let links = Links {
        counters: counters(1),
        health,
        control,
        access_lines,
    };
    (links, (to_health, to_control, lines))
}
