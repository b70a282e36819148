//! The step that looks a request up in the cache: a stored response answers, the request waits for the answer to
//! another one, or the request goes to a backend, whose answer may be stored.

mod choice;
mod fields;
mod follow;
mod lead;
mod parts;
mod sliced;

use std::borrow::Cow;
use std::cell::Cell;

use httparse::Header;

use super::{Early, Incoming, purge};
use crate::base::limits;
use crate::base::time::unix_millis;
use crate::cache::bypass::{self, BypassReason, StrippedCookie, strip_cookies};
use crate::cache::invalidation::is_safe;
use crate::cache::policy::{ClientDirectives, Policy};
use crate::cache::request::{Asking, Circumstances, is_near_bounds};
use crate::cache::reuse::{Reuse, Trouble, Why, reuse};
use crate::cache::status::{Forwarded, Handling};
use crate::cache::vary;
use crate::http::fields::values;
use crate::http::h1::RequestBody;
use crate::shared::SharedEntry;
use crate::shared::access::CachePart;
use crate::shared::cache::{EntryState, Follower, Found, Joined};
use crate::snapshot::Route;
use crate::worker::cache::Cache;
use crate::worker::cache::asked_url::UrlParts;
use crate::worker::cache::effect::serving;
use crate::worker::cache::fetch::{CacheFetch, CacheRequest, FetchPurpose};
use crate::worker::cache::own::{Led, OwnFetch, SliceStart};
use crate::worker::cache::serving::{
    AnswerForm, Formless, Serving, form_of, form_without_backend, may_answer_stale, part_of,
};
use crate::worker::exchange::Exchange;
use crate::worker::reply::Reply;
use fields::{forwarded, with_cookies};

/// The outcome of the look-up.
pub enum LookedUp {
    /// The cache is not concerned.
    Unconcerned,
    /// The request goes to a backend.
    Fetch(Box<CacheFetch>),
    /// A stored response answers. The fetch, if there is one, refreshes the response meanwhile.
    Serve(Box<Serving>, Option<Box<CacheFetch>>),
    /// The request waits for the answer to another one.
    Follow(Follower),
    /// The request waits for the disk.
    Recall(Follower),
    /// A fetch of the cache's own begins, and the request waits for its answer.
    Lead(Box<CacheFetch>, Led),
    /// The request is answered in slices. What is fetched is made of this fetch.
    Slices(Box<CacheFetch>, SliceStart),
}

/// Looks a request up.
#[inline]
pub fn look_up(
    incoming: &Incoming<'_>,
    exchange: &Exchange,
    route: &Route,
) -> Result<LookedUp, Early> {
    match (&route.cache, &incoming.shard.cache) {
        (Some(policy), Some(cache)) => LookUp {
            incoming,
            exchange,
            policy,
            cache,
            now: unix_millis(),
            has_repeated: Cell::new(false),
        }
        .run(),
        // RFC 9110 section 13.2.1 (MUST NOT; MUST, c): conditions on a route without a cache are the backend's.
        _ => Ok(LookedUp::Unconcerned),
    }
}

/// A look-up under way.
struct LookUp<'a> {
    incoming: &'a Incoming<'a>,
    exchange: &'a Exchange,
    policy: &'a Policy,
    cache: &'a Cache,
    /// Milliseconds since 1970.
    now: u64,
    /// Whether the look-up was repeated, because another core had stored a response meanwhile.
    has_repeated: Cell<bool>,
}

