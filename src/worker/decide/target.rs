//! The path of a request: normalised for the route table, and as it is forwarded.

use crate::http::h1::RequestHead;
use crate::http::path::{self, MergeSlashes};
use crate::http::refusal::Refusal;
use crate::worker::downstream::Client;
use crate::worker::shard::Shard;

/// The path of a request.
#[derive(Clone, Copy)]
pub struct RequestedPath<'a> {
    /// The path by which the route is found. Errors: servers read the path in more than one way.
    pub path: Result<&'a [u8], Refusal>,
    /// The path that is forwarded. A path that is refused stays as it was received, for the log.
    pub forwarded: &'a [u8],
}

/// Memory for a path that differs from the received one: normalised, and with slashes merged.
pub type Scratch = [Vec<u8>; 2];

impl<'a> RequestedPath<'a> {
    /// The path of this request, as the client's listener treats slashes that follow one another.
    #[inline]
    pub fn of(
        shard: &Shard,
        client: &Client,
        head: &RequestHead<'a, '_>,
        scratch: &'a mut Scratch,
    ) -> RequestedPath<'a> {
        RequestedPath::new(head.path, merge_slashes(shard, client), scratch)
    }

    fn new(received: &'a [u8], merge: MergeSlashes, scratch: &'a mut Scratch) -> RequestedPath<'a> {
        let [normalised, merged] = scratch;
        let normal = match path::normalise(received, normalised) {
            Ok(normal) => normal,
            Err(refusal) => {
                return RequestedPath {
                    path: Err(refusal),
                    forwarded: received,
                };
            }
        };
        debug_assert!(
            normal == b"*" || normal.starts_with(b"/"),
            "a target without a path has been refused"
        );
        if merge == MergeSlashes::Off {
            return RequestedPath {
                path: Ok(normal),
                forwarded: normal,
            };
        }
        let path = path::merge_slashes(normal, merged);
        let is_forwarded = merge == MergeSlashes::On;
        RequestedPath {
            path: Ok(path),
            forwarded: if is_forwarded { path } else { normal },
        }
    }
}

/// How consecutive slashes are treated: as the listener says in the present configuration, if the listener still
/// exists.
fn merge_slashes(shard: &Shard, client: &Client) -> MergeSlashes {
    let listener = &client.arrival.listener;
    if !listener.is_over() {
        return listener.merge_slashes;
    }
    let config = shard.config();
    let now = config.listener(&listener.addr);
    now.map_or(listener.merge_slashes, |now| now.merge_slashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_merged_for_the_route_table_the_backend_or_neither() {
        type Row = (&'static [u8], MergeSlashes, &'static [u8], &'static [u8]);
        let rows: [Row; 6] = [
            (b"/a//b", MergeSlashes::Off, b"/a//b", b"/a//b"),
            (b"/a//b", MergeSlashes::On, b"/a/b", b"/a/b"),
            (b"/a//b", MergeSlashes::MatchOnly, b"/a/b", b"/a//b"),
            (b"/x/../a//b", MergeSlashes::MatchOnly, b"/a/b", b"/a//b"),
            (b"/x/../a", MergeSlashes::Off, b"/a", b"/a"),
            (b"/a", MergeSlashes::On, b"/a", b"/a"),
        ];
        for (received, merge, path, forwarded) in rows {
            let mut scratch = Scratch::default();
            let target = RequestedPath::new(received, merge, &mut scratch);
            assert_eq!((target.path, target.forwarded), (Ok(path), forwarded));
        }
    }

    #[test]
    fn a_refused_path_stays_as_it_was_received() {
        let mut scratch = Scratch::default();
        let target = RequestedPath::new(b"/../a", MergeSlashes::On, &mut scratch);
        assert!(target.path.is_err());
        assert_eq!(target.forwarded, b"/../a");
    }
}
