//! A request to a backend whose answer concerns the cache: the answer may be stored, may validate stored responses, or
//! may invalidate some.

use std::cell::{Cell, RefCell};

use httparse::Header;

use crate::base::limits;
use crate::base::time::unix_millis;
use crate::cache::partial::write_range;
use crate::cache::policy::{Policy, StatusField};
use crate::cache::request::Asking;
use crate::cache::status::{CacheStatus, Forwarded, Handling};
use crate::cache::unkeyed;
use crate::cache::validation::{if_modified_since, write_if_none_match};
use crate::cache::validators::Validators;
use crate::http::fields::values;
use crate::http::h1::{ComputedField, RequestHead};
use crate::http::range::ByteRange;
use crate::shared::cache::Ticket;
use crate::shared::{SharedEntry, SharedFill, SharedStore};
use crate::worker::cache::asked_url::{AskedUrl, UrlParts};
use crate::worker::cache::own::{Completing, OF_CLIENT, OwnFetch, SliceFetch};
use crate::worker::cache::serving::{AnswerForm, form_without_backend};

/// A request to a backend, as the cache sees it.
pub struct CacheFetch {
    /// The parts of the request that decide about storing.
    pub asking: Asking,
    /// The URL of the request.
    pub place: AskedUrl,
    /// The key of the URL.
    pub key: Box<[u8]>,
    /// The hash of the key.
    pub hash: u64,
    /// The fields of the request as the client sent them, each `name: value CRLF`, and the empty line behind them.
    fields: Vec<u8>,
    /// The effects that the answer may have.
    pub purpose: FetchPurpose,
    /// Whether the request waited for the answer to another one.
    pub is_collapsed: bool,
    /// The stored responses that the request validates, the newest first; and the one that answers in case of trouble,
    /// which is the first of them.
    pub stored: Vec<SharedEntry>,
    /// The place of the fetch in the store; `None`: nothing is stored, or the answer has been decided upon.
    ticket: RefCell<Option<Ticket>>,
    /// The fill that others may follow.
    shared: Option<SharedFill>,
    /// When the request was sent last, in milliseconds since 1970.
    requested: Cell<u64>,
    /// The length of the answer's body, if it is known and the body is being stored.
    pub storing: Cell<Option<Storing>>,
    /// The key was asked for too seldom for the answer to be stored.
    pub is_rare: bool,
    /// The difference to a fetch of a client. A fetch of the cache's own has no client. `None`: a client sent the
    /// request.
    pub own: Option<OwnFetch>,
    /// The fields that replace those of the client.
    replaced: Vec<(&'static str, Vec<u8>)>,
}

/// The purpose of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPurpose {
    /// The answer may be stored. The reason for which the request was forwarded, with a label.
    Store(Forwarded, &'static str),
    /// The answer is not stored, because the request bypasses the cache. The label of the reason.
    Bypass(&'static str),
    /// The answer is not stored, and may invalidate stored responses.
    Change,
}

/// A body that is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storing {
    /// The length of the body, if it is known.
    pub length: Option<u64>,
}

/// A request that is looked up: its key, and what of it decides.
pub struct CacheRequest<'a> {
    /// The parts of the request that decide about storing.
    pub asking: Asking,
    /// The URL of the request.
    pub place: UrlParts<'a>,
    /// The key of the URL.
    pub key: &'a [u8],
    /// The hash of the key.
    pub hash: u64,
    /// The fields of the request as the client sent them.
    pub fields: &'a [Header<'a>],
}

/// The fields with which a client makes its request conditional on what it has.
const CONDITIONS: [&str; 2] = ["if-none-match", "if-modified-since"];
/// The fields with which a part of the answer is asked for.
const RANGE: [&str; 2] = ["range", "if-range"];

