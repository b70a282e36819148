//! Bytes in their order: added behind, taken off the front. A run moves many of them in small portions, so that the
//! rest stays where it is until most of the room is free.

use std::ops::Deref;

/// Bytes that wait.
#[derive(Debug, Default)]
pub struct ByteQueue {
    bytes: Vec<u8>,
    /// How many of the bytes were taken.
    taken: usize,
}

impl ByteQueue {
    /// Adds bytes behind those that wait.
    pub fn push(&mut self, bytes: &[u8]) {
        if 2 * self.taken >= self.bytes.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops bytes off the front.
    pub fn drop_front(&mut self, count: usize) {
        assert!(count <= self.len(), "only bytes that wait can be taken");
        self.taken += count;
    }

    /// Takes at most `most` bytes off the front.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.len());
        if self.taken == 0 && count == self.bytes.len() {
            return std::mem::take(&mut self.bytes);
        }
        let taken = self[..count].to_vec();
        self.drop_front(count);
        taken
    }
}

impl Deref for ByteQueue {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let mut queue = ByteQueue::default();
        queue.push(b"abcdef");
        assert_eq!(queue.take(2), b"ab");
        queue.push(b"gh");
        queue.drop_front(1);
        assert_eq!(queue[..], b"defgh"[..]);
        assert_eq!(queue.take(4), b"defg");
        queue.push(b"ij");
        assert_eq!(queue.take(usize::MAX), b"hij");
        assert!(queue.is_empty() && queue.take(1).is_empty());
    }
}