impl LookUp<'_> {
    #[inline(never)]
    fn run(&self) -> Result<LookedUp, Early> {
        let head = self.incoming.head;
        if head.upgrade || self.exchange.facts.is_grpc {
            return Ok(LookedUp::Unconcerned);
        }
        let client = self.exchange.facts.client;
        let store = &self.cache.store;
        if let Err(reply) = purge::obey(self.incoming, client, self.policy, store) {
            let sync = store.purge_sync().map(Box::new);
            self.exchange.progress.purge_sync.set(sync);
            return Err(reply);
        }
        let cookies = self.cookies_left();
        let fields: Cow<'_, [Header<'_>]> = match &cookies {
            Some(left) => with_cookies(head.fields, left).into(),
            None => head.fields.into(),
        };
        let fields = forwarded(&fields);
        let fields = &*fields;
        let path = self.incoming.target.forwarded;
        let method = head.method.as_bytes();
        let has_body = head.body != RequestBody::None;
        let bypass = bypass::reason(self.policy, method, path, fields)
            .or_else(|| has_body.then_some(BypassReason::Body));
        if bypass == Some(BypassReason::Method) && is_safe(method) {
            return Ok(LookedUp::Unconcerned);
        }
        // The key is written into memory that is used again and again.
        let mut key = self.cache.scratch.take();
        let looked_up = {
            let asked = self.asked(fields, &mut key);
            match bypass {
                None => self.look_up(&asked, cookies.clone()),
                Some(reason) => Ok(LookedUp::Fetch(self.pass(&asked, cookies.clone(), reason))),
            }
        };
        key.clear();
        self.cache.scratch.replace(key);
        looked_up
    }

    /// The fetch of a request that neither looks up nor stores.
    fn pass(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
        reason: BypassReason,
    ) -> Box<CacheFetch> {
        let purpose = if reason == BypassReason::Method {
            FetchPurpose::Change
        } else {
            self.exchange.note_cache(CachePart::Bypass, reason.label());
            FetchPurpose::Bypass(reason.label())
        };
        let mut fetch = CacheFetch::new(asked, purpose, None);
        if let Some(cookies) = cookies {
            fetch.replace_cookies(cookies);
        }
        Box::new(fetch)
    }

    /// The cookies of the request without those that are stripped; `None`: none is.
    fn cookies_left(&self) -> Option<Vec<u8>> {
        let stripped = &self.policy.strip_cookies;
        if stripped.is_empty() {
            return None;
        }
        let (mut left, mut has_changed) = (Vec::new(), false);
        for value in values(self.incoming.head.fields, "cookie") {
            let mut changed = Vec::new();
            let outcome = strip_cookies(stripped, value, &mut changed);
            let value = match outcome {
                StrippedCookie::Unchanged => value,
                StrippedCookie::Changed => &changed,
                StrippedCookie::Removed => b"",
            };
            has_changed |= outcome != StrippedCookie::Unchanged;
            if !left.is_empty() && !value.is_empty() {
                left.extend_from_slice(b"; ");
            }
            left.extend_from_slice(value);
        }
        has_changed.then_some(left)
    }

    fn asked<'f>(&'f self, fields: &'f [Header<'f>], key: &'f mut Vec<u8>) -> CacheRequest<'f> {
        let head = self.incoming.head;
        let place = UrlParts::of(self.incoming);
        place.write_key(self.policy, fields, key);
        let secured = self.incoming.client.arrival.secured.as_ref();
        let bounds = &self.incoming.config.snapshot().client.head;
        let method = std::str::from_utf8(head.method.as_bytes()).unwrap_or_default();
        CacheRequest {
            asking: Asking::new(
                self.policy,
                method,
                fields,
                Circumstances {
                    is_identified: secured.is_some_and(|secured| secured.fields().is_some()),
                    is_near_bounds: is_near_bounds(head.head_bytes, bounds.head_bytes as usize)
                        || is_near_bounds(fields.len(), usize::from(bounds.fields)),
                },
            ),
            hash: self.cache.store.hash(key),
            place,
            key,
            fields,
        }
    }

    fn look_up(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
    ) -> Result<LookedUp, Early> {
        if let Some(served) = self.serve_awaited(asked) {
            return Ok(served);
        }
        if self.exchange.progress.collapsed.waits == 0
            && let Some(serving) = self.hit_in_front(asked)
        {
            return Ok(LookedUp::Serve(serving, None));
        }
        self.cache.front.give_way(&self.cache.store);
        if let Some(size) = self.policy.slice
            && let Some(sliced) = self.in_slices(asked, cookies.as_ref(), size)
        {
            return Ok(sliced);
        }
        let matches = |variant: &[u8]| vary::matches(variant, asked.fields);
        let mut found = self.cache.store.look_up(asked.hash, asked.key, matches);
        self.choose(asked, &mut found);
        let Some(entry) = found.entry.clone() else {
            if let Some(recall) = self.recall(asked) {
                return Ok(LookedUp::Recall(recall));
            }
            self.note_range(asked);
            let reason = match found.other {
                Some(_) => (Forwarded::VaryMiss, "vary"),
                None => (Forwarded::UriMiss, "no_entry"),
            };
            return self.ask(asked, cookies, found, reason);
        };
        // RFC 9110 section 13.2.1 (MUST, a): the request has passed all other checks by now.
        let formed = form_of(&asked.asking, asked.fields, &entry, entry.body_len());
        if let Err(Formless::Missing(missing)) = formed {
            return self.ask_for_rest((asked, cookies), found, entry, missing);
        }
        let facts = entry.facts();
        let is_purged = self.cache.store.check(&entry) == EntryState::Stale;
        let mut asking = asked.asking;
        let mut reused = reuse(self.policy, &facts, &asking, is_purged, self.now);
        if let Reuse::Validate(why) = reused
            && why.is_from_client()
            && self.policy.client_directives == ClientDirectives::Bounded
            && !self.cache.store.may_validate(asked.hash, self.now)
        {
            asking = asking.without_demands();
            reused = reuse(self.policy, &facts, &asking, is_purged, self.now);
        }
        let Ok(form) = formed else {
            return self.ask(asked, cookies, found, (Forwarded::Request, "conditions"));
        };
        match reused {
            Reuse::Fresh { .. } if self.exchange.progress.collapsed.waits > 0 => {
                let serving = self.collapsed(&entry, form);
                Ok(LookedUp::Serve(Box::new(serving), None))
            }
            Reuse::Fresh { .. } => Ok(self.serve(&entry, form, (CachePart::Hit, ""))),
            Reuse::Accepted { .. } => Ok(self.serve(&entry, form, (CachePart::Stale, "accepted"))),
            Reuse::WhileRefreshing { .. } => {
                let stale = (CachePart::Stale, "refreshing");
                let served = self.serve(&entry, form, stale);
                Ok(self.with_refresh(served, asked, cookies, found))
            }
            Reuse::Validate(why) => self.validate(asked, cookies, found, why),
        }
    }

    /// A fresh entry in front of the store, whose response the client gets as it is.
    #[inline]
    fn hit_in_front(&self, asked: &CacheRequest<'_>) -> Option<Box<Serving>> {
        let matches = |variant: &[u8]| variant.is_empty() || vary::matches(variant, asked.fields);
        let (front, store) = (&self.cache.front, &self.cache.store);
        let (held, state) = front.find(store, asked.hash, asked.key, matches)?;
        let facts = held.entry.facts();
        let is_purged = state == EntryState::Stale;
        let reused = reuse(self.policy, &facts, &asked.asking, is_purged, self.now);
        let Reuse::Fresh { .. } = reused else {
            return None;
        };
        let entry = &held.entry;
        let form = form_of(&asked.asking, asked.fields, entry, entry.body_len()).ok()?;
        let hit = (Handling::Hit, CachePart::Hit, "");
        let mut serving = serving(self.policy, &held.entry, hit, self.now);
        serving.form = form;
        serving.held = Some(held);
        Some(Box::new(serving))
    }

    /// Asks a backend whether a stored response still holds. Where no backend can be asked, the stored response answers
    /// at once if it may.
    fn validate(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
        found: Found,
        why: Why,
    ) -> Result<LookedUp, Early> {
        if let Some(entry) = &found.entry
            && self.is_unreachable()
            && may_answer_stale(
                self.policy,
                entry,
                &asked.asking,
                Trouble::Unreachable,
                self.now,
            )
            && let Some(form) = form_without_backend(&asked.asking, asked.fields, entry)
            && !self.cache.store.may_validate(asked.hash, self.now)
        {
            return Ok(self.serve(entry, form, (CachePart::Stale, "unreachable")));
        }
        let forwarded = if why.is_from_client() {
            Forwarded::Request
        } else {
            Forwarded::Stale
        };
        self.validate_with_patience(asked, cookies, found, (forwarded, why.label()))
    }

    /// Whether no backend of the pool takes requests now.
    fn is_unreachable(&self) -> bool {
        let (shard, config) = (self.incoming.shard, self.incoming.config);
        !config.takes_any(self.exchange.route().pool, &shard.tables, |_| true)
    }

    /// Sends the request to a backend, unless it waits for the answer to another one.
    fn ask(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
        found: Found,
        (reason, label): (Forwarded, &'static str),
    ) -> Result<LookedUp, Early> {
        if asked.asking.is_only_if_cached() {
            // RFC 9111 section 5.2.1.7 (SHOULD): a 504 where no stored response answers.
            return Err(Reply::not_cached().into());
        }
        let store = &self.cache.store;
        let collapsed = self.exchange.progress.collapsed;
        let needs_own = self.needs_own(asked, &found);
        let is_rare = self.is_rare(asked, &found);
        let may_wait = !is_rare
            && self.may_collapse(asked, &found)
            && !collapsed.is_over
            && collapsed.waits < limits::COLLAPSED_WAITS;
        let widened = (needs_own && may_wait).then(|| self.begin_widened());
        let widened = widened.flatten();
        let may_wait = may_wait && (!needs_own || widened.is_some());
        let joined = if may_wait {
            let variant = self.variant(asked, &found);
            store.join(asked.hash, asked.key, variant.as_deref(), self.now)
        } else {
            Joined::Alone(store.begin_fetch(asked.hash, asked.key))
        };
        let ticket = match joined {
            // Another core has stored a response, and ended its fetch, since this one looked.
            Joined::Lead(ticket) if !self.has_repeated.get() && self.is_outrun(asked, &found) => {
                self.has_repeated.set(true);
                drop(ticket);
                return self.look_up(asked, cookies);
            }
            Joined::Lead(ticket) if needs_own => {
                let own = OwnFetch {
                    widened,
                    ..OwnFetch::default()
                };
                return Ok(self.lead((asked, cookies), found, (reason, label), (ticket, own)));
            }
            Joined::Lead(ticket) | Joined::Alone(ticket) => ticket,
            Joined::Follow(follower) => match self.follow(follower, asked) {
                Ok(looked_up) => return Ok(looked_up),
                Err(()) => store.begin_fetch(asked.hash, asked.key),
            },
        };
        self.exchange.note_cache(CachePart::Miss, label);
        let mut fetch = self.fetch(asked, cookies, found, (reason, label), ticket);
        fetch.is_rare = is_rare;
        Ok(LookedUp::Fetch(Box::new(fetch)))
    }

    /// Whether another response than the found ones matches by now.
    pub(super) fn is_outrun(&self, asked: &CacheRequest<'_>, found: &Found) -> bool {
        let matches = |variant: &[u8]| vary::matches(variant, asked.fields);
        let newest = self
            .cache
            .store
            .look_up(asked.hash, asked.key, matches)
            .entry;
        newest.is_some_and(|newest| {
            // A part that has not all of what is asked for stands among the others.
            let mut found = (found.entry.iter())
                .chain(&found.further)
                .chain(&found.other);
            !found.any(|entry| SharedEntry::ptr_eq(entry, &newest))
        })
    }

    fn fetch(
        &self,
        asked: &CacheRequest<'_>,
        cookies: Option<Vec<u8>>,
        found: Found,
        (reason, label): (Forwarded, &'static str),
        ticket: crate::shared::cache::Ticket,
    ) -> CacheFetch {
        let mut fetch = CacheFetch::new(asked, FetchPurpose::Store(reason, label), Some(ticket));
        fetch.is_collapsed = self.exchange.progress.collapsed.waits > 0;
        if let Some(cookies) = cookies {
            fetch.replace_cookies(cookies);
        }
        if let Some(entry) = found.entry {
            let has_conditions = self.has_backend_conditions();
            let mut stored = vec![entry];
            stored.extend(found.further);
            // RFC 9111 section 4.3.2 (MUST NOT, b): a part is validated only if it has what is asked for, which the
            // newest entry alone was asked.
            let newest = stored[0].clone();
            let is_newest = |entry: &SharedEntry| SharedEntry::ptr_eq(entry, &newest);
            stored
                .retain(|entry| part_of(entry).is_none() || (is_newest(entry) && !has_conditions));
            if !has_conditions {
                fetch.validate(stored);
            } else {
                fetch.stored = stored;
            }
        }
        fetch
    }

    /// Whether the request has conditions that only a backend can evaluate.
    fn has_backend_conditions(&self) -> bool {
        let head = self.incoming.head;
        head.field("if-match").is_some() || head.field("if-unmodified-since").is_some()
    }

    /// Whether the request may wait for the answer to another one, or others for its answer.
    fn may_collapse(&self, asked: &CacheRequest<'_>, found: &Found) -> bool {
        !asked.asking.has_range && self.may_share(asked, found)
    }

    /// Whether the request may have the answer to another one, apart from the ranges that it asks for.
    fn may_share(&self, asked: &CacheRequest<'_>, found: &Found) -> bool {
        let head = self.incoming.head;
        let has = |name| head.field(name).is_some();
        let wants_events = head
            .field("accept")
            .is_some_and(|accept| memchr::memmem::find(accept, b"text/event-stream").is_some());
        let shared_before = [&found.entry, &found.other].into_iter().flatten();
        let is_shared = || {
            shared_before
                .clone()
                .any(|entry| entry.facts().permits_sharing())
        };
        head.method.as_bytes() == b"GET"
            && head.body == RequestBody::None
            && !asked.asking.directives.is_no_store
            && !wants_events
            && !["if-match", "if-unmodified-since"].into_iter().any(has)
            && (!asked.asking.is_authorized || is_shared())
    }

    fn serve(
        &self,
        entry: &SharedEntry,
        form: AnswerForm,
        outcome: (CachePart, &'static str),
    ) -> LookedUp {
        LookedUp::Serve(Box::new(self.serving(entry, form, outcome)), None)
    }

    fn serving(
        &self,
        entry: &SharedEntry,
        form: AnswerForm,
        (part, reason): (CachePart, &'static str),
    ) -> Serving {
        entry.note_used();
        let mut serving = serving(self.policy, entry, (Handling::Hit, part, reason), self.now);
        serving.form = form;
        if part == CachePart::Hit && reason.is_empty() {
            serving.held = Some(self.cache.front.put(entry));
        }
        serving
    }
}
