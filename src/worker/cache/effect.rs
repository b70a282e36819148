//! The effect of the head of a backend's answer on the cache: the answer is stored, validates a stored response, gives
//! way to a stored response, or invalidates stored responses.

use crate::base::time::unix_millis;
use crate::cache::content_location::names_target;
use crate::cache::facts::{EntryFacts, Flags};
use crate::cache::freshness::{age, lifetime, ttl};
use crate::cache::invalidation::{changes, resolve};
use crate::cache::not_stored::NotStored;
use crate::cache::omitted::Omitted;
use crate::cache::policy::Policy;
use crate::cache::request::AskedMethod;
use crate::cache::response::Response;
use crate::cache::reuse::Trouble;
use crate::cache::status::{Forwarded, Handling};
use crate::cache::storable::storable;
use crate::cache::tags::{Tags, TooManyTags, invalidated_groups};
use crate::cache::targeted::control_of;
use crate::cache::update::{NewFields, updated_head};
use crate::cache::validation::{HeadEffect, freshened, head_effect};
use crate::cache::validators::Validators;
use crate::cache::vary::{fields_of, matches, variant_of};
use crate::http::fields::{find, values};
use crate::http::h1::Asked as AskedOfHead;
use crate::http::h1::{FieldSlots, ResponseHead, parse_response};
use crate::http::references::References;
use crate::shared::access::CachePart;
use crate::shared::cache::{NewEntry, Purge, PurgeEffect, Share, Ticket};
use crate::shared::{SharedEntry, SharedStore};
use crate::worker::cache::fetch::{CacheFetch, FetchPurpose, Storing};
use crate::worker::cache::fill::BodyFill;
use crate::worker::cache::serving::{AnswerForm, Serving, may_answer_stale, part_of};
use crate::worker::cache::stored_head::{kept_head, stored_head};

/// The effect of the head of an answer on the cache.
pub enum CacheEffect {
    /// The answer goes to the client and is not stored, for the reason of this label.
    Pass(&'static str),
    /// The answer goes to the client and is stored.
    Store(Box<BodyFill>),
    /// A stored response answers in its place.
    Serve(Box<Serving>),
    /// The answer is a 304 to conditions of palantir's own, and for none of the responses that the conditions name: the
    /// request is sent again without conditions.
    Repeat,
}

/// A final answer that was received, with everything by which its effect is judged.
pub struct ReceivedAnswer<'a> {
    /// The store.
    pub store: &'a SharedStore,
    /// The settings of the route.
    pub policy: &'a Policy,
    /// The request.
    pub fetch: &'a CacheFetch,
    /// The head of the answer.
    pub head: &'a ResponseHead<'a, 'a>,
    /// How references to the backend are rewritten.
    pub references: Option<References<'a>>,
}

