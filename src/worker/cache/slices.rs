//! Answers requests in slices: each slice is looked up, and fetched by a request of the cache's own if need be. The
//! head of the answer is made from the first slice that the answer needs.

use std::rc::Rc;

use crate::base::limits;
use crate::base::time::unix_millis;
use crate::cache::extent::Extent;
use crate::cache::key::Key;
use crate::cache::policy::{ClientDirectives, Policy};
use crate::cache::ranges::RangeSelection;
use crate::cache::reuse::{Reuse, Trouble, reuse};
use crate::cache::slices::Slicing;
use crate::cache::status::{Forwarded, Handling};
use crate::cache::validators::Validators;
use crate::cache::vary;
use crate::http::range::ByteRange;
use crate::shared::access::CachePart;
use crate::shared::cache::{EntryState, FillEnd, Follower, Joined, Outcome, Ticket};
use crate::shared::{SharedEntry, SharedStore};
use crate::worker::cache::effect::serving;
use crate::worker::cache::fetch::CacheFetch;
use crate::worker::cache::follow::{await_decision, await_decision_within};
use crate::worker::cache::own::{SliceFetch, SliceStart};
use crate::worker::cache::refresh::{fetch_for, refresh};
use crate::worker::cache::serve::{answer_from_slices, answer_from_store};
use crate::worker::cache::serving::{
    AnswerForm, Serving, form_of, form_of_slices, may_answer_stale, part_of,
};
use crate::worker::cache::sliced_body::{ComingSlice, Slice, SliceSource, SlicedBody, is_like};
use crate::worker::cache::stored_body::Followed;
use crate::worker::decide::take_decided_head;
use crate::worker::downstream::Client;
use crate::worker::encode::PreparedRequest;
use crate::worker::exchange::Exchange;
use crate::worker::failure::Failure;
use crate::worker::shard::Shard;
use crate::worker::upstream::{Selection, choose_first};

/// Answers a request in slices. `request`: what the requests for slices are made of. False: nothing was sent, because
/// what is asked for cannot be had in slices.
pub async fn answer_in_slices(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
    (request, start): (&PreparedRequest, SliceStart),
) -> Result<bool, Failure> {
    let slicing = start.slicing;
    let mut wanted = (start.number, None);
    for _ in 0..limits::SLICE_TRIES {
        let asked = (request, slicing, wanted.clone());
        let Some(mut serving) = first_slice(shard, client, exchange, asked).await? else {
            return Ok(false);
        };
        let Some(slices) = Slices::of(shard, client, exchange, (request, slicing)) else {
            return Ok(false);
        };
        match slices.shape(&mut serving) {
            Shape::None => return Ok(false),
            Shape::Slice => {
                take_decided_head(shard, client, start.head_bytes);
                answer_from_store(shard, client, exchange, serving).await?;
                return Ok(true);
            }
            Shape::Slices(answer) if slicing.number_of(answer.range.first) == wanted.0 => {
                take_decided_head(shard, client, start.head_bytes);
                let first = (serving.entry.clone(), serving.fill.take());
                let body = SlicedBody::new(&slices, slicing, answer, first);
                answer_from_slices(shard, client, exchange, &serving, &body).await?;
                return Ok(true);
            }
            // The answer begins with another slice.
            Shape::Slices(answer) => {
                wanted = (slicing.number_of(answer.range.first), Some(serving.entry));
            }
        }
    }
    Ok(false)
}

/// The slice of this number, of the same state of the representation as the other one if there is one. `None`: the
/// slice cannot be had.
async fn first_slice(
    shard: &Rc<Shard>,
    client: &Client,
    exchange: &mut Exchange,
    (request, slicing, (number, like)): (&PreparedRequest, Slicing, (u64, Option<SharedEntry>)),
) -> Result<Option<Serving>, Failure> {
    let Some(slices) = Slices::of(shard, client, exchange, (request, slicing)) else {
        return Ok(None);
    };
    let (coming, reason) = match slices.obtain(number, like.as_ref()) {
        Found::Stored(entry, part, reason) => {
            entry.note_used();
            let outcome = (Handling::Hit, part, reason);
            return Ok(Some(slices.serving(&entry, outcome, None)));
        }
        Found::Lost => return Ok(None),
        Found::Coming(coming, reason) => (coming, reason),
    };
    let waits = exchange.progress.collapsed.waits;
    if coming.is_own {
        let most = exchange.route().timeouts.upstream_response;
        await_decision_within(shard, client, exchange, &coming.fill, most).await?;
        // The request has waited for no other.
        exchange.progress.collapsed.waits = waits;
    } else {
        await_decision(shard, client, exchange, &coming.fill).await?;
    }
    let Some(slices) = Slices::of(shard, client, exchange, (request, slicing)) else {
        return Ok(None);
    };
    Ok(slices.serving_of(number, like.as_ref(), (coming, reason)))
}

