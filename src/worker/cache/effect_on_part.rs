//! The meaning of a 206 for the cache: a part is stored, or completes a stored one (RFC 9111 sections 3.3 and 3.4).

use crate::cache::extent::{Extent, part_head};
use crate::cache::facts::Flags;
use crate::cache::not_stored::NotStored;
use crate::cache::omitted::Omitted;
use crate::cache::partial::part;
use crate::cache::policy::SetCookie;
use crate::cache::request::AskedMethod;
use crate::cache::response::Response;
use crate::cache::storable::storable;
use crate::cache::tags::Tags;
use crate::cache::targeted::control_of;
use crate::cache::update::{NewFields, updated_head};
use crate::cache::validators::Validators;

use crate::http::fields::find;
use crate::http::h1::ResponseBody;
use crate::http::range::ContentRange;
use crate::shared::cache::NewEntry;
use crate::worker::cache::effect::{CacheEffect, ReceivedAnswer};
use crate::worker::cache::fetch::Storing;
use crate::worker::cache::fill::BodyFill;
use crate::worker::cache::own::Completing;
use crate::worker::cache::serving::part_of;
use crate::worker::cache::stored_head::{kept_head, stored_head};

impl ReceivedAnswer<'_> {
    /// Begins to store a 206 as the part that it is. Errors: the reason for which the part is not stored.
    pub(super) fn store_part(&self, now: u64) -> Result<Box<BodyFill>, NotStored> {
        let (policy, head, fetch) = (self.policy, self.head, self.fetch);
        // RFC 9110 section 14.4 (SHOULD, a): a part that the cache does not understand goes to the client as it is.
        let extent = self.extent().ok_or(NotStored::Partial)?;
        let is_of_slices = fetch.slice().is_some();
        if fetch.asking.method != AskedMethod::Get || (self.is_within_stored() && !is_of_slices) {
            return Err(NotStored::Partial);
        }
        let response = Response {
            status: 200,
            is_partial: true,
            length: Some(extent.range.len()),
            ..self.response(now)
        };
        let control = control_of(policy, head.fields);
        let mut facts = storable(policy, &fetch.asking, &response, &control)?;
        facts.flags |= Flags::PARTIAL.when(!extent.is_whole());
        let variant = self.variant()?;
        let tags = Tags::of(head.fields, || fetch.place.origin());
        let tags = tags.map_err(|_| NotStored::TooManyTags)?;
        let omitted = Omitted::new(policy, head.status, head.fields, control);
        let stored = stored_head(policy, head, self.references, (omitted, now));
        let new = NewEntry {
            facts,
            variant: &variant,
            head: &part_head(&stored, &extent),
            tags: tags.as_bytes(),
            length: Some(extent.range.len()),
            share: self.share(),
        };
        let ticket = fetch.take_ticket().ok_or(NotStored::NoRoom)?;
        let filling = ticket.store(new).map_err(|_| NotStored::NoRoom)?;
        fetch.storing.set(Some(Storing { length: new.length }));
        Ok(Box::new(BodyFill::new(filling)))
    }

    /// The part that the 206 announces.
    pub(super) fn extent(&self) -> Option<Extent> {
        let fields = self.head.fields;
        let announced = ContentRange::read(find(fields, "content-range")?)?;
        let received = match self.head.body {
            ResponseBody::Length(length) => length,
            _ => announced.range.len(),
        };
        // A part of which the head announces other bytes than it will bring is not stored: nothing tells which of the
        // two is wrong.
        if received != announced.range.len() {
            return None;
        }
        let stretches = part(206, fields, received).ok()?;
        let range = *stretches.as_slice().first()?;
        Some(Extent {
            range,
            total: stretches.total(),
        })
    }

    /// Whether the whole representation that the 206 is a part of is stored.
    fn is_within_stored(&self) -> bool {
        let new = Validators::of(self.head.fields);
        let mut stored = self.fetch.stored.iter();
        stored.any(|entry| {
            part_of(entry).is_none() && Validators::of_head(entry.head()).share_strong(&new)
        })
    }

    /// The meaning of an answer to a request for the rest of a stored part; `None`: the meaning that any answer has.
    pub(super) fn completed(&self, now: u64) -> Option<CacheEffect> {
        let completing = self.fetch.own.as_ref()?.completing.as_ref()?;
        match self.head.status {
            206 => {}
            // The representation has got shorter, or the backend denies the range for another reason.
            416 => return Some(CacheEffect::Repeat),
            // RFC 9110 section 14.3 (MUST NOT): the whole may come instead of the range, because the representation has
            // changed or because the backend does not send ranges any more.
            _ => return None,
        }
        let missing = Extent {
            range: completing.completion.missing,
            total: completing.completion.union.total,
        };
        let (new, old) = (
            Validators::of(self.head.fields),
            Validators::of_head(completing.entry.head()),
        );
        // RFC 9111 section 3.4: parts are joined only if they share a strong validator.
        if self.extent() != Some(missing) || !old.share_strong(&new) {
            return Some(CacheEffect::Repeat);
        }
        Some(match self.join(completing, now) {
            Ok(fill) => CacheEffect::Store(fill),
            Err(why) => {
                self.refuse(why, now);
                CacheEffect::Pass(why.label())
            }
        })
    }

    /// Begins to store the stored part together with the one that has come.
    fn join(&self, completing: &Completing, now: u64) -> Result<Box<BodyFill>, NotStored> {
        let (entry, completion) = (&completing.entry, &completing.completion);
        let omitted = self.omitted();
        let new = NewFields {
            fields: self.head.fields,
            received_secs: now / 1_000,
            keeps_cookies: self.policy.set_cookie == SetCookie::Store,
            is_unstorable: &|name| omitted.contains(name.as_bytes()),
        };
        // RFC 9111 section 3.4 (MUST): the fields of the part that has come update those of the stored one.
        let updated = updated_head(entry.head(), &new);
        let text = part_head(&kept_head(self.policy, &updated), &completion.union);
        let tags = self.tags_with(entry).map_err(|_| NotStored::TooManyTags)?;
        let variant = self.variant_after(entry)?;
        let mut facts = self.facts_of(&text, now)?;
        facts.flags |= Flags::PARTIAL.when(!completion.union.is_whole());
        let length = Some(completion.union.range.len());
        let ticket = self.fetch.take_ticket().ok_or(NotStored::NoRoom)?;
        let filling = ticket.store(NewEntry {
            facts,
            variant: &variant,
            head: &text,
            tags: tags.as_bytes(),
            length,
            share: self.share(),
        });
        let filling = filling.map_err(|_| NotStored::NoRoom)?;
        self.fetch.storing.set(Some(Storing { length }));
        let mut fill = Box::new(BodyFill::new(filling));
        if completion.is_behind() {
            fill.pass_stored(entry);
        } else {
            fill.end_with(entry.clone());
        }
        Ok(fill)
    }
}
