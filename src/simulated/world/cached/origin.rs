//! The origin: what its resources are at each instant, and everything that it has ever answered.

use super::scenario::{
    AskId, AskKind, CachedScenario, Event, Framing, OriginFault, Resource, Validator,
};
use super::scene::Scene;
use crate::http::date::imf_fixdate;
use crate::simulated::world::message::{Head, body};
use crate::simulated::world::scenario::PoolKind;

/// Everything that is known of an answer of the origin.
#[derive(Clone, Debug)]
pub struct Production {
    pub resource: usize,
    /// The variant that the request asked for.
    pub variant: u8,
    pub version: u32,
    /// The instant at which the request reached the origin: its place in the order of all that happens, and in
    /// milliseconds since 1970.
    pub order: u64,
    pub millis: u64,
    /// The client's request that it was made for.
    pub asker: AskId,
    pub is_authorized: bool,
    pub status: u16,
    pub is_post: bool,
}

/// An answer as it is sent.
#[derive(Debug)]
pub struct OriginReply {
    pub asker: AskId,
    pub status: u16,
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    pub framing: Framing,
    /// Whether a body stands behind the head.
    pub has_body: bool,
    pub fault: Option<OriginFault>,
}

/// The origin.
pub struct Origin {
    pub versions: Vec<u32>,
    pub productions: Vec<Production>,
    /// The instants at which something went wrong, in milliseconds since 1970.
    pub troubles: Vec<(PoolKind, u64)>,
    /// The attempts of each request.
    attempts: Vec<usize>,
}

impl Origin {
    /// An origin that has answered nothing yet.
    pub fn new(scenario: &CachedScenario) -> Origin {
        Origin {
            versions: vec![1; scenario.resources.len()],
            productions: Vec::new(),
            troubles: Vec::new(),
            attempts: vec![0; scenario.asks.len()],
        }
    }
}

/// The entity tag of a version of a resource.
pub fn entity_tag(resource: &Resource, production: &Production) -> Option<String> {
    let Production {
        resource: number,
        variant,
        version,
        ..
    } = production;
    let variant = if resource.is_varied { *variant } else { 0 };
    let weak = match resource.validator {
        Validator::None => return None,
        Validator::Weak => "W/",
        Validator::Strong => "",
    };
    Some(format!("{weak}\"r{number}-k{variant}-v{version}\""))
}

/// The whole body of an answer, which says what it is.
pub fn content(resource: &Resource, production: &Production) -> Vec<u8> {
    if production.is_post {
        return b"posted".to_vec();
    }
    if production.status >= 500 {
        return b"trouble".to_vec();
    }
    let variant = if resource.is_varied {
        usize::from(production.variant)
    } else {
        0
    };
    let (number, version) = (production.resource, production.version as usize);
    let length = resource.length;
    let mut bytes = format!("resource {number} kind {variant} version {version};").into_bytes();
    bytes.truncate(length);
    let id = number * 1_000 + variant * 300 + version % 300;
    bytes.extend_from_slice(body(id, 3, length - bytes.len()));
    bytes
}

/// The bytes that `Range` asks for, of a representation of this length. `None`: the field has another form.
fn range_of(value: &str, length: usize) -> Option<Result<(usize, usize), ()>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last: usize = match last {
        "" => usize::MAX,
        last => last.parse().ok()?,
    };
    if first >= length || last < first {
        return Some(Err(()));
    }
    Some(Ok((first, last.min(length - 1))))
}

impl Scene {
    /// The head of a request has reached the origin. `None`: no client has sent it.
    /// Invariant: the origin gets requests that clients have sent, or that follow from them.
    pub fn arrived(&mut self, head: &Head, pool: PoolKind) -> Option<OriginReply> {
        let scenario = self.scenario.clone();
        let asker = head.number("x-id").filter(|id| *id < scenario.asks.len());
        let mut words = head.line.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let host = head.field("x-forwarded-host")?.to_owned();
        let is_it =
            |one: &Resource| one.pool == pool && one.host == host && one.path() == path.as_str();
        let resource = scenario.resources.iter().position(is_it);
        let (Some(asker), Some(number)) = (asker, resource) else {
            let line = &head.line;
            self.records
                .violated(format!("the origin got what no client sent: {line} {host}"));
            return None;
        };
        let ask = &scenario.asks[asker];
        self.origin.attempts[asker] += 1;
        let is_faulty = self.origin.attempts[asker] <= ask.faulty_attempts;
        let fault = ask.fault.filter(|_| is_faulty);
        if fault.is_some() {
            self.trouble(pool);
        }
        let production = Production {
            resource: number,
            variant: head.number("x-kind").unwrap_or(0) as u8,
            version: 0,
            order: self.records.next_order(),
            millis: self.millis(),
            asker,
            is_authorized: head.field("authorization").is_some(),
            status: 200,
            is_post: method == "POST",
        };
        let reply = self.answer_to(head, &method, production, fault);
        self.note(Event::Arrived);
        Some(reply)
    }