/// The shape of an answer.
enum Shape {
    /// One entry answers.
    Slice,
    /// Several slices answer, with these bytes.
    Slices(Extent),
    /// Slices do not answer.
    None,
}

/// Why a slice is fetched, for `Cache-Status`.
type Reason = (Forwarded, &'static str);

/// A slice that was looked for, with the part that the cache had.
enum Found {
    Stored(SharedEntry, CachePart, &'static str),
    Coming(ComingSlice, Reason),
    Lost,
}

/// The slice that is looked for.
struct Wanted<'w> {
    number: u64,
    /// A slice of the state of the representation that this one must have.
    like: Option<&'w SharedEntry>,
    /// Whether the answer cannot go on without the slice.
    is_awaited: bool,
    hash: u64,
    key: Vec<u8>,
}

/// The slices of what a request asks for.
struct Slices<'a> {
    shard: &'a Rc<Shard>,
    client: &'a Client,
    exchange: &'a Exchange,
    request: &'a PreparedRequest,
    fetch: &'a CacheFetch,
    policy: &'a Policy,
    store: &'a SharedStore,
    slicing: Slicing,
    /// Milliseconds since 1970 at the look-up of the first slice.
    now: u64,
}

impl<'a> Slices<'a> {
    /// The slices of a request. `None`: the route has no cache.
    fn of(
        shard: &'a Rc<Shard>,
        client: &'a Client,
        exchange: &'a Exchange,
        (request, slicing): (&'a PreparedRequest, Slicing),
    ) -> Option<Slices<'a>> {
        Some(Slices {
            shard,
            client,
            exchange,
            request,
            fetch: request.fetch.as_ref()?,
            policy: exchange.route().cache.as_ref()?,
            store: &shard.cache.as_ref()?.store,
            slicing,
            now: unix_millis(),
        })
    }

    /// Looks for a slice in the store, and has it fetched if need be.
    fn obtain(&self, number: u64, like: Option<&SharedEntry>) -> Found {
        let url = &self.fetch.key;
        let key = match number {
            // The first slice has the key of the URL, so that it is found by what knows nothing of slices.
            0 => Some(url.to_vec()),
            _ => Key::of_slice(url, number, self.slicing.size()),
        };
        let Some(key) = key else { return Found::Lost };
        let wanted = Wanted {
            number,
            like,
            is_awaited: true,
            hash: self.store.hash(&key),
            key,
        };
        let Some(entry) = self.stored(&wanted) else {
            return self.ask(&wanted, None, (Forwarded::UriMiss, "no_entry"));
        };
        match self.reused(&wanted, &entry) {
            Reuse::Fresh { .. } => Found::Stored(entry, CachePart::Hit, ""),
            Reuse::Accepted { .. } => Found::Stored(entry, CachePart::Stale, "accepted"),
            Reuse::WhileRefreshing { .. } => {
                // The answer does not wait for the refresh, which may bring another state.
                let refreshed = Wanted {
                    like: None,
                    is_awaited: false,
                    ..wanted
                };
                let stale = Some(entry.clone());
                self.ask(&refreshed, stale, (Forwarded::Stale, "refreshing"));
                Found::Stored(entry, CachePart::Stale, "refreshing")
            }
            Reuse::Validate(why) if why.is_from_client() => {
                self.ask(&wanted, Some(entry), (Forwarded::Request, why.label()))
            }
            Reuse::Validate(why) => self.ask(&wanted, Some(entry), (Forwarded::Stale, why.label())),
        }
    }

    /// The stored slice.
    fn stored(&self, wanted: &Wanted<'_>) -> Option<SharedEntry> {
        let found = self.fetch.with_fields(|fields| {
            let matches = |variant: &[u8]| vary::matches(variant, fields);
            self.store.look_up(wanted.hash, &wanted.key, matches)
        });
        let entry = found.entry?;
        self.fits(wanted.number, wanted.like, &entry)
            .then_some(entry)
    }

    /// Whether an entry is the slice of this number. Without another slice that it must be like, the whole of what is
    /// no larger than one slice answers, too.
    fn fits(&self, number: u64, like: Option<&SharedEntry>, entry: &SharedEntry) -> bool {
        match (like, part_of(entry)) {
            (Some(like), _) => is_like(like, self.slicing, number, entry),
            (None, Some(part)) => self.slicing.is_slice(number, &part),
            (None, None) => number == 0,
        }
    }

