//! One direction of a simulated connection: bytes under way, bytes that wait to be read, and the end.

use std::task::Waker;

use super::byte_queue::ByteQueue;
use crate::base::random::SplitMix64;

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The sender has said that this is all.
    Orderly,
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Flow {
    /// Bytes that may be under way or wait to be read.
    pub capacity: usize,
    /// The bytes that have arrived and were not read.
    pub queue: ByteQueue,
    pub under_way: usize,
    /// When the last thing that is under way arrives, in microseconds: nothing overtakes it.
    pub last_arrival: u64,
    /// The end that the sender has declared.
    pub sent_end: Option<Ending>,
    /// The end that has arrived at the receiver.
    pub end: Option<Ending>,
    /// The proxy's task that waits for room, if the proxy is the sender.
    pub sender: Option<Waker>,
    /// Whether what is still under way is lost, because the sender has reset the connection.
    pub is_cut: bool,
}

impl Flow {
    /// A direction that holds so many bytes at most.
    pub fn new(capacity: usize) -> Flow {
        Flow {
            capacity,
            ..Flow::default()
        }
    }

    /// Bytes that may be sent now.
    pub fn room(&self) -> usize {
        self.capacity
            .saturating_sub(self.queue.len() + self.under_way)
    }

    /// Whether the receiver would find something: bytes or an end.
    pub fn is_readable(&self) -> bool {
        !self.queue.is_empty() || self.end.is_some()
    }

    /// Takes at most `most` bytes that have arrived.
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        self.queue.take(most)
    }

    /// Lets the proxy's task look that waits for room.
    pub fn wake_sender(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}

/// How rough the simulated network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest delay of a segment, in microseconds.
    pub latency: u64,
    /// How often in a hundred an operation does less than it could.
    pub short: u64,
    /// Bytes that a connection holds in each direction.
    pub capacity: usize,
}

impl Weather {
    /// A delay in microseconds: mostly short.
    pub fn delay(&self, random: &mut SplitMix64) -> u64 {
        let most = match random.number() % 10 {
            0..6 => 50,
            6..9 => self.latency / 10,
            _ => self.latency,
        };
        random.number() % (most + 1)
    }

    /// So many bytes of `count`, mostly all of them.
    pub fn portion(&self, count: usize, random: &mut SplitMix64) -> usize {
        if count > 1 && random.number() % 100 < self.short {
            return 1 + (random.number() % count as u64) as usize;
        }
        count
    }
}
