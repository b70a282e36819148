//! Explains how the cache would treat a request now. The question changes nothing: no fetch begins, and no entry counts
//! as used.

use httparse::Header;
use serde::Serialize;
use utoipa::ToSchema;

use super::entries::EntryView;
use super::route_of;
use crate::cache::bypass::{self, BypassReason, remaining_cookies};
use crate::cache::conditions::{Precondition, evaluate};
use crate::cache::freshness::lifetime;
use crate::cache::invalidation::is_safe;
use crate::cache::key::Key;
use crate::cache::named_url::NamedUrl;
use crate::cache::policy::Policy;
use crate::cache::request::{Asking, Circumstances};
use crate::cache::reuse::{Reuse, Trouble, may_serve_purged, may_serve_stale, reuse};
use crate::cache::stored_head;
use crate::cache::validators::Validators;
use crate::cache::vary;
use crate::shared::SharedEntry;
use crate::shared::cache::{CacheStore, EntryState, EntrySummary, Found};
use crate::snapshot::Snapshot;

/// A request of which it is asked what the cache would do.
#[derive(Clone, Copy, Debug)]
pub struct AskedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL.
    pub url: &'a NamedUrl,
    /// The fields.
    pub fields: &'a [Header<'a>],
}

/// The treatment of a request by the cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = CacheExplanation)]
pub struct Explanation {
    /// The route that takes the request; `null`: none does.
    pub route: Option<String>,
    /// `hit`: a fresh response answers. `stale`: a stale one answers. `validate`: a backend is asked whether the stored
    /// response still holds. `miss`: a backend is asked. `bypass`: a backend is asked, and its answer is not stored.
    /// `invalidate`: a backend is asked, and if it has done as asked, the responses of the URL are not used any more.
    /// `not_cached`: the request wants a stored response or none and gets a 504. `none`: the cache has no part.
    pub outcome: &'static str,
    /// Why, as one word: of a hit the source of its lifetime.
    pub reason: &'static str,
    /// The zone of the key.
    pub zone: Option<String>,
    /// The URL of the key.
    pub key_url: Option<String>,
    /// The stored response that answers, or that is validated.
    pub entry: Option<EntryView>,
    /// Seconds for which the response is fresh, from when the backend made it.
    pub lifetime: Option<u32>,
    /// Whether the stored response would answer if no backend could be reached.
    pub if_unreachable: bool,
    /// Stored responses of the same key that another request would get.
    pub other_variants: bool,
    /// Whether a request for the same is under way, whose answer this one would wait for if it may.
    pub is_being_fetched: bool,
}

impl Explanation {
    fn of(outcome: &'static str, reason: &'static str) -> Explanation {
        Explanation {
            outcome,
            reason,
            ..Explanation::default()
        }
    }
}

/// Explains what the cache would do with a request at this time, in milliseconds since 1970.
pub fn explain(
    store: Option<&CacheStore>,
    snapshot: &Snapshot,
    asked: &AskedRequest<'_>,
    now: u64,
) -> Explanation {
    let Some(route) = route_of(snapshot, asked.url) else {
        return Explanation::of("none", "no_route");
    };
    let explanation = match (&route.cache, store) {
        (Some(policy), Some(store)) => Look {
            store,
            snapshot,
            policy,
            asked,
            now,
        }
        .explain(),
        _ => Explanation::of("none", "route_without_cache"),
    };
    Explanation {
        route: Some(route.name.clone()),
        ..explanation
    }
}

/// A look at the cache of a route.
struct Look<'a> {
    store: &'a CacheStore,
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    asked: &'a AskedRequest<'a>,
    now: u64,
}

impl Look<'_> {
    fn explain(&self) -> Explanation {
        let (policy, asked) = (self.policy, self.asked);
        let cookies = remaining_cookies(policy, asked.fields);
        let fields = with_cookies(asked.fields, cookies.as_deref());
        let method = asked.method.as_bytes();
        match bypass::reason(policy, method, asked.url.path(), &fields) {
            Some(BypassReason::Method) if is_safe(method) => Explanation::of("none", "method"),
            Some(BypassReason::Method) => Explanation::of("invalidate", "method"),
            Some(reason) => Explanation::of("bypass", reason.label()),
            None => self.look_up(&fields),
        }
    }

    fn look_up(&self, fields: &[Header<'_>]) -> Explanation {
        let mut key = Vec::new();
        self.asked.url.write_key(self.policy, fields, &mut key);
        let matches = |variant: &[u8]| vary::matches(variant, fields);
        let found = self.store.look_up(self.store.hash(&key), &key, matches);
        let circumstances = Circumstances::default();
        let asking = Asking::new(self.policy, self.asked.method, fields, circumstances);
        let explanation = match &found.entry {
            Some(entry) => self.explain_entry(entry, &asking, fields),
            None if found.other.is_some() => Explanation::of("miss", "vary"),
            None => Explanation::of("miss", "no_entry"),
        };
        let asks = matches!(explanation.outcome, "miss" | "validate");
        let explanation = if asks && asking.is_only_if_cached() {
            Explanation {
                outcome: "not_cached",
                ..explanation
            }
        } else {
            explanation
        };
        self.with_key(explanation, &key, &found)
    }

    fn with_key(&self, explanation: Explanation, key: &[u8], found: &Found) -> Explanation {
        let key = Key::read(key);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Explanation {
            zone: key.map(|key| text(key.zone)),
            key_url: key.map(|key| text(key.url)),
            other_variants: found.other.is_some(),
            is_being_fetched: found.fill.is_some(),
            ..explanation
        }
    }

    /// Explains the treatment of a request for which there is an entry.
    fn explain_entry(
        &self,
        entry: &SharedEntry,
        asking: &Asking,
        fields: &[Header<'_>],
    ) -> Explanation {
        let (policy, facts) = (self.policy, entry.facts());
        let is_purged = entry.state() == EntryState::Stale;
        let lifetime = lifetime(policy, &facts);
        let validators = Validators::of_head(entry.head());
        let status = stored_head::status(entry.head());
        let method = self.asked.method.as_bytes();
        let precondition = evaluate(method, fields, status, &validators);
        let (outcome, reason) = match reuse(policy, &facts, asking, is_purged, self.now) {
            _ if precondition == Precondition::ForBackend => ("miss", "conditions"),
            Reuse::Fresh { .. } => ("hit", lifetime.source.label()),
            Reuse::Accepted { .. } => ("stale", "accepted"),
            Reuse::WhileRefreshing { .. } => ("stale", "refreshing"),
            Reuse::Validate(why) => ("validate", why.label()),
        };
        let trouble = Trouble::Unreachable;
        let may_serve = if is_purged {
            may_serve_purged
        } else {
            may_serve_stale
        };
        Explanation {
            entry: Some(EntryView::of(
                &EntrySummary::of(entry),
                self.snapshot,
                self.now,
            )),
            lifetime: Some(lifetime.secs),
            if_unreachable: may_serve(policy, &facts, asking, trouble, self.now),
            ..Explanation::of(outcome, reason)
        }
    }
}

/// The fields with other cookies; `None`: the cookies stay.
fn with_cookies<'a>(fields: &[Header<'a>], cookies: Option<&'a [u8]>) -> Vec<Header<'a>> {
    let Some(cookies) = cookies else {
        return fields.to_vec();
    };
    let others = fields
        .iter()
        .filter(|field| !field.name.eq_ignore_ascii_case("cookie"));
    let left = Header {
        name: "cookie",
        value: cookies,
    };
    let left = (!cookies.is_empty()).then_some(left);
    others.copied().chain(left).collect()
}