    fn reused(&self, wanted: &Wanted<'_>, entry: &SharedEntry) -> Reuse {
        let is_purged = self.store.check(entry) == EntryState::Stale;
        let asking = &self.fetch.asking;
        let (facts, now) = (entry.facts(), unix_millis());
        let reused = reuse(self.policy, &facts, asking, is_purged, now);
        let is_bounded = self.policy.client_directives == ClientDirectives::Bounded;
        match reused {
            Reuse::Validate(why)
                if why.is_from_client()
                    && is_bounded
                    && (wanted.like.is_some() || !self.store.may_validate(wanted.hash, now)) =>
            {
                let asking = asking.without_demands();
                reuse(self.policy, &facts, &asking, is_purged, now)
            }
            reused => reused,
        }
    }

    /// Has a slice fetched, unless another request does that already. `stale`: the stored slice, which is validated.
    fn ask(&self, wanted: &Wanted<'_>, stale: Option<SharedEntry>, reason: Reason) -> Found {
        let now = unix_millis();
        let known = stale.as_ref().or(wanted.like);
        let variant = known.and_then(|known| {
            self.fetch
                .with_fields(|fields| vary::variant_like(known.variant(), fields))
        });
        let joined = self
            .store
            .join(wanted.hash, &wanted.key, variant.as_deref(), now);
        let (fill, is_own) = match joined {
            Joined::Follow(fill) => (fill, false),
            // Too many others fetch other variants of the slice.
            Joined::Alone(mut ticket) => {
                let fill = self.store.follow_unseen(&mut ticket);
                self.begin(wanted, ticket, stale.clone());
                (fill, true)
            }
            Joined::Lead(ticket) => {
                // Another core may have stored the slice, and ended its fetch, since this one looked.
                if let Some(newer) = self.stored(wanted)
                    && !stale
                        .as_ref()
                        .is_some_and(|stale| SharedEntry::ptr_eq(stale, &newer))
                    && matches!(self.reused(wanted, &newer), Reuse::Fresh { .. })
                {
                    return Found::Stored(newer, CachePart::Hit, "");
                }
                let Some(fill) = ticket.follower() else {
                    return Found::Lost;
                };
                self.begin(wanted, ticket, stale.clone());
                (fill, true)
            }
        };
        let may_be_stale = |stale: &SharedEntry| {
            let asking = &self.fetch.asking;
            // RFC 5861 section 4: an error is whatever would give the client a 500, 502, 503 or 504.
            let troubles = [Trouble::Unreachable, Trouble::Status(503)];
            let permits = |trouble| may_answer_stale(self.policy, stale, asking, trouble, now);
            troubles.into_iter().any(permits)
        };
        let coming = ComingSlice {
            fill,
            is_own,
            stale: stale.filter(may_be_stale),
        };
        Found::Coming(coming, reason)
    }

    /// Sends the request for a slice.
    fn begin(&self, wanted: &Wanted<'_>, ticket: Ticket, stale: Option<SharedEntry>) {
        let url = (self.fetch.hash, self.fetch.key.clone());
        let slice = SliceFetch {
            slicing: self.slicing,
            number: wanted.number,
            first: wanted.like.cloned(),
            is_awaited: wanted.is_awaited,
            url,
        };
        let key = (wanted.hash, wanted.key.as_slice().into());
        let fetch = self.fetch.for_slice(key, ticket, slice, stale);
        let first = match wanted.like {
            None => self.request.first,
            Some(_) => {
                let selection = Selection {
                    pool: self.request.pool,
                    key: self.request.key,
                    carrier: self.request.carrier,
                    last: None,
                };
                choose_first(self.shard, &self.exchange.config, selection)
            }
        };
        let bytes = self.shard.blocks.take();
        let request = Box::new(self.request.with_fetch(fetch, first, bytes));
        // An answer that has begun goes on, however short memory is, and although the worker ends.
        let send = match wanted.like {
            None => refresh,
            Some(_) => fetch_for,
        };
        send(self.shard, &self.client.arrival, self.exchange, request);
    }

