//! The events of a run with a cache as plain data.

use crate::simulated::Weather;
use crate::simulated::world::scenario::PoolKind;

/// The number of a request: its place in [`CachedScenario::asks`].
pub type AskId = usize;

/// A run with a cache.
#[derive(Clone, Debug)]
pub struct CachedScenario {
    /// Decides all chances of the network and the engine.
    pub seed: u64,
    pub workers: usize,
    pub weather: Weather,
    pub policy: CachePolicy,
    pub resources: Vec<Resource>,
    pub visitors: Vec<Visitor>,
    pub asks: Vec<Ask>,
    pub purges: Vec<PurgePlan>,
    /// When a resource changes at the origin, in microseconds, and which.
    pub changes: Vec<(u64, usize)>,
    pub outages: Vec<Outage>,
}

/// The settings of the routes' cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    pub stale_while_revalidate: u32,
    pub stale_if_error: u32,
    pub stale_if_unreachable: u32,
    /// Milliseconds; 0: never.
    pub stale_after: u64,
    pub max_object: usize,
    /// The share of the store that each pool may use.
    pub max_percent: u8,
}

/// A resource of the origin.
#[derive(Clone, Debug)]
pub struct Resource {
    pub pool: PoolKind,
    pub host: &'static str,
    /// The path with its query, without the prefix of the pool.
    pub target: &'static str,
    pub control: Control,
    /// Whether answers differ by the field `x-kind` of requests, which `Vary` names then.
    pub is_varied: bool,
    pub validator: Validator,
    pub length: usize,
    pub framing: Framing,
    /// The tags of its answers, by their numbers.
    pub tags: Vec<u8>,
    /// Whether no two whole answers are the same.
    pub changes_always: bool,
    /// Whether the origin answers requests for ranges by ranges.
    pub has_ranges: bool,
}

/// The words of `Cache-Control`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    pub max_age: Option<u32>,
    pub s_maxage: Option<u32>,
    pub stale_while_revalidate: Option<u32>,
    pub stale_if_error: Option<u32>,
    pub is_public: bool,
    pub is_private: bool,
    pub is_no_store: bool,
    pub is_no_cache: bool,
    pub must_revalidate: bool,
}

/// The validator of a resource's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validator {
    None,
    Weak,
    Strong,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    /// By the end of the connection, in HTTP/1.
    Close,
}

/// A client with one connection.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub at: u64,
    pub worker: usize,
    pub http2: bool,
    pub asks: Vec<AskId>,
    /// How long after its connection is made it leaves, and whether by a reset.
    pub leaves: Option<(u64, bool)>,
    /// The client reads so many bytes in so many microseconds.
    pub reads_slowly: Option<(usize, u64)>,
}

/// A request, and how the origin treats what comes of it.
#[derive(Clone, Debug)]
pub struct Ask {
    pub resource: usize,
    /// The value of `x-kind`; 0: the field is not there.
    pub variant: u8,
    pub kind: AskKind,
    /// Microseconds before it is sent, from the end of the one before or the beginning of the connection.
    pub gap: u64,
    pub is_authorized: bool,
    /// `Cache-Control` of the request.
    pub directive: Option<&'static str>,
    /// Whether the request names the entity tag that clients got last.
    pub is_conditional: bool,
    /// Microseconds from the request at the origin to its answer.
    pub wait: u64,
    /// The pieces in which the body of the answer comes, and the microseconds between them.
    pub pieces: usize,
    pub pause: u64,
    /// The fault at the origin, and the number of attempts that it strikes.
    pub fault: Option<OriginFault>,
    pub faulty_attempts: usize,
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    Get,
    Head,
    /// Changes the resource, and another one, which `Location` names.
    Post(Option<usize>),
    /// From the first to the last byte.
    Range(usize, usize),
}

/// A fault at the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFault {
    /// The connection, or the stream, is reset before the answer.
    Resets,
    /// The connection, or the stream, is reset after so many bytes of the body.
    Breaks(usize),
    /// There is no answer.
    Silent,
    /// The answer is a 503.
    Error,
}

/// A purge by the operator.
#[derive(Clone, Debug)]
pub struct PurgePlan {
    pub when: When,
    pub what: Purged,
    pub is_soft: bool,
}

/// The instant of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In microseconds.
    At(u64),
    /// So many steps of the world after an event has come to pass for the so-manieth time.
    After(Event, usize, u64),
}

