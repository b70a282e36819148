//! The head of a stored response as the clients of one route get it, all but what differs from answer to answer.

use crate::base::ids::RouteId;
use crate::cache::policy::{Policy, StatusField};
use crate::cache::stored_head::find;
use crate::net::Block;
use crate::snapshot::Route;
use crate::worker::cache::served_head::{self, Delivery};
use crate::worker::cache::serving::Serving;

/// A head without its last lines.
pub struct Rendered {
    /// The snapshot and the route whose settings the head has.
    look: HeadLook,
    text: Box<[u8]>,
    /// The status.
    pub status: u16,
}

/// The settings by which a head is rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLook {
    /// The generation of the snapshot.
    pub generation: u64,
    /// The route.
    pub route: RouteId,
}

impl Rendered {
    /// Renders the head of a whole response. `None`: some of the fields that differ from answer to answer must stand
    /// elsewhere than at the end, because the operator or an earlier cache has written them.
    pub fn new(
        look: HeadLook,
        route: &Route,
        serving: &Serving,
        delivery: Delivery,
    ) -> Option<Rendered> {
        let edited = route.response_fields.names();
        let is_edited = |name: &str| edited.contains(name.as_bytes());
        if is_edited("age") || is_edited("cache-status") {
            return None;
        }
        if find(serving.entry.head(), "cache-status").is_some() {
            return None;
        }
        let mut out = Block::default();
        let head = serving.entry.head();
        let status = served_head::encode_fixed(route, head, delivery, &[], &mut out);
        let text = out.filled().strip_suffix(b"\r\n")?;
        Some(Rendered {
            look,
            text: text.into(),
            status,
        })
    }

    /// Whether the head has these settings.
    pub fn is_of(&self, look: HeadLook) -> bool {
        self.look == look
    }

    /// Writes the head with the fields of this answer.
    pub fn write(&self, policy: &Policy, serving: &Serving, out: &mut Block) {
        let mut digits = itoa::Buffer::new();
        let out = out.vec();
        out.extend_from_slice(&self.text);
        out.extend_from_slice(b"age: ");
        out.extend_from_slice(digits.format(serving.age).as_bytes());
        out.extend_from_slice(b"\r\n");
        if policy.status != StatusField::Off {
            out.extend_from_slice(b"cache-status: ");
            served_head::member(policy, serving).write(policy.status, out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}