    fn serving(
        &self,
        entry: &SharedEntry,
        outcome: (Handling, CachePart, &'static str),
        fill: Option<Follower>,
    ) -> Serving {
        let mut serving = serving(self.policy, entry, outcome, self.now);
        serving.fill = fill;
        serving
    }

    /// The slice that a fetch has brought. `None`: the fetch has brought nothing that answers.
    fn serving_of(
        &self,
        number: u64,
        like: Option<&SharedEntry>,
        (coming, (reason, label)): (ComingSlice, Reason),
    ) -> Option<Serving> {
        let forwarded = |is_stored| Handling::Forwarded {
            reason,
            status: None,
            is_stored,
            is_collapsed: !coming.is_own,
        };
        let entry = match coming.fill.outcome() {
            Outcome::Storable(entry) => entry,
            Outcome::Gone => {
                let stale = coming.stale?;
                let outcome = (forwarded(false), CachePart::Stale, "unreachable");
                return Some(self.serving(&stale, outcome, None));
            }
            Outcome::Undecided | Outcome::Uncacheable(_) => return None,
        };
        let fields = |fields: &[httparse::Header<'_>]| vary::matches(entry.variant(), fields);
        let is_ours = self.fetch.with_fields(fields) && self.fits(number, like, &entry);
        if !is_ours || (!coming.is_own && !self.may_collapse(&entry, &coming.fill)) {
            return None;
        }
        let fill = match coming.fill.end() {
            FillEnd::Open => Some(coming.fill.clone()),
            FillEnd::Complete => None,
            // The beginning of a body that has failed is no answer. Nothing of the body was sent yet.
            FillEnd::Failed | FillEnd::Broken => return None,
        };
        let outcome = if coming.is_own {
            (forwarded(true), CachePart::Miss, label)
        } else {
            (forwarded(false), CachePart::Hit, "collapsed")
        };
        Some(self.serving(&entry, outcome, fill))
    }

    /// Whether the answer to another request may answer this one, too.
    fn may_collapse(&self, entry: &SharedEntry, fill: &Follower) -> bool {
        // The tags were not known when the request began to wait.
        if !self.store.may_answer(entry.hash(), entry.key(), fill) {
            return false;
        }
        let (facts, asking) = (entry.facts(), &self.fetch.asking);
        let reused = reuse(self.policy, &facts, asking, false, self.now);
        let is_shared = !asking.is_authorized || facts.permits_sharing();
        is_shared && matches!(reused, Reuse::Fresh { .. })
    }

    /// Finds out what of the representation the client gets, now that one slice of it is known.
    fn shape(&self, serving: &mut Serving) -> Shape {
        let asking = &self.fetch.asking;
        let entry = serving.entry.clone();
        let part = part_of(&entry);
        let formed = self.fetch.with_fields(|fields| match part {
            Some(part) => form_of_slices(asking, fields, &entry, part.total),
            None => form_of(asking, fields, &entry, entry.body_len()),
        });
        let Ok(form) = formed else {
            return Shape::None;
        };
        let Some(part) = part else {
            // A range of what is still coming, and is no part, may be far.
            if serving.fill.is_some() && asking.has_range {
                return Shape::None;
            }
            serving.form = form;
            return Shape::Slice;
        };
        let range = match form {
            AnswerForm::NotModified | AnswerForm::Ranges(RangeSelection::Unsatisfiable) => {
                serving.form = form;
                serving.fill = None;
                return Shape::Slice;
            }
            AnswerForm::Ranges(RangeSelection::Single(range)) => range,
            AnswerForm::Whole | AnswerForm::Ranges(RangeSelection::Whole) => ByteRange {
                first: 0,
                last: part.total.saturating_sub(1),
            },
            AnswerForm::Ranges(RangeSelection::Several(_)) => return Shape::None,
        };
        serving.form = form;
        if part.range.contains(&range) {
            return Shape::Slice;
        }
        if Validators::of_head(entry.head()).strong_etag().is_none() {
            return Shape::None;
        }
        Shape::Slices(Extent { range, ..part })
    }
}

impl SliceSource for Slices<'_> {
    fn obtain_like(&self, number: u64, first: &SharedEntry) -> Slice {
        match self.obtain(number, Some(first)) {
            Found::Stored(entry, ..) => {
                entry.note_used();
                Slice::Stored(entry)
            }
            Found::Coming(coming, _) => Slice::Coming(coming),
            Found::Lost => Slice::Lost,
        }
    }

    fn is_selected(&self, entry: &SharedEntry) -> bool {
        let matches = |fields: &[httparse::Header<'_>]| vary::matches(entry.variant(), fields);
        self.fetch.with_fields(matches)
    }

    fn follow(&self, fill: Follower) -> Followed {
        Followed {
            wait: self.shard.wait_for_fill(fill.number()),
            fill,
            worker: self.shard.worker,
        }
    }
}