    /// Notes that something goes wrong at a pool's origin.
    pub fn trouble(&mut self, pool: PoolKind) {
        self.origin.troubles.push((pool, self.millis()));
    }

    fn answer_to(
        &mut self,
        head: &Head,
        method: &str,
        mut production: Production,
        fault: Option<OriginFault>,
    ) -> OriginReply {
        let scenario = self.scenario.clone();
        let resource = &scenario.resources[production.resource];
        let mut fields = Vec::new();
        let versions = &mut self.origin.versions;
        if production.is_post {
            versions[production.resource] += 1;
            if let AskKind::Post(Some(other)) = scenario.asks[production.asker].kind
                && scenario.resources[other].is_beside(resource)
            {
                versions[other] += 1;
                fields.push(("location", scenario.resources[other].path()));
            }
        }
        production.version = versions[production.resource];
        if fault == Some(OriginFault::Error) {
            production.status = 503;
        } else if !production.is_post {
            self.condition(resource, head, &mut production);
        }
        let number = self.origin.productions.len();
        fields.push(("x-made", number.to_string()));
        fields.push((
            "date",
            String::from_utf8_lossy(&imf_fixdate(production.millis / 1_000)).into_owned(),
        ));
        let mut bytes = content(resource, &production);
        if !production.is_post && production.status < 500 {
            self.describe(resource, &production, method, &mut fields);
            self.cut_range(
                resource,
                (head, method),
                &mut production,
                (&mut bytes, &mut fields),
            );
        }
        let has_body = method != "HEAD" && production.status != 304;
        let framing = match production.status {
            200 if !production.is_post => resource.framing,
            _ => Framing::Length,
        };
        let reply = OriginReply {
            asker: production.asker,
            status: production.status,
            fields,
            body: bytes,
            framing,
            has_body,
            fault,
        };
        self.kernel
            .trace(|| format!("origin's answer {number}: {production:?}"));
        self.origin.productions.push(production);
        reply
    }

    /// Whether the request's conditions make the answer a 304; else a resource that changes always changes.
    fn condition(&mut self, resource: &Resource, head: &Head, production: &mut Production) {
        let named = head.field("if-none-match").unwrap_or_default();
        let current = entity_tag(resource, production);
        let is_same = current.is_some_and(|tag| named.split(',').any(|one| one.trim() == tag));
        if is_same {
            production.status = 304;
        } else if resource.changes_always {
            self.origin.versions[production.resource] += 1;
            production.version += 1;
        }
    }

    fn describe(
        &self,
        resource: &Resource,
        production: &Production,
        method: &str,
        fields: &mut Vec<(&'static str, String)>,
    ) {
        let number = self.origin.productions.len();
        let control = resource.control.to_string();
        if !control.is_empty() {
            fields.push(("cache-control", control));
        }
        if resource.is_varied {
            fields.push(("vary", "x-kind".to_owned()));
        }
        if let Some(tag) = entity_tag(resource, production) {
            fields.push(("etag", tag));
        }
        if !resource.tags.is_empty() {
            let tags: Vec<String> = resource.tags.iter().map(|tag| format!("t{tag}")).collect();
            fields.push(("surrogate-key", tags.join(" ")));
        }
        // The field tells which answer brought the body. An answer without a body does not replace it.
        if production.status != 304 && method != "HEAD" {
            fields.push(("x-body", number.to_string()));
        }
    }

    fn cut_range(
        &self,
        resource: &Resource,
        (head, method): (&Head, &str),
        production: &mut Production,
        (bytes, fields): (&mut Vec<u8>, &mut Vec<(&'static str, String)>),
    ) {
        let tag = entity_tag(resource, production);
        let is_same = head.field("if-range").is_none_or(|one| {
            resource.validator == Validator::Strong && tag.as_deref() == Some(one)
        });
        let length = bytes.len();
        let asked = head
            .field("range")
            .and_then(|value| range_of(value, length));
        let Some(asked) = asked.filter(|_| {
            resource.has_ranges && is_same && method == "GET" && production.status == 200
        }) else {
            return;
        };
        match asked {
            Ok((first, last)) => {
                production.status = 206;
                fields.push(("content-range", format!("bytes {first}-{last}/{length}")));
                *bytes = bytes[first..=last].to_vec();
            }
            Err(()) => {
                production.status = 416;
                fields.push(("content-range", format!("bytes */{length}")));
                bytes.clear();
            }
        }
    }
}