/// A step of a request, as it is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A client has begun to send a request.
    Asked,
    /// The head of a request has reached the origin.
    Arrived,
    /// The origin has begun to answer.
    Answered,
    /// The origin has sent a whole answer.
    Sent,
    /// A client has got the head of an answer.
    Received,
}

/// The subject of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged {
    /// The resource of this number.
    Url(usize),
    /// The resources of a pool and a host whose targets begin so.
    Prefix(PoolKind, &'static str, &'static str),
    Tag(u8),
    All,
}

/// A time in which the origin of a pool refuses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub pool: PoolKind,
    pub from: u64,
    pub to: u64,
}

impl Resource {
    /// The target of its requests.
    pub fn path(&self) -> String {
        let prefix = if self.pool == PoolKind::One { 1 } else { 2 };
        format!("/{prefix}{}", self.target)
    }

    /// Whether `Location` of an answer for another resource can name this one: the two have one host, and one pool,
    /// since the responses of each pool are a zone.
    pub fn is_beside(&self, other: &Resource) -> bool {
        (self.pool, self.host) == (other.pool, other.host)
    }

    /// Whether a purge concerns the resource of this number. `has_tags`: whether its answer named its tags.
    pub fn is_purged(&self, number: usize, what: Purged, has_tags: bool) -> bool {
        match what {
            Purged::Url(resource) => resource == number,
            Purged::Prefix(pool, host, prefix) => {
                (self.pool, self.host) == (pool, host) && self.target.starts_with(prefix)
            }
            Purged::Tag(tag) => has_tags && self.tags.contains(&tag),
            Purged::All => true,
        }
    }
}

impl Control {
    /// Seconds for which an answer is fresh in a shared cache.
    pub fn lifetime(&self) -> u32 {
        self.s_maxage.or(self.max_age).unwrap_or(0)
    }

    /// Whether the answer to an identified client may be another's (RFC 9111 section 3.5).
    pub fn permits_sharing(&self) -> bool {
        self.is_public || self.must_revalidate || self.s_maxage.is_some()
    }

    /// Seconds beyond its freshness for which an answer may be served while it is validated.
    pub fn refresh_window(&self, policy: &CachePolicy) -> u32 {
        let default = match self.lifetime() {
            0 => 0,
            _ if self.s_maxage.is_some() => 0,
            _ => policy.stale_while_revalidate,
        };
        if self.must_revalidate || self.is_no_cache {
            return 0;
        }
        self.stale_while_revalidate.unwrap_or(default)
    }

    /// Seconds beyond its freshness for which an answer may be served when the origin has trouble.
    pub fn error_window(&self, policy: &CachePolicy) -> u32 {
        let default = policy.stale_if_error.max(policy.stale_if_unreachable);
        let default = if self.s_maxage.is_some() { 0 } else { default };
        if self.must_revalidate || self.is_no_cache {
            return 0;
        }
        let named = self.stale_if_error.unwrap_or(default);
        named.max(self.stale_while_revalidate.unwrap_or(0))
    }
}

impl std::fmt::Display for Control {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = [
            ("max-age", self.max_age),
            ("s-maxage", self.s_maxage),
            ("stale-while-revalidate", self.stale_while_revalidate),
            ("stale-if-error", self.stale_if_error),
        ];
        let words = [
            ("public", self.is_public),
            ("private", self.is_private),
            ("no-store", self.is_no_store),
            ("no-cache", self.is_no_cache),
            ("must-revalidate", self.must_revalidate),
        ];
        let seconds = seconds
            .into_iter()
            .filter_map(|(name, secs)| secs.map(|secs| format!("{name}={secs}")));
        let words = words
            .into_iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(name, _)| name.to_owned());
        let all: Vec<String> = seconds.chain(words).collect();
        out.write_str(&all.join(", "))
    }
}

impl std::fmt::Display for CachedScenario {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CachedScenario {
            workers,
            weather,
            policy,
            changes,
            outages,
            ..
        } = self;
        writeln!(out, "{workers} workers, {weather:?}\n{policy:?}")?;
        for (number, resource) in self.resources.iter().enumerate() {
            writeln!(out, "resource {number}, {}: {resource:?}", resource.control)?;
        }
        for visitor in &self.visitors {
            writeln!(out, "{visitor:?}")?;
            for id in &visitor.asks {
                writeln!(out, "  request {id}: {:?}", self.asks[*id])?;
            }
        }
        for purge in &self.purges {
            writeln!(out, "{purge:?}")?;
        }
        write!(out, "changes {changes:?}, outages {outages:?}")
    }
}
