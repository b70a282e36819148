//! Messages that must arrive although the mailbox may be full at the moment. Of several about the same thing only the
//! latest counts, which bounds what can wait by the number of things there are.

use std::collections::BTreeMap;

use crate::shared::mailbox::Mailbox;

/// Messages that wait for one mailbox; they are sent in the order of their keys.
#[derive(Debug)]
pub struct Outbox<K, T> {
    mailbox: Mailbox<T>,
    waiting: BTreeMap<K, T>,
}

impl<K: Ord, T> Outbox<K, T> {
    /// Nothing waits yet.
    pub fn new(mailbox: Mailbox<T>) -> Outbox<K, T> {
        Outbox {
            mailbox,
            waiting: BTreeMap::new(),
        }
    }

    /// Puts a message in the place of what still waits about `key`. Nothing is sent before [`Outbox::send`].
    pub fn put(&mut self, key: K, message: T) {
        self.waiting.insert(key, message);
    }

    /// Sends until nothing waits or the mailbox is full; whether nothing waits any more. Call it again in a while if
    /// not.
    pub fn send(&mut self) -> bool {
        while let Some((key, message)) = self.waiting.pop_first() {
            if let Err(message) = self.mailbox.post(message) {
                self.waiting.insert(key, message);
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::mailbox::mailbox;

    #[test]
    fn a_full_mailbox_delays_but_loses_nothing() {
        let (mailbox, inbox) = mailbox(1).unwrap();
        let mut outbox = Outbox::new(mailbox);
        outbox.put(2, "about two");
        outbox.put(1, "about one");
        assert!(!outbox.send());
        assert_eq!(inbox.take(), Some("about one"));
        assert!(outbox.send());
        assert_eq!(inbox.take(), Some("about two"));
        assert!(outbox.send());
        assert_eq!(inbox.take(), None);
    }

    #[test]
    fn only_the_latest_about_a_thing_is_sent() {
        let (mailbox, inbox) = mailbox(4).unwrap();
        let mut outbox = Outbox::new(mailbox);
        outbox.put(1, "old");
        outbox.put(1, "new");
        assert!(outbox.send());
        assert_eq!(inbox.take(), Some("new"));
        assert_eq!(inbox.take(), None);
    }
}