impl CacheFetch {
    /// A fetch for a request. `ticket`: the place of the fetch in the store.
    pub fn new(
        asked: &CacheRequest<'_>,
        purpose: FetchPurpose,
        ticket: Option<Ticket>,
    ) -> CacheFetch {
        let mut lines = Vec::with_capacity(limits::KEPT_FIELDS_BYTES);
        for field in asked.fields {
            for piece in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                lines.extend_from_slice(piece);
            }
        }
        lines.extend_from_slice(b"\r\n");
        CacheFetch {
            asking: asked.asking,
            place: AskedUrl::of(&asked.place),
            key: asked.key.into(),
            hash: asked.hash,
            fields: lines,
            purpose,
            is_collapsed: false,
            stored: Vec::new(),
            shared: ticket.as_ref().and_then(Ticket::fill).cloned(),
            ticket: RefCell::new(ticket),
            requested: Cell::new(0),
            storing: Cell::default(),
            is_rare: false,
            own: None,
            replaced: Vec::new(),
        }
    }

    /// The fetch of one slice of what this one asks for. The slice has a key of its own, and the ticket is for it.
    /// `stale`: a stored slice that is validated.
    pub fn for_slice(
        &self,
        (hash, key): (u64, Box<[u8]>),
        ticket: Ticket,
        slice: SliceFetch,
        stale: Option<SharedEntry>,
    ) -> CacheFetch {
        let mut fetch = CacheFetch {
            asking: Asking {
                has_range: true,
                has_conditions: false,
                ..self.asking
            },
            place: self.place.clone(),
            key,
            hash,
            fields: self.fields.clone(),
            purpose: self.purpose,
            is_collapsed: false,
            stored: Vec::new(),
            shared: ticket.fill().cloned(),
            ticket: RefCell::new(Some(ticket)),
            requested: Cell::new(0),
            storing: Cell::default(),
            is_rare: false,
            own: None,
            replaced: Vec::new(),
        };
        fetch.validate(stale.into_iter().collect());
        let range = slice.slicing.range(slice.number);
        fetch
            .replaced
            .push((RANGE[0], range_value(range, u64::MAX)));
        // RFC 9110 section 13.1.1: another state than that of the first slice gets a 412.
        if let Some(first) = &slice.first
            && let Some(tag) = Validators::of_head(first.head()).strong_etag()
        {
            fetch.replaced.push(("if-match", tag.text.to_vec()));
        }
        fetch.own = Some(OwnFetch {
            slice: Some(slice),
            ..OwnFetch::default()
        });
        fetch
    }

    /// The slice that the request asks for.
    pub fn slice(&self) -> Option<&SliceFetch> {
        self.own.as_ref()?.slice.as_ref()
    }

    /// Makes the request one that validates these stored responses, the newest first.
    pub fn validate(&mut self, stored: Vec<SharedEntry>) {
        let validators: Vec<_> = stored
            .iter()
            .map(|entry| Validators::of_head(entry.head()))
            .collect();
        let mut tags = Vec::new();
        let named = validators.iter().filter_map(|validators| validators.etag);
        if write_if_none_match(named, &mut tags) > 0 {
            self.replaced.push((CONDITIONS[0], tags));
        }
        if let Some(date) = if_modified_since(&validators, self.asking.has_range) {
            self.replaced.push((CONDITIONS[1], date.to_vec()));
        }
        self.stored = stored;
    }

    /// Makes the request one of the cache's own, which asks for the rest of a stored part if there is one.
    pub fn make_own(&mut self, own: OwnFetch) {
        if let Some(Completing { entry, completion }) = &own.completing
            && let Some(validator) = Validators::of_head(entry.head()).strong()
        {
            let range = range_value(completion.missing, completion.union.total);
            self.replaced.push((RANGE[0], range));
            // RFC 9110 section 13.1.5 (MUST NOT, a): If-Range goes with Range alone. RFC 9110 section 15.3.7.3: without
            // it the answer could be a part of another state.
            self.replaced.push((RANGE[1], validator.to_vec()));
        }
        self.own = Some(own);
    }

    /// Takes out cookies, or replaces the cookies of the request.
    pub fn replace_cookies(&mut self, value: Vec<u8>) {
        self.replaced.push(("cookie", value));
    }

    /// Takes out the conditions of palantir's own: the request is sent again without them.
    pub fn take_conditions(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        if let Some(own) = &mut self.own {
            own.completing = None;
        }
        // A slice is asked for by its range, whatever the conditions.
        let taken = match self.slice() {
            Some(_) => &CONDITIONS[..],
            None => &OF_CLIENT,
        };
        let is_condition = |(name, _): &mut (&'static str, Vec<u8>)| taken.contains(name);
        self.replaced.extract_if(.., is_condition).collect()
    }

    /// Whether the conditions of the request are palantir's own.
    pub fn is_validating(&self) -> bool {
        self.replaced
            .iter()
            .any(|(name, _)| CONDITIONS.contains(name))
    }

    /// The names of the fields of a request that are taken out.
    pub fn left_out<'h>(&self, head: &RequestHead<'h, '_>, keyed: &[String]) -> Vec<&'h str> {
        let is_stored = matches!(self.purpose, FetchPurpose::Store(..));
        let is_keyed = |name: &str| keyed.iter().any(|keyed| keyed == name);
        let is_condition = |name: &str| CONDITIONS.iter().any(|one| one.eq_ignore_ascii_case(name));
        let is_of_client = |name: &str| OF_CLIENT.iter().any(|one| one.eq_ignore_ascii_case(name));
        let replaces_conditions = self.is_validating();
        let is_out = |name: &&str| {
            (is_stored && unkeyed::is_removed(name.as_bytes(), is_keyed))
                || (replaces_conditions && is_condition(name))
                || (self.own.is_some() && is_of_client(name))
                || self
                    .replaced
                    .iter()
                    .any(|(own, value)| value.is_empty() && own.eq_ignore_ascii_case(name))
        };
        head.fields
            .iter()
            .map(|field| field.name)
            .filter(is_out)
            .collect()
    }

    /// The host that the client asked for, in the one form that keys have: a backend that was told another form could
    /// answer one form with what belongs to another. `None`: the answer is not stored.
    pub fn asked_host(&self) -> Option<&[u8]> {
        matches!(self.purpose, FetchPurpose::Store(..)).then(|| self.place.authority())
    }

    /// The fields that are written in place of the client's.
    pub fn written(&self) -> Vec<ComputedField<'_>> {
        let written = self.replaced.iter().filter(|(_, value)| !value.is_empty());
        written
            .map(|(name, value)| ComputedField { name, value })
            .collect()
    }

    /// Notes that the request is sent now, perhaps once more.
    pub fn note_sent(&self) {
        self.requested.set(unix_millis());
        if let Some(ticket) = &mut *self.ticket.borrow_mut() {
            ticket.note_sent();
        }
    }

    /// When the request was sent last, in milliseconds since 1970.
    pub fn requested(&self) -> u64 {
        self.requested.get()
    }

    /// Takes the place in the store out: the answer is being decided upon. `None`: nothing can be stored any more.
    pub fn take_ticket(&self) -> Option<Ticket> {
        self.ticket.take()
    }

    /// A place in the store for a further stored response that the answer is about, beside the one that
    /// [`CacheFetch::take_ticket`] takes out.
    pub fn further_ticket(&self) -> Option<Ticket> {
        self.ticket.borrow().as_ref().map(Ticket::further)
    }

    /// Takes a place in the store for an answer that is newer than all that has been purged.
    pub fn begin_ticket(&self, store: &SharedStore) {
        self.ticket
            .replace(Some(store.begin_fetch(self.hash, &self.key)));
    }

    /// The form in which an entry answers the request, by the conditions and ranges of the client. `None`: the entry is
    /// a part that has not all of what is asked for.
    pub fn form_of(&self, entry: &SharedEntry) -> Option<AnswerForm> {
        if self.slice().is_some() {
            return Some(AnswerForm::Whole); // The answer in slices is made elsewhere.
        }
        self.with_fields(|fields| form_without_backend(&self.asking, fields, entry))
    }

    /// Whether other requests wait for the answer.
    pub fn is_followed(&self) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|fill| fill.followers() > 0)
    }

    /// The value of `Cache-Status` for an answer of a backend behind those of earlier caches; `None`: the settings want
    /// none. `detail`: the label of the reason for which the answer is not stored; `""`: the answer is stored.
    pub fn cache_status(
        &self,
        policy: &Policy,
        fields: &[Header<'_>],
        detail: &'static str,
    ) -> Option<Vec<u8>> {
        if policy.status == StatusField::Off {
            return None;
        }
        let member = CacheStatus {
            name: &policy.name,
            handling: Handling::Forwarded {
                reason: self.forwarded(),
                status: None,
                is_stored: detail.is_empty(),
                is_collapsed: self.is_collapsed,
            },
            ttl: None,
            key: None,
            detail: Some(detail).filter(|detail| !detail.is_empty()),
        };
        let mut value = Vec::new();
        member.write_behind(values(fields, "cache-status"), policy.status, &mut value);
        Some(value)
    }

    /// Whether the answer is being stored, and only a little of it is to come.
    pub fn is_nearly_stored(&self, received: u64) -> bool {
        let storing = self.storing.get();
        storing.is_some_and(|storing| is_nearly_stored(storing.length, received))
    }

    /// Shows the fields of the request as the client sent them.
    pub fn with_fields<T>(&self, show: impl FnOnce(&[Header<'_>]) -> T) -> T {
        let mut slots = [httparse::EMPTY_HEADER; limits::HEAD_FIELDS];
        // The fields were parsed before, so that they are parsed again.
        match httparse::parse_headers(&self.fields, &mut slots) {
            Ok(httparse::Status::Complete((_, fields))) => show(fields),
            _ => show(&[]),
        }
    }
}

/// Whether only a little is to come of a body of this length, if it is known: at most 1 MiB, or less than has come.
pub fn is_nearly_stored(length: Option<u64>, received: u64) -> bool {
    length.is_some_and(|length| {
        let left = length.saturating_sub(received);
        left <= limits::FILL_REST_BYTES || left < received
    })
}

/// The value of `Range` that asks for a range.
fn range_value(range: ByteRange, total: u64) -> Vec<u8> {
    let mut value = Vec::new();
    write_range(range, total, &mut value);
    value
}