impl ReceivedAnswer<'_> {
    /// Judges the head of a final answer.
    pub fn effect(&self) -> CacheEffect {
        match self.fetch.purpose {
            FetchPurpose::Bypass(label) => CacheEffect::Pass(label),
            FetchPurpose::Change => {
                self.invalidate();
                self.store_for_get()
            }
            FetchPurpose::Store(..) => self.effect_of_readable(),
        }
    }

    /// Stores the answer to a POST that stands for its target (RFC 9110 section 9.3.3).
    fn store_for_get(&self) -> CacheEffect {
        if self.fetch.asking.method != AskedMethod::Post {
            return CacheEffect::Pass("method");
        }
        // The answer is newer than the invalidation by the request itself.
        self.fetch.begin_ticket(self.store);
        match self.store(unix_millis()) {
            Ok(fill) => CacheEffect::Store(fill),
            Err(why) => {
                drop(self.fetch.take_ticket());
                CacheEffect::Pass(why.label())
            }
        }
    }

    fn effect_of_readable(&self) -> CacheEffect {
        let now = unix_millis();
        let status = self.head.status;
        if status == 304 && self.fetch.is_validating() {
            return match self.validated(now) {
                Some(serving) => CacheEffect::Serve(Box::new(serving)),
                None => CacheEffect::Repeat,
            };
        }
        if let Some(verdict) = self.completed(now) {
            return verdict;
        }
        if let Some(serving) = self.stale_instead(Trouble::Status(status), now) {
            return CacheEffect::Serve(Box::new(serving));
        }
        if let Some(verdict) = self.no_slice(now) {
            return verdict;
        }
        if self.fetch.is_rare {
            drop(self.fetch.take_ticket());
            return CacheEffect::Pass("min_uses");
        }
        if self.fetch.asking.method == AskedMethod::Head {
            self.take_head_over(now);
        }
        // RFC 9111 section 4.3.3 (MUST): a full answer is the client's, whatever was stored.
        match self.store(now) {
            Ok(fill) => CacheEffect::Store(fill),
            Err(why) => {
                self.refuse(why, now);
                CacheEffect::Pass(why.label())
            }
        }
    }

    /// Tells those who wait that they cannot have the answer.
    pub(super) fn refuse(&self, why: NotStored, now: u64) {
        let slice = self.fetch.slice();
        // The whole that is too large may still come in slices.
        let is_whole = self.policy.slice.is_some() && slice.is_none();
        let is_for_slices = is_whole && why == NotStored::TooLarge;
        // A failure passes, and what concerns this request alone says nothing of the answers to others. But without a
        // later slice answers are cut, whatever the reason.
        let is_cut = slice.is_some_and(|slice| slice.first.is_some());
        let is_of_all = is_cut || !why.is_of_request();
        let is_lasting = self.head.status < 500 && is_of_all && !is_for_slices;
        // The stored whole that is older than the one that is too large would keep requests from slices.
        let old = self.fetch.stored.first().filter(|_| is_for_slices);
        if old.is_some_and(|old| part_of(old).is_none()) {
            self.store.invalidate(self.fetch.hash, &self.fetch.key);
        }
        if let Some(slice) = slice {
            self.give_up(slice, is_lasting, now);
        } else if let Some(ticket) = self.fetch.take_ticket() {
            ticket.uncacheable(if is_lasting { self.remembered(now) } else { 0 });
        }
    }

    /// The time until which it is remembered that an answer was not stored, in milliseconds since 1970; 0: it is not.
    pub(super) fn remembered(&self, now: u64) -> u64 {
        match self.policy.uncacheable_memory {
            0 => 0,
            secs => now + u64::from(secs) * 1_000,
        }
    }

    pub(super) fn response(&self, now: u64) -> Response<'_> {
        let location = find(self.head.fields, "content-location");
        Response {
            status: self.head.status,
            fields: self.head.fields,
            length: self.head.named_length(),
            is_partial: false,
            is_at_target: location
                .is_some_and(|location| names_target(location, &self.fetch.place.target())),
            requested: self.fetch.requested(),
            received: now,
        }
    }

    pub(super) fn share(&self) -> Share {
        Share {
            zone: self.store.zone(&self.policy.zone),
            max_percent: self.policy.max_percent,
            max_object: self.policy.max_object,
            max_variants: self.policy.max_variants,
        }
    }

    /// Begins to store the answer. Errors: the reason for which the answer is not stored.
    fn store(&self, now: u64) -> Result<Box<BodyFill>, NotStored> {
        let (policy, head) = (self.policy, self.head);
        if head.status == 206 {
            return self.store_part(now);
        }
        let control = control_of(policy, head.fields);
        let facts = storable(policy, &self.fetch.asking, &self.response(now), &control)?;
        let variant = self.variant()?;
        let tags = Tags::of(head.fields, || self.fetch.place.origin());
        let tags = tags.map_err(|_| NotStored::TooManyTags)?;
        let omitted = Omitted::new(policy, head.status, head.fields, control);
        let stored = stored_head(policy, head, self.references, (omitted, now));
        let ticket = self.fetch.take_ticket().ok_or(NotStored::NoRoom)?;
        let length = match head.body {
            crate::http::h1::ResponseBody::Length(length) => Some(length),
            crate::http::h1::ResponseBody::None => Some(0),
            _ => head.named_length(),
        };
        let filling = ticket.store(NewEntry {
            facts,
            variant: &variant,
            head: &stored,
            tags: tags.as_bytes(),
            length,
            share: self.share(),
        });
        let mut filling = filling.map_err(|_| NotStored::NoRoom)?;
        if self.fetch.slice().is_some() {
            // A backend that sends the whole in the place of a slice is asked without slices.
            filling.remember_too_large(self.remembered(now));
        }
        self.fetch.storing.set(Some(Storing { length }));
        Ok(Box::new(BodyFill::new(filling)))
    }

    /// The stored response that a 304 has validated.
    fn validated(&self, now: u64) -> Option<Serving> {
        let stored = &self.fetch.stored;
        let validators: Vec<_> = stored
            .iter()
            .map(|entry| Validators::of_head(entry.head()))
            .collect();
        let of_304 = Validators::of(self.head.fields);
        let meant = freshened(&validators, &of_304);
        let is_meant = |at: &usize| meant.includes(*at, &validators[*at], &of_304);
        let at = (0..stored.len()).find(is_meant)?;
        // RFC 9111 section 4.3.4 (MUST): each response that the 304 is for is updated. The first one stays the first.
        for further in (at + 1..stored.len()).filter(is_meant) {
            self.refreshed(&stored[further], self.fetch.further_ticket(), now);
        }
        let entry = self.refreshed(&stored[at], self.fetch.take_ticket(), now);
        let reason = match self.fetch.purpose {
            FetchPurpose::Store(_, label) => label,
            _ => "",
        };
        let forwarded = Handling::Forwarded {
            reason: self.fetch.forwarded(),
            status: Some(304),
            is_stored: true,
            is_collapsed: self.fetch.is_collapsed,
        };
        let validated = (forwarded, CachePart::Validated, reason);
        let mut serving = serving(self.policy, &entry, validated, now);
        // RFC 9111 section 4.3.2 (MUST): the conditions of the client decide whether it gets a 304, or the response.
        serving.form = self.fetch.form_of(&entry)?;
        Some(serving)
    }

    /// The entry with the fields of the answer, in the store if the answer permits that.
    fn refreshed(&self, old: &SharedEntry, ticket: Option<Ticket>, now: u64) -> SharedEntry {
        let keeps_cookies = self.policy.set_cookie == crate::cache::policy::SetCookie::Store;
        let omitted = self.omitted();
        let new = NewFields {
            fields: self.head.fields,
            received_secs: now / 1_000,
            keeps_cookies,
            is_unstorable: &|name| omitted.contains(name.as_bytes()),
        };
        // RFC 9111 sections 4.3.4 (MUST) and 4.3.5 (MUST): the fields of the answer update the stored ones.
        let text = updated_head(old.head(), &new);
        let facts = self.facts_of(&text, now);
        let Some(ticket) = ticket else {
            return old.clone();
        };
        let updated = (facts, self.tags_with(old), self.variant_after(old));
        let (Ok(facts), Ok(tags), Ok(variant)) = updated else {
            ticket.uncacheable(0);
            // A response that must not be stored any more is not used any more. A request whose own answer must not be
            // stored says nothing of what others have had stored.
            if !facts.is_err_and(NotStored::is_of_request) {
                self.store.invalidate(self.fetch.hash, &self.fetch.key);
            }
            return old.clone();
        };
        // RFC 9111 section 3.3 (MUST NOT, b): a part stays a part.
        let facts = EntryFacts {
            flags: facts.flags | Flags::PARTIAL.when(old.facts().flags.has(Flags::PARTIAL)),
            ..facts
        };
        let refreshed = ticket.refresh(
            old,
            NewEntry {
                facts,
                variant: &variant,
                head: &kept_head(self.policy, &text),
                tags: tags.as_bytes(),
                length: None,
                share: self.share(),
            },
        );
        refreshed.unwrap_or_else(|_| old.clone())
    }

    /// The fields of the answer that an update of a stored response leaves out.
    pub(super) fn omitted(&self) -> Omitted<'_> {
        let fields = self.head.fields;
        Omitted::new(self.policy, 200, fields, control_of(self.policy, fields))
    }

    /// The variant that the answer is.
    pub(super) fn variant(&self) -> Result<Vec<u8>, NotStored> {
        if find(self.head.fields, "vary").is_none() {
            return Ok(Vec::new());
        }
        self.fetch
            .with_fields(|fields| variant_of(self.policy, self.head.fields, fields))
    }

    /// The variant that a stored response is, once the fields of the answer have updated it. Errors: it is not known
    /// which requests select the response from now on.
    pub(super) fn variant_after(&self, old: &SharedEntry) -> Result<Vec<u8>, NotStored> {
        if find(self.head.fields, "vary").is_none() {
            return Ok(old.variant().to_vec());
        }
        self.fetch.with_fields(|fields| {
            let variant = variant_of(self.policy, self.head.fields, fields)?;
            let names = |variant: &[u8]| -> Vec<Vec<u8>> {
                let named = fields_of(variant).into_iter();
                named.map(|(name, _)| name.to_vec()).collect()
            };
            if names(&variant) == names(old.variant()) {
                return Ok(old.variant().to_vec());
            }
            // RFC 9111 section 4.1 (MUST NOT): the answer is for requests like this one. What other requests have had
            // stored says nothing of the fields that select a response now.
            if matches(old.variant(), fields) {
                Ok(variant)
            } else {
                Err(NotStored::Vary)
            }
        })
    }

    /// The tags of a stored response and those that the answer adds: a purge finds the response by all of them.
    pub(super) fn tags_with(&self, old: &SharedEntry) -> Result<Tags, TooManyTags> {
        Tags::of(self.head.fields, || self.fetch.place.origin())?.joined(old.tags())
    }

    /// The facts of a response with this head, which was validated now.
    pub(super) fn facts_of(&self, text: &[u8], now: u64) -> Result<EntryFacts, NotStored> {
        let mut slots = FieldSlots::new();
        let asked = AskedOfHead {
            head: false,
            upgrade: false,
            strict: false,
        };
        let parsed = parse_response(text, &mut slots, asked, u32::MAX);
        let Ok(Some(head)) = parsed else {
            return Err(NotStored::Status);
        };
        let response = Response {
            status: head.status,
            fields: head.fields,
            length: None,
            ..self.response(now)
        };
        let control = control_of(self.policy, head.fields);
        storable(
            self.policy,
            &self.fetch.asking.for_get(),
            &response,
            &control,
        )
    }

    /// The stored response that answers in case of trouble, if the response and the operator permit that.
    fn stale_instead(&self, trouble: Trouble, now: u64) -> Option<Serving> {
        stale_instead(self.policy, self.fetch, trouble, now)
    }

    /// Lets the answer to a HEAD update or end the stored response to GET.
    fn take_head_over(&self, now: u64) {
        let (status, fields) = (self.head.status, self.head.fields);
        // RFC 9111 section 4.3.5 (SHOULD, a): each stored response that the request could have selected. The first one
        // comes last, so that it stays the first.
        for (at, entry) in self.fetch.stored.iter().enumerate().rev() {
            let validators = Validators::of_head(entry.head());
            let length = part_of(entry).map_or(entry.body_len(), |extent| extent.total);
            let ticket = || match at {
                0 => self.fetch.take_ticket(),
                _ => self.fetch.further_ticket(),
            };
            match head_effect(status, fields, &validators, length) {
                HeadEffect::None => {}
                HeadEffect::Update => drop(self.refreshed(entry, ticket(), now)),
                HeadEffect::Invalidate if at > 0 => self.store.make_stale(entry),
                HeadEffect::Invalidate => self.store.invalidate(self.fetch.hash, &self.fetch.key),
            }
        }
    }

    /// Invalidates what an unsafe request may have changed (RFC 9111 section 4.4).
    fn invalidate(&self) {
        if !changes(self.head.status) {
            return;
        }
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::KeepsChanged) {
            return;
        }
        let fetch = self.fetch;
        // RFC 9111 section 4.4 (MUST): the target is invalidated.
        let target = fetch.place.path_and_query();
        self.invalidate_url(target);
        for name in ["location", "content-location"] {
            for reference in values(self.head.fields, name) {
                if let Some(other) = resolve(&fetch.place.target(), reference) {
                    self.invalidate_url((other.path(), other.query()));
                }
            }
        }
        let groups = invalidated_groups(false, self.head.fields, &fetch.place.origin());
        for group in groups {
            self.store.purge(Purge::Tag(&group), PurgeEffect::Hard);
        }
    }
}

