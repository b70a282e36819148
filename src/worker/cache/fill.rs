//! The cache fill of an answer: its body is copied into the store on its way to the client.

use crate::shared::cache::Filling;

/// The fill of one answer. A fill that is dropped before its end is not stored, and whoever follows it learns that.
pub struct Fill {
    /// `None`: the store has no room for the rest, or the body has ended.
    filling: Option<Filling>,
}

impl Fill {
    /// A fill of which the head is stored.
    pub fn new(filling: Filling) -> Fill {
        Fill {
            filling: Some(filling),
        }
    }

    /// Stores the next bytes of the body. Where the store has no room for them the answer goes on without the cache.
    pub fn pass(&mut self, bytes: &[u8]) {
        if let Some(filling) = &mut self.filling
            && filling.push(bytes).is_err()
        {
            self.filling = None;
        }
    }

    /// Puts the whole response into the store. `trailers`: each `name: value CRLF`.
    pub fn end(&mut self, trailers: &[u8]) {
        if let Some(filling) = self.filling.take() {
            // A purge that came meanwhile keeps the response out of the store, which harms nobody.
            let _ = filling.finish(trailers);
        }
    }

    /// The body, if it goes to others whom it must wait for: see [`Filling::is_held_back`].
    pub fn held_back(&self) -> Option<&Filling> {
        self.filling
            .as_ref()
            .filter(|filling| filling.is_held_back())
    }

    /// Whether the body is still being stored.
    pub fn is_storing(&self) -> bool {
        self.filling.is_some()
    }
}
