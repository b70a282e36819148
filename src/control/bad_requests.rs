//! The latest refused requests, for whoever wonders why: what came, and which byte of it was at fault.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::base::ids::{RequestId, WorkerId};
use crate::base::limits;
use crate::config::is_credential;
use crate::http::h1::{HeadLimits, fault_at};
use crate::http::refusal::Refusal;
use crate::messages::RefusedHead;

/// A refused request.
#[derive(Clone, Debug)]
pub struct BadRequest {
    /// The time of the refusal.
    pub time: SystemTime,
    /// The worker that refused the request.
    pub worker: WorkerId,
    /// The address of the client; `None`: the client came over a Unix socket.
    pub client: Option<IpAddr>,
    /// The id of the request, as in the access log.
    pub request_id: RequestId,
    /// The rule that the request breaks.
    pub refusal: Refusal,
    /// The beginning of its head, at most [`limits::REFUSED_HEAD_BYTES`]; values of credentials are masked.
    pub head: Box<[u8]>,
    /// The byte at fault, if it is known and among `head`.
    pub at: Option<usize>,
}

/// The latest [`limits::BAD_REQUESTS`] of them, newest first. The control thread's loop writes, the management API
/// reads; both are on the same thread, so nobody waits.
#[derive(Clone, Debug, Default)]
pub struct BadRequests(Arc<Mutex<VecDeque<BadRequest>>>);

impl BadRequests {
    /// Takes one in that was refused under these bounds.
    pub fn note(&self, refused: RefusedHead, bounds: &HeadLimits, time: SystemTime) {
        let at = fault_at(&refused.head, refused.refusal, bounds);
        debug_assert!(
            at.is_none_or(|at| at <= refused.head.len()),
            "the fault is in the head"
        );
        let mut head = refused.head;
        blot_credentials(&mut head);
        let mut list = self.list();
        list.truncate(limits::BAD_REQUESTS - 1);
        list.push_front(BadRequest {
            time,
            worker: refused.worker,
            client: refused.client,
            request_id: refused.request_id,
            refusal: refused.refusal,
            head,
            at,
        });
        debug_assert!(list.len() <= limits::BAD_REQUESTS);
    }

    /// All of them, newest first.
    pub fn latest(&self) -> Vec<BadRequest> {
        self.list().iter().cloned().collect()
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<BadRequest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a `*` in the place of every byte of a credential, so that all bytes stay where they are. A refused head may be
/// broken in any way: a line may end at a bare CR, a value may go on in lines that are no fields, and a field may lack
/// its colon.
fn blot_credentials(head: &mut [u8]) {
    let mut hides = false;
    for line in head.split_mut(|byte| matches!(byte, b'\r' | b'\n')) {
        let indent = line.len() - line.trim_ascii_start().len();
        let name_len = line[indent..]
            .iter()
            .position(|byte| b": \t".contains(byte));
        let name_end = name_len.map_or(line.len(), |len| indent + len);
        let has_colon = line[name_end..].starts_with(b":");
        // The lines of a broken value reach to the next field.
        let goes_on = hides && (indent > 0 || !has_colon);
        let names_credential = is_credential(&String::from_utf8_lossy(&line[indent..name_end]));
        if goes_on {
            blot(line);
        } else if names_credential {
            blot(&mut line[name_end + usize::from(has_colon)..]);
        }
        hides = goes_on || names_credential;
    }
}

fn blot(text: &mut [u8]) {
    let bytes = text.iter_mut();
    bytes
        .filter(|byte| !byte.is_ascii_whitespace())
        .for_each(|byte| *byte = b'*');
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeadLimits = HeadLimits {
        head_bytes: 4096,
        fields: 10,
        target_bytes: 1024,
    };

    fn refused(head: &str, number: u64) -> RefusedHead {
        RefusedHead {
            worker: WorkerId(1),
            client: None,
            request_id: RequestId(number),
            refusal: Refusal::BadFieldValue,
            head: head.as_bytes().into(),
        }
    }

    #[test]
    fn credentials_are_blotted_and_the_fault_stays_where_it_is() {
        let list = BadRequests::default();
        let head = "GET / HTTP/1.1\r\nHost: a\r\nCookie: s=1; t\r\nX: b\x01\r\n";
        list.note(refused(head, 1), &BOUNDS, SystemTime::now());
        let bad = list.latest().pop().unwrap();
        let text = std::str::from_utf8(&bad.head).unwrap();
        assert_eq!(
            text,
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: **** *\r\nX: b\x01\r\n"
        );
        assert_eq!(bad.at, head.find('\x01'));
    }

    #[test]
    fn no_credential_shows_however_its_field_is_broken() {
        let rows = [
            (
                "Authorization: Basic\r\n c2Vj: c\r\nX: y\r\n",
                "Authorization: *****\r\n ***** *\r\nX: y\r\n",
            ),
            (
                "X: y\r\n Cookie: a\r\nX: y\r\n",
                "X: y\r\n Cookie: *\r\nX: y\r\n",
            ),
            (
                "Authorization: ab\ncd==\n\nef\nX: y\n",
                "Authorization: **\n****\n\n**\nX: y\n",
            ),
            (
                "X: y\rCookie: a\rb\r\nX: y\r\n",
                "X: y\rCookie: *\r*\r\nX: y\r\n",
            ),
            (
                "Authorization Basic a\r\nX: y\r\n",
                "Authorization ***** *\r\nX: y\r\n",
            ),
            (
                "x-api-key: a:b\r\nX: y\r\nX-Auth-Token : c\r\n",
                "x-api-key: ***\r\nX: y\r\nX-Auth-Token * *\r\n",
            ),
            (
                "GET /token: HTTP/1.1\r\nHost: a\r\n",
                "GET /token: HTTP/1.1\r\nHost: a\r\n",
            ),
        ];
        for (head, expected) in rows {
            let mut blotted = head.as_bytes().to_vec();
            blot_credentials(&mut blotted);
            assert_eq!(String::from_utf8(blotted).unwrap(), expected, "{head:?}");
        }
    }

    #[test]
    fn the_list_is_bounded_and_begins_with_the_newest() {
        let list = BadRequests::default();
        for number in 0..2 * limits::BAD_REQUESTS as u64 {
            list.note(refused("", number), &BOUNDS, SystemTime::now());
        }
        let latest = list.latest();
        assert_eq!(latest.len(), limits::BAD_REQUESTS);
        assert_eq!(latest[0].request_id.0, 2 * limits::BAD_REQUESTS as u64 - 1);
    }
}