impl ReceivedAnswer<'_> {
    /// Invalidates the responses that are stored for a path and query of the same origin.
    pub(super) fn invalidate_url(&self, (path, query): (&[u8], Option<&[u8]>)) {
        let mut key = Vec::new();
        if self.policy.key_headers.is_empty() && self.policy.slice.is_none() {
            let place = &self.fetch.place;
            place.write_key_of(self.policy, (path, query), &[], &mut key);
            self.store.invalidate(self.store.hash(&key), &key);
        } else {
            // The keys of one URL differ by the fields that belong to them, and by the slices.
            self.fetch
                .place
                .write_url(self.policy, (path, query), &mut key);
            self.store.purge(Purge::Url(&key), PurgeEffect::Hard);
        }
    }
}

/// The stored response that answers in case of trouble, if the response and the operator permit that.
pub fn stale_instead(
    policy: &Policy,
    fetch: &CacheFetch,
    trouble: Trouble,
    now: u64,
) -> Option<Serving> {
    let entry = fetch.stored.first()?;
    if !may_answer_stale(policy, entry, &fetch.asking, trouble, now) {
        return None;
    }
    let (status, reason) = match trouble {
        Trouble::Unreachable => (None, "unreachable"),
        Trouble::Status(status) => (Some(status), "error"),
    };
    let handling = Handling::Forwarded {
        reason: fetch.forwarded(),
        status,
        is_stored: false,
        is_collapsed: fetch.is_collapsed,
    };
    // RFC 9111 section 3.3 (MUST NOT, b): a part answers requests for ranges within it, and no others, stale or not.
    let form = fetch.form_of(entry)?;
    let mut serving = serving(policy, entry, (handling, CachePart::Stale, reason), now);
    serving.form = form;
    Some(serving)
}

/// A stored response as the whole answer.
pub fn serving(
    policy: &Policy,
    entry: &SharedEntry,
    (handling, part, reason): (Handling, CachePart, &'static str),
    now: u64,
) -> Serving {
    let facts = entry.facts();
    Serving {
        entry: entry.clone(),
        held: None,
        fill: None,
        form: AnswerForm::Whole,
        handling,
        ttl: ttl(policy, &facts, now),
        age: age(&facts, now),
        part,
        reason: if reason.is_empty() {
            lifetime(policy, &facts).source.label()
        } else {
            reason
        },
    }
}

impl CacheFetch {
    /// The reason for which the request was forwarded.
    pub fn forwarded(&self) -> Forwarded {
        match self.purpose {
            FetchPurpose::Store(reason, _) => reason,
            FetchPurpose::Bypass(_) => Forwarded::Bypass,
            FetchPurpose::Change => Forwarded::Method,
        }
    }
}
